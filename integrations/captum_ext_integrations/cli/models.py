"""Models by name, with weights that are never unpickled code, and how they want their images."""

from __future__ import annotations

import importlib
import math
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError, ModelLoadError
from captum_ext_integrations.cli.preparation import Preparation
from captum_ext_integrations.cli.weights import fill, first_line, load_weights

__all__ = ["LoadedModel", "ModelSpec", "Preparation", "import_from_here", "load_model", "load_weights"]


@dataclass(frozen=True)
class ModelSpec:
    """Which model, with which weights, for which images; small enough to be sent to other processes.

    Attributes:
        name: torchvision:NAME, timm:NAME or MODULE:FUNCTION.
        weights: a local file, or None for the pretrained ones (of MODULE:FUNCTION: those that it loads).
        weights_key: which of several state dicts of that file, where it is a checkpoint: "state_dict_ema".
        n_classes: outputs, where the file's differ from the 1,000 of ImageNet.
        resize, crop, mean, std: override the preparation that belongs to the model.
        device: "auto", "cpu", "cuda" or another of torch's names.
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


@dataclass(frozen=True)
class LoadedModel:
    """A model in eval mode, how it wants its images, and names of its classes where they are known."""

    model: nn.Module
    preparation: Preparation
    device: torch.device
    n_classes: int
    class_names: tuple[str, ...] = ()

    def class_name(self, index: int) -> str:
        """Name of a class, or its number."""
        return self.class_names[index] if index < len(self.class_names) else f"class {index}"


def load_model(spec: ModelSpec) -> LoadedModel:
    """The model of a specification.

    Raises:
        ModelLoadError: no such model or function, weights that do not fit, or that cannot be downloaded.
        ArgumentError: a device that torch does not know.
    """
    source, separator, name = spec.name.partition(":")
    if not separator or not source or not name:
        raise ModelLoadError(
            f"Expected a model as torchvision:NAME, timm:NAME or MODULE:FUNCTION, but got {spec.name!r}."
        )
    if spec.weights_key is not None and spec.weights is None:
        raise ArgumentError("weights_key", "given together with --weights FILE", repr(spec.weights_key))
    load = {"torchvision": _torchvision, "timm": _timm}.get(source)
    model, preparation, names = _returned(source, name, spec) if load is None else load(name, spec)
    changed = {key: getattr(spec, key) for key in ("resize", "crop", "mean", "std") if getattr(spec, key) is not None}
    if "crop" in changed and "resize" not in changed:
        changed["resize"] = max(changed["crop"], preparation.resize)
    prepared = replace(preparation, **changed)
    if prepared.crop > prepared.resize:
        raise ArgumentError("crop", f"at most resize, {prepared.resize}", str(prepared.crop))
    device = _device(spec.device)
    model = model.eval().requires_grad_(True).to(device)
    channels, n_classes = _channels_and_classes(model, prepared, device, spec.name)
    if channels == 1 and (spec.mean is None or spec.std is None):
        missing = "mean" if spec.mean is None else "std"
        expected = f"given for {spec.name}, which takes grey images, as --{missing} NUMBER"
        raise ArgumentError(missing, expected, "nothing")
    mean, std = (_of_channels(one, getattr(prepared, one), channels) for one in ("mean", "std"))
    return LoadedModel(model, replace(prepared, mean=mean, std=std, channels=channels), device, n_classes, names)


def _of_channels(name: str, values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """A number for each channel."""
    if len(values) not in (1, channels):
        raise ArgumentError(name, "one number for a network of grey images", f"{len(values)} numbers")
    return values * channels if len(values) == 1 else values


def _channels_and_classes(
    model: nn.Module, preparation: Preparation, device: torch.device, name: str
) -> tuple[int, int]:
    """Numbers of channels, which are three where the model takes them and one otherwise, and of outputs."""
    side = preparation.crop
    try:
        return 3, _n_classes(model, 3, side, device, name)
    except ModelLoadError:
        with suppress(ModelLoadError):
            return 1, _n_classes(model, 1, side, device, name)
        raise


def _n_classes(model: nn.Module, channels: int, side: int, device: torch.device, name: str) -> int:
    """Number of outputs, from one blank image."""
    try:
        with torch.no_grad():
            outputs = model(torch.zeros(1, channels, side, side, device=device))
    except Exception as error:
        reason = first_line(error)
        raise ModelLoadError(f"Expected {name} to take images of {side} x {side} (--crop), but: {reason}") from error
    if not isinstance(outputs, Tensor) or outputs.dim() != 2 or len(outputs) != 1:
        received = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ModelLoadError(f"Expected {name} to return one row of scores for each image, but got {received}.")
    return outputs.shape[1]


def _torchvision(name: str, spec: ModelSpec) -> tuple[nn.Module, Preparation, tuple[str, ...]]:
    models = require("torchvision.models", "cli")
    known = models.list_models(module=models)
    if name not in known:
        raise ModelLoadError(_unknown(f"torchvision:{name}", [f"torchvision:{one}" for one in known]))
    pretrained = models.get_model_weights(name).DEFAULT
    n_pretrained = len(pretrained.meta["categories"])
    classes = spec.n_classes or n_pretrained
    _check_classes(spec, n_pretrained)
    model = models.get_model(name, weights=None, num_classes=classes, **_options(name, pretrained))
    if spec.weights is None:
        fill(model, _downloaded(pretrained, name), spec.name, "the download")
    else:
        load_weights(model, spec.weights, spec.name, key=spec.weights_key)
    preset = pretrained.transforms()
    preparation = Preparation(
        preset.resize_size[0], preset.crop_size[0], tuple(preset.mean), tuple(preset.std), preset.interpolation.value
    )
    names = tuple(pretrained.meta["categories"]) if classes == n_pretrained else ()
    return model, preparation, names


def _options(name: str, pretrained: Any) -> dict[str, Any]:
    """What torchvision sets by itself only where it loads the weights."""
    if name in ("googlenet", "inception_v3"):  # their weights want another normalisation, done in the model
        return {"init_weights": False, "transform_input": True}
    if name.startswith("vit_"):
        return {"image_size": pretrained.meta["min_size"][0]}
    return {}


def _check_classes(spec: ModelSpec, n_pretrained: int | None) -> None:
    if spec.weights is None and spec.n_classes not in (None, n_pretrained):
        raise ArgumentError("n_classes", "given together with --weights FILE of such a model", str(spec.n_classes))


def _downloaded(weights: Any, name: str) -> dict[str, Tensor]:
    try:
        weights_by_name: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            weights.url, map_location="cpu", check_hash=True, weights_only=True
        )
    except Exception as error:  # no connection, a wrong hash, a damaged cache
        raise ModelLoadError(_offline(f"torchvision:{name}", error)) from error
    return weights_by_name


def _timm(name: str, spec: ModelSpec) -> tuple[nn.Module, Preparation, tuple[str, ...]]:
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise ModelLoadError("timm is needed for timm:NAME. Install it with: pip install 'timm>=1.0'") from error
    architecture = name.split(".")[0]
    if architecture not in timm.list_models():
        raise ModelLoadError(_unknown(f"timm:{name}", [f"timm:{one}" for one in timm.list_models()]))
    if "." in name and name not in timm.list_pretrained():
        raise ModelLoadError(_unknown(f"timm:{name}", [f"timm:{one}" for one in timm.list_pretrained()]))
    _check_classes(spec, None)
    extra: dict[str, Any] = {} if spec.n_classes is None else {"num_classes": spec.n_classes}
    try:
        model = timm.create_model(name, pretrained=spec.weights is None, **extra)
    except Exception as error:  # the hub's client has its errors, too
        if spec.weights is not None:
            raise
        raise ModelLoadError(_offline(f"timm:{name}", error)) from error
    if spec.weights is not None:
        load_weights(model, spec.weights, f"timm:{name}", key=spec.weights_key)
    config = timm.data.resolve_model_data_config(model)
    channels, height, crop = config["input_size"]
    if channels != 3 or height != crop or config["crop_mode"] not in ("center", "squash"):
        raise ModelLoadError(f"timm:{name} wants images that are not a square RGB crop: {config}.")
    resize = math.floor(crop / config["crop_pct"])
    return model, Preparation(resize, crop, config["mean"], config["std"], config["interpolation"]), ()


def import_from_here() -> None:
    """Make the modules of the current folder importable, after all others: none of them replaces an installed one."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)


