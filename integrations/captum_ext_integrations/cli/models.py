"""Models by name, adapted: with weights that are never unpickled code, and how they want their images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.exceptions import AdaptError, ArgumentError, ModelLoadError, ModelOutputError, OutputRowsError
from captum_ext.models import AdaptedModel, adapt
from captum_ext.models.targets import SimilarityTarget
from captum_ext_integrations.cli.messages import in_options
from captum_ext_integrations.cli.of_open_clip import of_open_clip
from captum_ext_integrations.cli.of_transformers import of_transformers
from captum_ext_integrations.cli.preparation import Preparation, ProcessorPreparation
from captum_ext_integrations.cli.sources import (
    ModelSpec,
    Source,
    Texts,
    import_from_here,
    of_caller,
    of_timm,
    of_torchvision,
)
from captum_ext_integrations.cli.weights import first_line, load_weights

__all__ = ["LoadedModel", "ModelSpec", "Preparation", "as_loaded", "import_from_here", "load_model", "load_weights"]

_SOURCES: dict[str, Callable[[str, ModelSpec], Source]] = {
    "torchvision": of_torchvision,
    "timm": of_timm,
    "hf": of_transformers,
    "open_clip": of_open_clip,
}
_NOT_ADAPTED = (AdaptError, ModelOutputError, OutputRowsError)
_OPTIONS = {"size": "crop"}  # what arguments of `adapt` are called here
_FORMS = "torchvision:NAME, timm:NAME, hf:NAME_OR_PATH, open_clip:NAME or MODULE:FUNCTION"


@dataclass(frozen=True)
class LoadedModel:
    """A model in eval mode, how it wants its images, and names of its classes where they are known.

    Attributes:
        model: what is explained. A classifier is the network itself, so that layers and runs have its names; others
            are `adapted`, or what compares images with texts.
        preparation: from a photograph to its input.
        device: where it is.
        n_classes: outputs in a row; 0 of detectors.
        class_names: of the outputs.
        adapted: the network as `captum_ext.models.adapt` knows it.
        similarity: of an image with the one text that is given.
        has_texts: whether the model compares images with texts.
    """

    model: nn.Module
    preparation: Preparation | ProcessorPreparation
    device: torch.device
    n_classes: int
    class_names: tuple[str, ...] = ()
    adapted: AdaptedModel | None = None
    similarity: SimilarityTarget | None = None
    has_texts: bool = False

    def class_name(self, index: int) -> str:
        """Name of a class, or its number."""
        return self.class_names[index] if index < len(self.class_names) else f"class {index}"

    @property
    def kind(self) -> str:
        """What a row of the outputs is: "scores", "maps", "embedding" or "detections"."""
        is_adapted = self.adapted is not None and self.model is self.adapted
        return self.adapted.kind if is_adapted and self.adapted is not None else "scores"

    @property
    def takes_classes(self) -> bool:
        """Whether targets are indices of outputs, and not functions of what the model returns."""
        return self.kind == "scores"

    @property
    def layers(self) -> dict[str, nn.Module]:
        """Modules of the network, by the names that it gives them."""
        network = self.model if self.adapted is None else self.adapted.model
        return {name: module for name, module in network.named_modules() if name}


def load_model(spec: ModelSpec) -> LoadedModel:
    """The model of a specification.

    Raises:
        ModelLoadError: no such model or function, weights that do not fit, or that cannot be downloaded, or a model
            that cannot be adapted.
        ArgumentError: a device that torch does not know, or options that the model does not have.
    """
    source, separator, name = spec.name.partition(":")
    if not separator or not source or not name:
        raise ModelLoadError(f"Expected a model as {_FORMS}, but got {spec.name!r}.")
    if spec.weights_key is not None and spec.weights is None:
        raise ArgumentError("weights_key", "given together with --weights FILE", repr(spec.weights_key))
    load = _SOURCES.get(source)
    found = of_caller(source, name, spec) if load is None else load(name, spec)
    device = _device(spec.device)
    model = found.model.eval().requires_grad_(True).to(device)
    if isinstance(model, AdaptedModel):
        return _of_adapted(model, found, spec, device)
    if found.preparation is None:
        return _of_processor(model, found, spec, device)
    return as_loaded(model, _prepared(found.preparation, spec), device, spec=spec, source=found)


def as_loaded(
    model: nn.Module,
    preparation: Preparation,
    device: torch.device,
    *,
    spec: ModelSpec,
    source: Source | None = None,
) -> LoadedModel:
    """A network whose preparation is known, adapted.

    Raises:
        ModelLoadError: it cannot be adapted to images of that size.
        ArgumentError: a normalisation of another number of channels, or none for grey images.
    """
    adapted = _adapted(model, preparation, spec)
    channels = adapted.channels
    if channels == 1 and (spec.mean is None or spec.std is None):
        missing = "mean" if spec.mean is None else "std"
        expected = f"given for {spec.name}, which takes grey images, as --{missing} NUMBER"
        raise ArgumentError(missing, expected, "nothing")
    mean, std = (_of_channels(one, getattr(preparation, one), channels) for one in ("mean", "std"))
    prepared = replace(preparation, mean=mean, std=std, channels=channels)
    return _finished(adapted, prepared, device, spec, source or Source(model))


def _of_processor(model: nn.Module, found: Source, spec: ModelSpec, device: torch.device) -> LoadedModel:
    """A network whose processor prepares its images."""
    try:
        adapted = adapt(model, found.processor)
    except _NOT_ADAPTED as error:
        raise ModelLoadError(_not_adapted(f"{spec.name} to take the images of its processor", error)) from error
    return _finished(adapted, _by_transform(adapted, spec, found.described), device, spec, found)


def _of_adapted(adapted: AdaptedModel, found: Source, spec: ModelSpec, device: torch.device) -> LoadedModel:
    """What a function of the caller has adapted, in eval mode, with its own preparation."""
    reason = f"left out: {spec.name} returns an AdaptedModel, which prepares its images itself"
    spec.refuse(reason, "resize", "crop", "mean", "std")
    return _finished(adapted, _by_transform(adapted, spec, None), device, spec, found)


def _by_transform(adapted: AdaptedModel, spec: ModelSpec, described: Any) -> ProcessorPreparation:
    """The preparation that an adapted model knows."""
    source = adapted.knowledge.source
    transform = None if source is None else source.transform.value
    if source is None or transform is None:
        raise ModelLoadError(f"Expected {spec.name} to know how photographs become its images (a processor).")
    mean, std = adapted.mean, adapted.std
    if mean is None or std is None:
        expected = f"given for {spec.name}, whose processor does not say it, as --mean NUMBER"
        raise ArgumentError("mean" if mean is None else "std", expected, "nothing")
    size = dict(getattr(getattr(transform, "processor", None), "size", None) or {})
    crops = getattr(getattr(transform, "processor", None), "do_center_crop", False)
    is_square = not (size.get("shortest_edge") and not crops)
    channels = adapted.channels
    mean, std = (values * channels if len(values) == 1 else values for values in (mean, std))
    return ProcessorPreparation(transform, max(adapted.size), mean, std, channels, described, is_square)


def _finished(
    adapted: AdaptedModel, preparation: Any, device: torch.device, spec: ModelSpec, source: Source
) -> LoadedModel:
    """The network, what is adapted of it, or its comparison with texts, as `spec` asks for."""
    fitting = adapted.kind == "detections" or len(source.class_names) == adapted.n_outputs
    names = adapted.class_names or (source.class_names if fitting else ())
    model: nn.Module = adapted.model if _returns_scores(adapted) else adapted
    loaded = LoadedModel(
        model, preparation, device, adapted.n_outputs, names, adapted, has_texts=source.texts is not None
    )
    if not spec.texts:
        return loaded
    if source.texts is None:
        raise ArgumentError(
            "text", f"given for models that compare images with texts (CLIP, SigLIP); {spec.name} has no texts", "it"
        )
    return _of_texts(loaded, source.texts, spec.texts)


def _returns_scores(adapted: AdaptedModel) -> bool:
    """Whether the network itself takes images and returns a row of scores for each."""
    entry, reading = adapted.knowledge.entry, adapted.knowledge.reading
    by_position = entry.method is None and entry.keyword is None
    return by_position and reading.part is None and reading.kind == "scores" and len(reading.row_shape or ()) == 1


def _of_texts(loaded: LoadedModel, tower: Texts, texts: tuple[str, ...]) -> LoadedModel:
    """A model of images and texts whose classes are the texts, or with the similarity to the only one."""
    images = loaded.adapted
    with torch.no_grad():
        embeddings = tower.embed(list(texts)).float()
    if len(texts) == 1 or images is None:
        similarity = SimilarityTarget(embeddings[0].cpu(), tower.scale, tower.bias)
        return replace(loaded, similarity=similarity, class_names=texts)
    model = ZeroShot(images, embeddings, tower.scale, tower.bias).eval()
    return replace(loaded, model=model, n_classes=len(texts), class_names=texts)


class ZeroShot(nn.Module):
    """Logits (N, T) of T texts: the cosine of the image's embedding with each text's, times a scale, plus a bias."""

    embeddings: Tensor

    def __init__(self, images: AdaptedModel, embeddings: Tensor, scale: float, bias: float) -> None:
        super().__init__()
        self.images, self.scale, self.bias = images, scale, bias
        self.register_buffer("embeddings", nn.functional.normalize(embeddings, dim=-1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images (N, C, H, W)."""
        embedded = nn.functional.normalize(self.images(images).float(), dim=-1)
        return self.scale * embedded @ self.embeddings.T + self.bias


