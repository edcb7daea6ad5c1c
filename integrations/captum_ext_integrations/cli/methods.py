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

from captum_ext.attr import (
    ExpectedGradients,
    ImportantDirectionIG,
    IntegratedGradients,
    LocalPathIntegration,
    SalientManipulationPath,
    WeightedIntegratedGradients,
)
from captum_ext.core.checks import check_choice
from captum_ext.exceptions import ArgumentError
from captum_ext.references import standard_baselines
from captum_ext_integrations.cli.models import LoadedModel, ModelSpec, load_model
from captum_ext_integrations.cli.references import fitted_references, reference_images
from captum_ext_integrations.cli.upsamplers import DEFAULT_UPSAMPLER, UPSAMPLERS

DEFAULT_STEPS = 20
_OPTIONS = ("references", "n_steps", "layer", "upsampler")  # which some methods have and others do not


@dataclass(frozen=True)
class MethodSpec:
    """A method and its settings; small enough to be sent to other processes.

    Attributes:
        name: a key of `METHODS`.
        model: what is explained.
        references: a folder of images or a file of fitted references.
        n_steps: gradients for each image; None: 20, where the method has steps.
        layer: of GradCAM, as in `model.named_modules()`; None: the last one with positions.
        upsampler: of GradCAM, a key of `UPSAMPLERS`; None: "usu".
        seed: of random points.

    Raises:
        ArgumentError: an unknown name, an option that the method does not have, or references that it needs.
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
        if self.name in ("eg", "lpi") and self.references is None:
            raise ArgumentError("references", f"given for {self.name} (--references FOLDER or FILE)", "nothing")

    @classmethod
    def several(cls, names: list[str], model: ModelSpec, seed: int = 0, **options: Any) -> list[MethodSpec]:
        """Several methods, each with those of the options that it has; each option has to be of one of them."""
        given = {option: value for option, value in options.items() if value is not None}
        for name in names:
            check_choice("method", name, METHODS)
        for option in given:
            _check_option(option, names)
        return [
            cls(name, model, seed=seed, **{key: value for key, value in given.items() if key in METHODS[name].options})
            for name in names
        ]

    @property
    def attribute_kwargs(self) -> dict[str, Any]:
        """What `attribute` gets beside inputs and target."""
        entry = METHODS[self.name]
        return {"n_steps": entry.n_steps(self.budget)} if "n_steps" in entry.options else {}

    @property
    def budget(self) -> int:
        """Gradients for each image."""
        return self.n_steps or DEFAULT_STEPS

    def build(self, loaded: LoadedModel | None = None) -> Any:
        """The method on its model, which is loaded unless it is given."""
        return METHODS[self.name].build(loaded or load_model(self.model), self)


@dataclass(frozen=True)
class Entry:
    """A method by name: how it is made, what is said of it, which of `_OPTIONS` it has, and `n_steps` by budget."""

    build: Callable[[LoadedModel, MethodSpec], Any]
    line: str
    options: tuple[str, ...] = ("n_steps",)
    n_steps: Callable[[int], int] = int


def _check_option(option: str, names: list[str]) -> None:
    """Refuse an option that none of the methods has."""
    if not any(option in METHODS[name].options for name in names):
        owners = ", ".join(name for name, entry in METHODS.items() if option in entry.options)
        raise ArgumentError(option, f"given with a method that has it ({owners})", f"it with {', '.join(names)}")


def _integrated_gradients(loaded: LoadedModel, _: MethodSpec) -> Any:
    return IntegratedGradients(loaded.model)


def _expected_gradients(loaded: LoadedModel, spec: MethodSpec) -> Any:
    return ExpectedGradients(loaded.model, references=reference_images(loaded, _path(spec)))


def _local_path_integration(loaded: LoadedModel, spec: MethodSpec) -> Any:
    return LocalPathIntegration(loaded.model, references=fitted_references(loaded, _path(spec)))


def _weighted_integrated_gradients(loaded: LoadedModel, spec: MethodSpec) -> Any:
    if spec.references is not None:
        return WeightedIntegratedGradients(loaded.model, references=reference_images(loaded, spec.references))
    prepared = loaded.preparation
    references = partial(standard_baselines, value_range=(0, 1), mean=prepared.mean, std=prepared.std)
    return WeightedIntegratedGradients(loaded.model, references=references)


def _path(spec: MethodSpec) -> Path:
    if spec.references is None:  # the specification has refused it
        raise ArgumentError("references", "a folder or a file", "nothing")
    return spec.references


def _important_direction(loaded: LoadedModel, _: MethodSpec) -> Any:
    return ImportantDirectionIG(loaded.model)


def _samp(loaded: LoadedModel, _: MethodSpec) -> Any:
    return SalientManipulationPath(loaded.model, momentum=0, step_bound=None)


def _bounded_samp(loaded: LoadedModel, spec: MethodSpec) -> Any:
    # Each direction takes at least as many gradients as its bound: the paper's 10 would be a budget of 20 by itself.
    return SalientManipulationPath(loaded.model, step_bound=min(10, spec.budget / 4))


def _groups(budget: int) -> int:
    """Groups of pixels for each of two directions."""
    return max(1, budget // 2)


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
    "samp": Entry(
        _samp,
        "Salient Manipulation Path: the greedy path of pixels, n_steps // 2 groups in each of two directions",
        n_steps=_groups,
    ),
    "samp++": Entry(
        _bounded_samp,
        "SAMP with momentum and a step bound of n_steps / 4, at most 10, which may add a few gradients",
        n_steps=_groups,
    ),
    "saliency": Entry(lambda loaded, _: Saliency(loaded.model), "Captum's absolute gradient", ()),
    "input-x-gradient": Entry(lambda loaded, _: InputXGradient(loaded.model), "Captum's input times gradient", ()),
    "gradcam": Entry(_grad_cam, "GradCAM of a layer (--layer), upsampled (--upsampler)", ("layer", "upsampler")),
}

METRICS: dict[str, tuple[bool, str]] = {
    "insertion": (True, "area under the score as the most important pixels are inserted; higher is better"),
    "deletion": (False, "area under the score as the most important pixels are deleted; lower is better"),
    "diff_id": (True, "score without the least minus without the most important pixels; higher is better"),
}


def outputs(model: nn.Module, images: Tensor) -> Tensor:
    """The model's outputs without gradients."""
    with torch.no_grad():
        found: Tensor = model(images)
    return found