def _returned(module: str, function: str, spec: ModelSpec) -> tuple[nn.Module, Preparation, tuple[str, ...]]:
    """The model that a function of the caller returns."""
    import_from_here()
    if spec.n_classes is not None:
        raise ArgumentError("n_classes", "for models of torchvision and timm only", str(spec.n_classes))
    try:
        home = importlib.import_module(module)
    except Exception as error:  # whatever the module does
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ModelLoadError(f"Expected {spec.name} to name a function of a module, but {module}: {reason}.") from error
    if not callable(getattr(home, function, None)):
        names = [f"{module}:{one}" for one in vars(home) if callable(getattr(home, one)) and not one.startswith("_")]
        raise ModelLoadError(_unknown(spec.name, names))
    try:
        model = getattr(home, function)()
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ModelLoadError(f"Expected {spec.name}() to return a model, but: {reason}") from error
    if not isinstance(model, nn.Module):
        raise ModelLoadError(f"Expected {spec.name} to return a torch.nn.Module, but got {type(model).__name__}.")
    if spec.weights is not None:
        load_weights(model, spec.weights, spec.name, key=spec.weights_key)
    return model, Preparation(), ()


def _unknown(name: str, known: list[str]) -> str:
    source = name.partition(":")[0]
    close = get_close_matches(
        name.removeprefix(f"{source}:"), [one.partition(":")[2] for one in known], n=5, cutoff=0.6
    )
    close = [f"{source}:{one}" for one in close]
    hint = f"Close matches: {', '.join(close)}." if close else f"There are {len(known)} such names."
    return f"There is no model {name}. {hint}"


def _offline(name: str, error: Exception) -> str:
    return (
        f"The pretrained weights of {name} could not be downloaded ({first_line(error)}). Without a connection, "
        "pass a local file with --weights FILE (safetensors or a state dict)."
    )


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
