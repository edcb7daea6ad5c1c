"""Models by name, with weights that are never unpickled code, and how they want their images."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from captum_ext._optional import require
from captum_ext.exceptions import ArgumentError, ModelLoadError

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@dataclass(frozen=True)
class Preparation:
    """From a photograph to what a model takes.

    Attributes:
        resize: length of the shorter side.
        crop: side of the central crop after that.
        mean: of each channel, for values in [0, 1].
        std: see `mean`.
        interpolation: "bilinear", "bicubic" or another of torchvision's names.
    """

    resize: int = 256
    crop: int = 224
    mean: tuple[float, ...] = _IMAGENET["mean"]
    std: tuple[float, ...] = _IMAGENET["std"]
    interpolation: str = "bilinear"

    def __call__(self, image: Any) -> Tensor:
        """A PIL image as a normalised tensor (3, crop, crop)."""
        v2 = require("torchvision.transforms.v2", "cli")
        functional = require("torchvision.transforms.v2.functional", "cli")
        resized = functional.resize(
            image, [self.resize], interpolation=v2.InterpolationMode(self.interpolation), antialias=True
        )
        pixels = functional.pil_to_tensor(functional.center_crop(resized, [self.crop, self.crop]))
        normalised: Tensor = functional.normalize(pixels.float() / 255, list(self.mean), list(self.std))
        return normalised

    def displayable(self, images: Tensor) -> Tensor:
        """Undo the normalisation: (N, 3, H, W) to (N, H, W, 3) in [0, 1]."""
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (images.cpu() * std + mean).clamp(0, 1).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class ModelSpec:
    """Which model, with which weights, for which images; small enough to be sent to other processes.

    Attributes:
        name: torchvision:NAME, timm:NAME or MODULE:FUNCTION.
        weights: a local file, or None for the pretrained ones (of MODULE:FUNCTION: those that it loads).
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


@dataclass(frozen=True)
class LoadedModel:
    """A model in eval mode, how it wants its images, and names of its classes where they are known."""

    model: nn.Module
    preparation: Preparation
    device: torch.device
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
    load = {"torchvision": _torchvision, "timm": _timm}.get(source)
    model, preparation, names = _own(source, name, spec) if load is None else load(name, spec)
    changed = {key: getattr(spec, key) for key in ("resize", "crop", "mean", "std") if getattr(spec, key) is not None}
    device = _device(spec.device)
    return LoadedModel(model.eval().to(device), replace(preparation, **changed), device, names)


def load_weights(model: nn.Module, path: Path, name: str) -> None:
    """Load a state dict without unpickling code.

    Raises:
        ModelLoadError: there is no such file, it is no state dict, or it belongs to another architecture.
    """
    loaded = _read(path, name)
    own = model.state_dict()
    missing = [key for key in own if key not in loaded and not key.endswith("num_batches_tracked")]  # old files lack it
    unexpected = [key for key in loaded if key not in own]
    other = [
        f"{key} {tuple(loaded[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in loaded and loaded[key].shape != own[key].shape
    ]
    if missing or unexpected or other:
        parts = {"missing": missing, "unexpected": unexpected, "of another shape": other}
        found = "; ".join(f"{len(keys)} {what}, such as {keys[0]}" for what, keys in parts.items() if keys)
        raise ModelLoadError(
            f"Expected the {len(own)} tensors of {name} in {path}, but got another architecture: {found}."
        )
    model.load_state_dict(loaded, strict=False)


def _read(path: Path, name: str) -> dict[str, Tensor]:
    import pickle

    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelLoadError(
            f"Expected weights of {name} (safetensors or a state dict), but got {path}: {reason}"
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ModelLoadError(f"Expected a state dict of {name} in {path}, but got {type(loaded).__name__}.")
    return loaded


def _torchvision(name: str, spec: ModelSpec) -> tuple[nn.Module, Preparation, tuple[str, ...]]:
    models = require("torchvision.models", "cli")
    known = models.list_models(module=models)
    if name not in known:
        raise ModelLoadError(_unknown(f"torchvision:{name}", [f"torchvision:{one}" for one in known]))
    pretrained = models.get_model_weights(name).DEFAULT
    classes = spec.n_classes or len(pretrained.meta["categories"])
    model = models.get_model(name, weights=None, num_classes=classes, **_without_initialisation(name))
    if spec.weights is not None:
        load_weights(model, spec.weights, f"torchvision:{name}")
    else:
        model.load_state_dict(_downloaded(pretrained, name))
    preset = pretrained.transforms()
    preparation = Preparation(
        preset.resize_size[0], preset.crop_size[0], tuple(preset.mean), tuple(preset.std), preset.interpolation.value
    )
    names = tuple(pretrained.meta["categories"]) if classes == len(pretrained.meta["categories"]) else ()
    return model, preparation, names


def _without_initialisation(name: str) -> dict[str, bool]:
    """Two families draw their first weights slowly, and warn, unless told not to; weights are loaded anyway."""
    return {"init_weights": False} if name in ("googlenet", "inception_v3") else {}


def _downloaded(weights: Any, name: str) -> dict[str, Tensor]:
    try:
        found: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            weights.url, map_location="cpu", check_hash=True, weights_only=True
        )
    except (URLError, OSError) as error:
        raise ModelLoadError(_offline(f"torchvision:{name}", error)) from error
    return found


def _timm(name: str, spec: ModelSpec) -> tuple[nn.Module, Preparation, tuple[str, ...]]:
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise ModelLoadError("timm is needed for timm:NAME. Install it with: pip install 'timm>=1.0'") from error
    architecture = name.split(".")[0]
    if architecture not in timm.list_models():
        raise ModelLoadError(_unknown(f"timm:{name}", [f"timm:{one}" for one in timm.list_models()]))
    extra: dict[str, Any] = {} if spec.n_classes is None else {"num_classes": spec.n_classes}
    try:
        model = timm.create_model(name, pretrained=spec.weights is None, **extra)
    except Exception as error:  # the hub's client has errors of its own
        if spec.weights is not None:
            raise
        raise ModelLoadError(_offline(f"timm:{name}", error)) from error
    if spec.weights is not None:
        load_weights(model, spec.weights, f"timm:{name}")
    config = timm.data.resolve_model_data_config(model)
    crop = config["input_size"][-1]
    resize = round(crop / config["crop_pct"])
    return model, Preparation(resize, crop, config["mean"], config["std"], config["interpolation"]), ()


def _own(module: str, function: str, spec: ModelSpec) -> tuple[nn.Module, Preparation, tuple[str, ...]]:
    """The model that a function of the user returns."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise ModelLoadError(f"Expected {spec.name} to name a function of a module, but {module}: {error}.") from error
    if not callable(getattr(found, function, None)):
        names = [f"{module}:{one}" for one in vars(found) if callable(getattr(found, one)) and not one.startswith("_")]
        raise ModelLoadError(_unknown(spec.name, names))
    model = getattr(found, function)()
    if not isinstance(model, nn.Module):
        raise ModelLoadError(f"Expected {spec.name} to return a torch.nn.Module, but got {type(model).__name__}.")
    if spec.weights is not None:
        load_weights(model, spec.weights, spec.name)
    return model, Preparation(), ()


def _unknown(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=5, cutoff=0.5)
    hint = f"Close matches: {', '.join(close)}." if close else f"There are {len(known)} such names."
    return f"There is no model {name}. {hint}"


def _offline(name: str, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return (
        f"The pretrained weights of {name} could not be downloaded ({reason}). Without a connection, pass a local file "
        "with --weights FILE (safetensors or a state dict)."
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
