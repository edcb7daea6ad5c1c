"""What a model says of itself, recognised by its attributes: Hugging Face's, timm's, torchvision's."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from torch import nn

from captum_ext.models.facts import CONFIG, Fact, unknown

TIMM_CONFIG = "timm's pretrained_cfg"


def config_of(model: nn.Module) -> Any:
    """The part of a Hugging Face config that is about images, or None."""
    config = getattr(model, "config", None)
    return getattr(config, "vision_config", None) or config


def timm_config(model: nn.Module) -> dict[str, Any]:
    """What timm says of the weights; empty for other models."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    if config is not None and not isinstance(config, Mapping) and callable(getattr(config, "to_dict", None)):
        config = config.to_dict()
    return dict(config) if isinstance(config, Mapping) else {}


def config_size(model: nn.Module) -> tuple[int, ...] | None:
    """The size of images in a Hugging Face config."""
    config = config_of(model)
    return None if isinstance(config, Mapping) else _pair(getattr(config, "image_size", None))


def model_size(model: nn.Module) -> Fact[tuple[int, ...] | None]:
    """The size of images (H, W) that a model was made for, as it says itself."""
    of_patches = _patches_of(model)
    visual = getattr(model, "visual", None)  # open_clip's image tower
    for found, origin in (
        (_pair(getattr(of_patches, "img_size", None)), "the model's patches"),
        (config_size(model), CONFIG),
        (_pair(getattr(visual, "image_size", None)), "open_clip's image tower"),
        (_pair(getattr(model, "image_size", None) or getattr(model, "img_size", None)), "the model's image_size"),
        (_pair(tuple(timm_config(model).get("input_size") or ())[1:]), TIMM_CONFIG),
    ):
        if found is not None:
            return Fact(found, origin)
    return unknown()


def model_patch(model: nn.Module) -> tuple[int, ...] | None:
    """The size of a patch, where the model says it."""
    for holder in (_patches_of(model), config_of(model), model):
        found = None if isinstance(holder, Mapping) else _pair(getattr(holder, "patch_size", None))
        if found is not None:
            return found
    return None


def _patches_of(model: nn.Module) -> nn.Module | None:
    """The part of a model that makes patches of images, whatever its name (of timm patch_embed or stem)."""
    parts = (part for part in model.children() if hasattr(part, "img_size") and hasattr(part, "patch_size"))
    return getattr(model, "patch_embed", None) or next(parts, None)


def model_channels(model: nn.Module) -> tuple[Fact[int] | None, int]:
    """Channels of the images, if that can be seen, and in how many dimensions their pixels are."""
    convolutions = (
        part
        for part in model.modules()
        if isinstance(part, nn.modules.conv._ConvNd) and not isinstance(part, nn.modules.conv._ConvTransposeNd)
    )
    first = next(convolutions, None)
    rank = 2 if first is None else len(first.kernel_size)
    config = config_of(model)
    stated = None if isinstance(config, Mapping) else getattr(config, "num_channels", None)
    if isinstance(stated, int) and not isinstance(stated, bool):
        return Fact(stated, CONFIG), rank
    return (None if first is None else Fact(first.in_channels, "the first convolution")), rank


def model_class_names(model: nn.Module, n_outputs: int) -> Fact[tuple[str, ...] | None]:
    """Names of the classes, from a config or from timm's lists, if they are as many as the outputs."""
    config = getattr(model, "config", None)
    names = by_number(getattr(config, "id2label", None))
    if len(names) == n_outputs and any(name != f"LABEL_{k}" for k, name in enumerate(names)):
        return Fact(names, f"{CONFIG} (id2label)")
    from_timm = timm_config(model)
    listed = from_timm.get("label_names")
    if isinstance(listed, list | tuple) and len(listed) == n_outputs:
        described = from_timm.get("label_descriptions")
        described = described if isinstance(described, Mapping) else {}
        return Fact(tuple(str(described.get(name, name)) for name in listed), TIMM_CONFIG)
    if from_timm.get("num_classes") == n_outputs and "timm" in sys.modules:
        data: Any = importlib.import_module("timm.data")
        subset = data.infer_imagenet_subset(model)
        if subset is not None:
            info = data.ImageNetInfo(subset)
            return Fact(tuple(info.index_to_description(k) for k in range(n_outputs)), f"timm's names of {subset}")
    return unknown()


def by_number(names: Any) -> tuple[str, ...]:
    """Names by number, which JSON turns into text, in their order; empty if a number is missing."""
    if not isinstance(names, Mapping):
        return ()
    try:
        numbered = {int(key): str(name) for key, name in names.items()}
    except (TypeError, ValueError):
        return ()
    return tuple(numbered[k] for k in range(len(numbered))) if set(numbered) == set(range(len(numbered))) else ()


def _pair(value: Any) -> tuple[int, ...] | None:
    """One or several sides in pixels as a tuple; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value) if value > 0 else None
    if isinstance(value, tuple | list) and len(value) in (2, 3):
        sides = tuple(value)
        return sides if all(isinstance(side, int) and side > 0 for side in sides) else None
    return None
