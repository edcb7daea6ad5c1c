"""What the command line knows by name: methods, metrics, upsamplers, each with one line."""

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
from captum_ext.upsampling import InterpolationUpsampler, USUUpsampler
from captum_ext_integrations.cli.images import Images, load
from captum_ext_integrations.cli.models import LoadedModel, ModelSpec, Preparation, load_model

MOST_REFERENCES = 20
_WITH_REFERENCES = ("eg", "lpi", "weighted-ig")


@dataclass(frozen=True)
class MethodSpec:
    """A method and its settings; small enough to be sent to other processes.

    Attributes:
        name: a key of `METHODS`.
        model: what is explained.
        references: a folder of images or a file of fitted references.
        n_steps: gradients.
        layer: of GradCAM, as in `model.named_modules()`; None: the last one with positions.
        upsampler: of GradCAM, a key of `UPSAMPLERS`.
        seed: of random points.
    """

    name: str
    model: ModelSpec
    references: Path | None = None
    n_steps: int = 20
    layer: str | None = None
    upsampler: str = "usu"
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("method", self.name, METHODS)
        check_choice("upsampler", self.upsampler, UPSAMPLERS)
        if self.references is not None and self.name not in _WITH_REFERENCES:
            raise ArgumentError("references", f"given for {', '.join(_WITH_REFERENCES)} only", f"it with {self.name}")
        if self.layer is not None and self.name != "gradcam":
            raise ArgumentError("layer", "given for gradcam only", f"{self.layer!r} with {self.name}")

    @classmethod
    def several(
        cls,
        names: list[str],
        model: ModelSpec,
        references: Path | None,
        n_steps: int,
        layer: str | None,
        upsampler: str,
        seed: int,
    ) -> list[MethodSpec]:
        """Several methods, each with the settings that it has."""
        specs = [
            cls(
                name,
                model,
                references if name in _WITH_REFERENCES else None,
                n_steps,
                layer if name == "gradcam" else None,
                upsampler,
                seed,
            )
            for name in names
        ]
        for spec in specs:
            if spec.name in ("eg", "lpi"):
                saved_references(spec)  # a mistake in the last is told before the first has run
        return specs

    @property
    def attribute_kwargs(self) -> dict[str, Any]:
        """What `attribute` gets beside inputs and target."""
        return {"n_steps": self.n_steps} if METHODS[self.name].has_steps else {}

    def build(self, loaded: LoadedModel | None = None) -> Any:
        """The method on its model, which is loaded unless it is given."""
        return METHODS[self.name].build(loaded or load_model(self.model), self)


@dataclass(frozen=True)
class Entry:
    """A method by name: how it is made, and what is said of it."""

    build: Callable[[LoadedModel, MethodSpec], Any]
    line: str
    has_steps: bool = True


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

    return Cam(loaded, spec.layer, spec.upsampler)


METHODS: dict[str, Entry] = {
    "ig": Entry(_integrated_gradients, "Integrated Gradients from the mean colour"),
    "eg": Entry(_expected_gradients, "Expected Gradients: the mean over references (--references)"),
    "lpi": Entry(
        _local_path_integration, "Local Path Integration: references of the input's neighbourhood (--references)"
    ),
    "weighted-ig": Entry(
        _weighted_integrated_gradients,
        "Weighted Integrated Gradients: references weighted by fitness; standard baselines without --references",
    ),
    "idgi": Entry(_important_direction, "Important Direction IG: every change of the score on the squared gradient"),
    "samp": Entry(partial(_samp, momentum=0, step_bound=None), "Salient Manipulation Path: the greedy path of pixels"),
    "samp++": Entry(_samp, "SAMP with step bound and momentum"),
    "saliency": Entry(lambda loaded, _: Saliency(loaded.model), "Captum's absolute gradient", has_steps=False),
    "input-x-gradient": Entry(
        lambda loaded, _: InputXGradient(loaded.model), "Captum's input times gradient", has_steps=False
    ),
    "gradcam": Entry(_grad_cam, "GradCAM of a layer (--layer), upsampled (--upsampler)", has_steps=False),
}

METRICS: dict[str, tuple[bool, str]] = {
    "insertion": (True, "area under the score as the most important pixels are inserted; higher is better"),
    "deletion": (False, "area under the score as the most important pixels are deleted; lower is better"),
    "diff_id": (True, "score without the least minus without the most important pixels; higher is better"),
}

UPSAMPLERS: dict[str, str] = {
    "usu": "redistribution of each cell's mass by what masking segments does to the model",
    "usu-paper": "the same with the paper's settings (global redistribution)",
    "nearest": "nearest neighbour",
    "bilinear": "bilinear interpolation",
    "bicubic": "bicubic interpolation",
    "lanczos": "Lanczos interpolation",
}


def upsampler(name: str, preparation: Preparation) -> USUUpsampler | InterpolationUpsampler:
    """An upsampler by name, for images prepared in this way."""
    check_choice("upsampler", name, UPSAMPLERS)
    if name == "usu":
        return USUUpsampler(mean=preparation.mean, std=preparation.std)
    if name == "usu-paper":
        return USUUpsampler.paper(mean=preparation.mean, std=preparation.std)
    return InterpolationUpsampler(name)


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