def _prepared(preparation: Preparation, spec: ModelSpec) -> Preparation:
    """A preparation with what is said otherwise; a crop makes one of all pictures that are explained whole."""
    changed = {key: getattr(spec, key) for key in ("resize", "crop", "mean", "std") if getattr(spec, key) is not None}
    if "crop" in changed and "resize" not in changed:
        changed["resize"] = max(changed["crop"], preparation.resize)
    if "crop" in changed and not preparation.is_square:
        whole = preparation
        preparation = Preparation(whole.resize, whole.crop, whole.mean, whole.std, whole.interpolation)
    elif "resize" in changed and not preparation.is_square:
        changed |= {"crop": changed["resize"], "enlarge": True}
    prepared = replace(preparation, **changed)
    if prepared.crop > prepared.resize:
        raise ArgumentError("crop", f"at most resize, {prepared.resize}", str(prepared.crop))
    return prepared


def _of_channels(name: str, values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """A number for each channel."""
    if len(values) not in (1, channels):
        raise ArgumentError(name, "one number for a network of grey images", f"{len(values)} numbers")
    return values * channels if len(values) == 1 else values


def _adapted(model: nn.Module, preparation: Preparation, spec: ModelSpec) -> AdaptedModel:
    """A network adapted to the images of a preparation: of the channels that it says, else three, else one."""
    side = preparation.crop
    try:
        return adapt(model, size=side)
    except ArgumentError as error:
        raise ArgumentError(_OPTIONS.get(error.argument, error.argument), error.expected, error.received) from error
    except _NOT_ADAPTED as error:
        with suppress(*_NOT_ADAPTED):
            return adapt(model, size=side, channels=1)
        raise ModelLoadError(_not_adapted(f"{spec.name} to take images of {side} x {side} (--crop)", error)) from error


def _not_adapted(expected: str, error: Exception) -> str:
    cause = error.__cause__  # what the model itself raised
    if isinstance(cause, Exception):
        return f"Expected {expected}, but: {first_line(cause)}"
    return f"Expected {expected}, but: {in_options(str(error))}"


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ArgumentError(
            "device", "one that torch can use here", f"{name!r}: {str(error).splitlines()[0]}"
        ) from error
    return device
