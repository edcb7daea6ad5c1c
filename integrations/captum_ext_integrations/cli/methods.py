"""The methods and metrics that the command line knows by name, each with one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from captum.attr import InputXGradient, Saliency
from torch import Tensor, nn

from captum_ext._checks import check_choice
from captum_ext.attr import (
    ExpectedGradients,
    ImportantDirectionIG,
    IntegratedGradients,
    LocalPathIntegration,
    SalientManipulationPath,
    WeightedIntegratedGradients,
)
from captum_ext.exceptions import ArgumentError
from captum_ext.references import ReferenceDistribution, standard_baselines
from captum_ext_integrations.cli.images import Images, load
from captum_ext_integrations.cli.models import LoadedModel, ModelSpec, load_model
from captum_ext_integrations.cli.upsamplers import DEFAULT_UPSAMPLER, UPSAMPLERS

MOST_REFERENCES = 20
DEFAULT_STEPS = 20
_OPTIONS = ("references", "n_steps", "layer", "upsampler")  # which some methods have and others do not


@dataclass(frozen=True)
class MethodSpec:
    """A method and its settings; small enough to be sent to other processes.

    Attributes:
        name: a key of `METHODS`.
        model: what is explained.
        references: a folder of images or a file of fitted references.
        n_steps: gradients; None: 20, where the method has steps.
        layer: of GradCAM, as in `model.named_modules()`; None: the last one with positions.
        upsampler: of GradCAM, a key of `UPSAMPLERS`; None: "usu".
        seed: of random points.

    Raises:
        ArgumentError: an unknown name, or an option that the method does not have.
    """

    name: str
    model: ModelSpec
    references: Path | None = None
    n_steps: int | None = None
    layer: str | None = None
    upsampler: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("method", self.name, METHODS)
        if self.upsampler is not None:
            check_choice("upsampler", self.upsampler, UPSAMPLERS)
        for option in _OPTIONS:
            if getattr(self, option) is not None:
                _check_option(option, [self.name])

    @classmethod
    def several(cls, names: list[str], model: ModelSpec, seed: int = 0, **options: Any) -> list[MethodSpec]:
        """Several methods, each with those of the options that it has; each option has to be of one of them."""
        given = {option: value for option, value in options.items() if value is not None}
        for name in names:
            check_choice("method", name, METHODS)
        for option in given:
            _check_option(option, names)
        specs = [
            cls(name, model, seed=seed, **{key: value for key, value in given.items() if key in METHODS[name].options})
            for name in names
        ]
        for spec in specs:
            if spec.name in ("eg", "lpi"):
                saved_references(spec)  # a mistake in the last is told before the first has run
        return specs

    @property
    def attribute_kwargs(self) -> dict[str, Any]:
        """What `attribute` gets beside inputs and target."""
        return {"n_steps": self.n_steps or DEFAULT_STEPS} if "n_steps" in METHODS[self.name].options else {}

    def build(self, loaded: LoadedModel | None = None) -> Any:
        """The method on its model, which is loaded unless it is given."""
        return METHODS[self.name].build(loaded or load_model(self.model), self)


@dataclass(frozen=True)
class Entry:
    """A method by name: how it is made, what is said of it, and which of `_OPTIONS` it has."""

    build: Callable[[LoadedModel, MethodSpec], Any]
    line: str
    options: tuple[str, ...] = ("n_steps",)


def _check_option(option: str, names: list[str]) -> None:
    """Refuse an option that none of the methods has."""
    if not any(option in METHODS[name].options for name in names):
        owners = ", ".join(name for name, entry in METHODS.items() if option in entry.options)
        raise ArgumentError(option, f"given with a method that has it ({owners})", f"it with {', '.join(names)}")


def _integrated_gradients(loaded: LoadedModel, _: MethodSpec) -> Any:
    return IntegratedGradients(loaded.model)


def _expected_gradients(loaded: LoadedModel, spec: MethodSpec) -> Any:
    return ExpectedGradients(loaded.model, references=reference_images(loaded, spec))


def _local_path_integration(loaded: LoadedModel, spec: MethodSpec) -> Any:
    fitted = saved_references(spec)
    references = reference_images(loaded, spec) if fitted is None else fitted
    return LocalPathIntegration(loaded.model, references=references)


def _weighted_integrated_gradients(loaded: LoadedModel, spec: MethodSpec) -> Any:
    if spec.references is not None:
        return WeightedIntegratedGradients(loaded.model, references=reference_images(loaded, spec))
    prepared = loaded.preparation
    references = partial(standard_baselines, value_range=(0, 1), mean=prepared.mean, std=prepared.std)
    return WeightedIntegratedGradients(loaded.model, references=references)


def _important_direction(loaded: LoadedModel, _: MethodSpec) -> Any:
    return ImportantDirectionIG(loaded.model)


def _samp(loaded: LoadedModel, _: MethodSpec, **settings: Any) -> Any:
    return SalientManipulationPath(loaded.model, **settings)


def _grad_cam(loaded: LoadedModel, spec: MethodSpec) -> Any:
    from captum_ext_integrations.cli.cams import Cam

    return Cam(loaded, spec.layer, spec.upsampler or DEFAULT_UPSAMPLER)


_WITH_REFERENCES = ("n_steps", "references")
METHODS: dict[str, Entry] = {
    "ig": Entry(_integrated_gradients, "Integrated Gradients from the mean colour"),
    "eg": Entry(_expected_gradients, "Expected Gradients: the mean over references (--references)", _WITH_REFERENCES),
    "lpi": Entry(
        _local_path_integration,
        "Local Path Integration: references of the input's neighbourhood (--references)",
        _WITH_REFERENCES,
    ),
    "weighted-ig": Entry(
        _weighted_integrated_gradients,
        "Weighted Integrated Gradients: references weighted by fitness; standard baselines without --references",
        _WITH_REFERENCES,
    ),
    "idgi": Entry(_important_direction, "Important Direction IG: every change of the score on the squared gradient"),
    "samp": Entry(partial(_samp, momentum=0, step_bound=None), "Salient Manipulation Path: the greedy path of pixels"),
    "samp++": Entry(_samp, "SAMP with step bound and momentum"),
    "saliency": Entry(lambda loaded, _: Saliency(loaded.model), "Captum's absolute gradient", ()),
    "input-x-gradient": Entry(lambda loaded, _: InputXGradient(loaded.model), "Captum's input times gradient", ()),
    "gradcam": Entry(_grad_cam, "GradCAM of a layer (--layer), upsampled (--upsampler)", ("layer", "upsampler")),
}

METRICS: dict[str, tuple[bool, str]] = {
    "insertion": (True, "area under the score as the most important pixels are inserted; higher is better"),
    "deletion": (False, "area under the score as the most important pixels are deleted; lower is better"),
    "diff_id": (True, "score without the least minus without the most important pixels; higher is better"),
}


def saved_references(spec: MethodSpec) -> ReferenceDistribution | None:
    """The fitted references in a file, or None where a folder of images was given.

    Raises:
        ArgumentError: the method needs references and there are none.
    """
    if spec.references is None:
        raise ArgumentError("references", f"given for {spec.name} (--references FOLDER or FILE)", "nothing")
    return None if spec.references.is_dir() else ReferenceDistribution.load(spec.references)


def reference_images(loaded: LoadedModel, spec: MethodSpec) -> Tensor:
    """At most 20 images of the folder, or all of a file of fitted references, on the model's device."""
    fitted = saved_references(spec)
    if fitted is not None:
        sets = [fitted.references_as_tuple(i)[0] for i in range(len(fitted.density))]
        return torch.cat(sets).to(loaded.device)
    if spec.references is None:  # saved_references has refused it
        raise ArgumentError("references", "a folder", "nothing")
    return load(Images(spec.references, loaded.preparation, MOST_REFERENCES)).to(loaded.device)


def outputs(model: nn.Module, images: Tensor) -> Tensor:
    """The model's outputs without gradients."""
    with torch.no_grad():
        found: Tensor = model(images)
    return found
