"""Where models come from: torchvision, timm, the caller's function; transformers and open_clip have files of their own.

A source gives what `captum_ext.models.adapt` does not find out: the weights, and how photographs become images.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError, ModelLoadError
from captum_ext.models.texts import encoded, tokens_of
from captum_ext_integrations.cli.preparation import Preparation, WholePreparation
from captum_ext_integrations.cli.weights import fill, first_line, load_weights

_DETECTORS, _SEGMENTERS = "torchvision.models.detection.", "torchvision.models.segmentation."
_PHOTOGRAPH = 800  # shorter side up to which a detector of torchvision gets a photograph as it is


@dataclass(frozen=True)
class ModelSpec:
    """Which model, with which weights, for which images; small enough to be sent to other processes.

    Attributes:
        name: torchvision:NAME, timm:NAME, hf:NAME_OR_PATH, open_clip:NAME or MODULE:FUNCTION.
        weights: a local file, or None for the pretrained ones (of MODULE:FUNCTION: those that it loads).
        weights_key: which of several state dicts of that file, where it is a checkpoint: "state_dict_ema".
        n_classes: outputs, where the file's differ from the 1,000 of ImageNet.
        resize, crop, mean, std: override the preparation that belongs to the model.
        device: "auto", "cpu", "cuda" or another of torch's names.
        channels: of the images, for models of timm that are built for others than three.
        texts: of CLIP and SigLIP: one, whose similarity is the score, or several as classes.
    """

    name: str
    weights: Path | None = None
    n_classes: int | None = None
    resize: int | None = None
    crop: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    device: str = "auto"
    weights_key: str | None = None
    channels: int | None = None
    texts: tuple[str, ...] = ()

    def refuse(self, reason: str, *options: str) -> None:
        """Raise an ArgumentError with a reason for the first of the options that is given."""
        for option in options:
            value = getattr(self, option)
            if value is not None:
                raise ArgumentError(option, reason, str(value))


@dataclass(frozen=True)
class Texts:
    """The text tower of CLIP or SigLIP.

    Attributes:
        embed: texts to embeddings (T, D), as they are compared with those of images.
        scale: of the logits.
        bias: of the logits.
    """

    embed: Callable[[list[str]], Tensor]
    scale: float
    bias: float = 0.0


def embedded(model: nn.Module, tokenizer: Any, texts: list[str]) -> Tensor:
    """Embeddings (T, D) of texts.

    Raises:
        ArgumentError: a text of which the model would see the beginning only.
    """
    try:
        return encoded(model, tokens_of(model, tokenizer, texts))
    except ArgumentError as error:
        raise ArgumentError("text", error.expected, error.received) from error


@dataclass(frozen=True)
class Source:
    """A model as it is loaded.

    Attributes:
        model: with its weights.
        preparation: how photographs become images; None: `processor` knows.
        processor: of the model's library.
        described: settings of the processor.
        class_names: where the model does not bring them.
        texts: of models that compare images with texts.
    """

    model: nn.Module
    preparation: Preparation | None = None
    processor: Any = None
    described: Any = None
    class_names: tuple[str, ...] = ()
    texts: Texts | None = None


def of_torchvision(name: str, spec: ModelSpec) -> Source:
    """A model of torchvision: a classifier, a segmentation network or a detector.

    Raises:
        ModelLoadError: no such model, or weights that do not fit or cannot be downloaded.
        ArgumentError: another number of classes than the pretrained one's.
    """
    models = require("torchvision.models", "cli")
    known = [
        one
        for part in (models, models.segmentation, models.detection)
        for one in models.list_models(module=part)
        if not one.startswith("keypointrcnn")
    ]
    if name not in known:
        raise ModelLoadError(unknown(f"torchvision:{name}", [f"torchvision:{one}" for one in known]))
    spec.refuse("left out: networks of torchvision take three", "channels")
    pretrained = models.get_model_weights(name).DEFAULT
    categories = pretrained.meta["categories"]
    check_classes(spec, len(categories))
    classes = spec.n_classes or len(categories)
    model = models.get_model(name, weights=None, num_classes=classes, **_options(name, pretrained))
    if spec.weights is None:
        fill(model, _downloaded(pretrained, name), spec.name, "the download")
    else:
        load_weights(model, spec.weights, spec.name, key=spec.weights_key)
    names = tuple(categories) if classes == len(categories) else ()
    return Source(model, _torchvision_preparation(model, pretrained.transforms()), class_names=names)


def _torchvision_preparation(model: nn.Module, preset: Any) -> Preparation:
    kind = f"{type(model).__module__}."
    if kind.startswith(_DETECTORS):  # which normalise and resize by themselves
        return WholePreparation(_PHOTOGRAPH, _PHOTOGRAPH, (0.0,) * 3, (1.0,) * 3, enlarge=False)
    mean, std, interpolation = tuple(preset.mean), tuple(preset.std), preset.interpolation.value
    if kind.startswith(_SEGMENTERS):
        side = preset.resize_size[0]
        return WholePreparation(side, side, mean, std, interpolation)
    return Preparation(preset.resize_size[0], preset.crop_size[0], mean, std, interpolation)


def _options(name: str, pretrained: Any) -> dict[str, Any]:
    """What torchvision sets by itself only where it loads the weights, or would download."""
    if name in ("googlenet", "inception_v3"):  # their weights want another normalisation, done in the model
        return {"init_weights": False, "transform_input": True}
    if name.startswith("vit_"):
        return {"image_size": pretrained.meta["min_size"][0]}
    if _is_dense(name):
        return {"weights_backbone": None}
    return {}


def _is_dense(name: str) -> bool:
    """Whether a name of torchvision is that of a segmentation network or a detector."""
    models = require("torchvision.models", "cli")
    return any(name in models.list_models(module=part) for part in (models.segmentation, models.detection))


def check_classes(spec: ModelSpec, n_pretrained: int | None) -> None:
    """Refuse another number of outputs than the pretrained weights have, unless a file is given."""
    if spec.weights is None and spec.n_classes not in (None, n_pretrained):
        raise ArgumentError("n_classes", "given together with --weights FILE of such a model", str(spec.n_classes))


def _downloaded(weights: Any, name: str) -> dict[str, Tensor]:
    try:
        weights_by_name: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            weights.url, map_location="cpu", check_hash=True, weights_only=True
        )
    except Exception as error:  # no connection, a wrong hash, a damaged cache
        raise ModelLoadError(offline(f"torchvision:{name}", error)) from error
    return weights_by_name


def of_timm(name: str, spec: ModelSpec) -> Source:
    """A model of timm.

    Raises:
        ModelLoadError: timm is not installed, no such model, or weights that do not fit or cannot be downloaded.
    """
    timm = library("timm", "timm", "timm:NAME")
    architecture = name.split(".")[0]
    if architecture not in timm.list_models():
        raise ModelLoadError(unknown(f"timm:{name}", [f"timm:{one}" for one in timm.list_models()]))
    if "." in name and name not in timm.list_pretrained():
        raise ModelLoadError(unknown(f"timm:{name}", [f"timm:{one}" for one in timm.list_pretrained()]))
    check_classes(spec, None)
    if spec.weights is None:
        spec.refuse("given together with --weights FILE of such a model", "channels")
    given = {"num_classes": spec.n_classes, "in_chans": spec.channels}
    extra: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    try:
        model = timm.create_model(name, pretrained=spec.weights is None, **extra)
    except Exception as error:  # the hub's client has its errors, too
        if spec.weights is not None:
            raise
        raise ModelLoadError(offline(f"timm:{name}", error)) from error
    if spec.weights is not None:
        load_weights(model, spec.weights, f"timm:{name}", key=spec.weights_key)
    config = timm.data.resolve_model_data_config(model)
    _, height, crop = config["input_size"]
    if height != crop or config["crop_mode"] not in ("center", "squash"):
        raise ModelLoadError(f"timm:{name} wants images that are not a square crop: {config}.")
    resize = math.floor(crop / config["crop_pct"])
    return Source(model, Preparation(resize, crop, config["mean"], config["std"], config["interpolation"]))


def import_from_here() -> None:
    """Make the modules of the current folder importable, after all others: none of them replaces an installed one."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)


def of_caller(module: str, function: str, spec: ModelSpec) -> Source:
    """The model that a function of the caller returns, which may be adapted already.

    Raises:
        ModelLoadError: no such function, or it returns no model.
        ArgumentError: options of models that are built here.
    """
    import_from_here()
    spec.refuse("for models of torchvision, timm and hf only", "n_classes")
    spec.refuse("for models of timm only, as this one is built by its function", "channels")
    try:
        home = importlib.import_module(module)
    except Exception as error:  # whatever the module does
        reason = f"{type(error).__name__}: {first_line(error)}".removesuffix(".")
        raise ModelLoadError(f"Expected {spec.name} to name a function of a module, but {module}: {reason}.") from error
    if not callable(getattr(home, function, None)):
        names = [f"{module}:{one}" for one in vars(home) if callable(getattr(home, one)) and not one.startswith("_")]
        raise ModelLoadError(unknown(spec.name, names))
    try:
        model = getattr(home, function)()
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ModelLoadError(f"Expected {spec.name}() to return a model, but: {reason}") from error
    if not isinstance(model, nn.Module):
        raise ModelLoadError(f"Expected {spec.name} to return a torch.nn.Module, but got {type(model).__name__}.")
    if spec.weights is not None:
        load_weights(model, spec.weights, spec.name, key=spec.weights_key)
    return Source(model, Preparation())


def library(module: str, extra: str, name: str) -> Any:
    """A library whose models a name is for.

    Raises:
        ModelLoadError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ModelLoadError(
            f"{module} is needed for {name}. Install it with: pip install 'captum-ext[cli,{extra}]'"
        ) from error


def unknown(name: str, known: list[str]) -> str:
    """That there is no such model, with close names."""
    source = name.partition(":")[0]
    close = get_close_matches(
        name.removeprefix(f"{source}:"), [one.partition(":")[2] for one in known], n=5, cutoff=0.6
    )
    close = [f"{source}:{one}" for one in close]
    hint = f"Close matches: {', '.join(close)}." if close else f"There are {len(known)} such names."
    return f"There is no model {name}. {hint}"


def offline(name: str, error: Exception) -> str:
    """That weights could not be downloaded."""
    return (
        f"The pretrained weights of {name} could not be downloaded ({first_line(error)}). Without a connection, "
        "pass a local file with --weights FILE (safetensors or a state dict)."
    )
