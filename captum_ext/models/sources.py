"""Where a model's images come from: their size and channels, how a photograph becomes one, and the way back."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn

from captum_ext.core.checks import check_positive_int, describe
from captum_ext.core.optional import require
from captum_ext.core.random import globally_seeded
from captum_ext.exceptions import AdaptError, ArgumentError, ArgumentsConflictError, ArgumentTypeError
from captum_ext.images import check_normalisation, image_to_pil, image_to_tensor
from captum_ext.models.facts import DEFAULT, GIVEN, UNKNOWN, Fact, unknown
from captum_ext.models.model_facts import TIMM_CONFIG, model_channels, model_size, timm_config

#: From a PIL image to a tensor (C, H, W).
Transform: TypeAlias = Callable[[Any], Any]
_Numbers: TypeAlias = Fact[tuple[float, ...] | None]

_SIDE = 224
_MODES = {1: "L", 3: "RGB"}
_MEASURED = "{}, measured on a black and a white image"
_FLAT = 1e-4  # values of a plain image that differ by more say that it was not only scaled and shifted
_SAME = 1e-3


@dataclass(frozen=True)
class ImageSource:
    """The images of a model; each fact says where it is known from.

    Attributes:
        size: (H, W) in pixels, or a side for each dimension.
        channels: of an image.
        mean: of each channel, for values in [0, 1]; None where it is not known.
        std: see `mean`.
        transform: from a PIL image to a tensor (C, H, W); None where it is not known.
    """

    size: Fact[tuple[int, ...]]
    channels: Fact[int]
    mean: _Numbers
    std: _Numbers
    transform: Fact[Transform | None]


def find_source(model: nn.Module, processor: Any, size: Any, channels: int | None, mean: Any, std: Any) -> ImageSource:
    """Where a model's images come from: what is given, then the processor, then what the model says.

    Raises:
        ArgumentTypeError, ArgumentError: what is given is no size, no number of channels or no normalisation, or
            nothing that prepares images.
        ArgumentsConflictError: the processor makes other images than the model takes, or than is said.
    """
    found_channels, rank = model_channels(model)
    given_size = None if size is None else _check_size(size, rank)
    centers, scales = check_normalisation(mean, std)
    if channels is not None:
        of_images = Fact(check_positive_int("channels", channels), GIVEN)
    else:
        of_images = found_channels or Fact(3, DEFAULT)
    of_size = Fact(given_size, GIVEN) if given_size is not None else model_size(model)
    of_size = of_size if len(of_size.value or ()) == rank else unknown()
    transform = find_transform(model, processor, of_images.value, of_size.value)
    of_mean: _Numbers = unknown()
    of_std: _Numbers = unknown()
    if transform.value is not None:
        blank = _prepare_blanks(transform, of_images)
        made, (of_mean, of_std) = tuple(blank[0].shape[1:]), _normalisation(blank, transform, processor)
        if given_size is not None and made != given_size:
            raise _conflict("size", f"{transform.origin} makes images of {made}, and not of {given_size}")
        of_size = of_size if of_size.value == made else Fact(made, transform.origin)
    if centers is not None:
        _check_same(of_mean, centers, transform, "mean")
        _check_same(of_std, scales, transform, "std")
        of_mean, of_std = Fact(centers, GIVEN), Fact(scales, GIVEN)
        for name, numbers in (("mean", centers), ("std", scales)):
            if len(numbers or ()) not in (1, of_images.value):
                expected = f"one number, or one for each of the {of_images.value} channels"
                raise ArgumentError(name, expected, f"{len(numbers or ())} numbers")
    known_size = _no_size(rank) if of_size.value is None else Fact(of_size.value, of_size.origin)
    source = ImageSource(known_size, of_images, of_mean, of_std, transform)
    if transform.value is None and of_mean.value is not None and rank == 2 and of_images.value in _MODES:
        source = replace(source, transform=Fact(_Fitted(source), "resized to cover the size, cropped at the centre"))
    return source


def find_transform(
    model: nn.Module, processor: Any, channels: int, size: tuple[int, ...] | None
) -> Fact[Transform | None]:
    """How a PIL image becomes a tensor: by the processor, or as timm prepares images for its model.

    Raises:
        ArgumentTypeError: a processor that prepares no images.
    """
    if processor is None:
        config = timm_config(model)
        if not config or len(tuple(config.get("mean") or ())) != channels:
            return unknown()
        made = _timm_transform(model, size)
        return unknown() if made is None else Fact(made, TIMM_CONFIG)
    inside = getattr(processor, "image_processor", None) or getattr(processor, "feature_extractor", None) or processor
    if hasattr(inside, "transforms") and hasattr(inside, "meta"):
        return Fact(inside.transforms(), "torchvision's weights")
    if hasattr(inside, "image_mean") or hasattr(inside, "preprocess"):
        return Fact(_HuggingFace(inside), "Hugging Face processor")
    if hasattr(inside, "convert_tokens_to_ids") or hasattr(inside, "encode"):
        raise ArgumentTypeError("processor", "one that prepares images", describe(processor))
    if isinstance(inside, Mapping) or not callable(inside):
        expected = (
            "a Hugging Face processor, torchvision's weights or their transforms(), or a function from a PIL image to "
            "a tensor (C, H, W)"
        )
        raise ArgumentTypeError("processor", expected, describe(processor))
    return Fact(inside, "the processor given")


@dataclass(frozen=True)
class _HuggingFace:
    """A Hugging Face processor as a function of one image."""

    processor: Any

    def __call__(self, image: Any) -> Any:
        try:
            made = self.processor(images=image, return_tensors="pt")
        except ValueError:
            if getattr(image, "mode", None) != "L":
                raise
            # Older processors count the dimensions of an array, and that of a grey picture has two.
            grey = np.asarray(image)[..., None]
            made = self.processor(images=grey, return_tensors="pt", input_data_format="channels_last")
        return made["pixel_values"][0]


@dataclass(frozen=True)
class _Fitted:
    """An image resized until it covers the size, cropped at the centre, and normalised."""

    source: ImageSource

    def __call__(self, image: Any) -> Tensor:
        height, width = self.source.size.value
        scale = max(height / image.height, width / image.width)
        whole = max(round(image.width * scale), width), max(round(image.height * scale), height)
        left, top = (whole[0] - width) // 2, (whole[1] - height) // 2
        shown = image.resize(whole, require("PIL.Image", "cli").Resampling.BILINEAR)
        cropped = shown.crop((left, top, left + width, top + height))
        pixels = image_to_tensor(cropped, channels=self.source.channels.value)
        mean, std = (torch.tensor(fact.value or ())[:, None, None] for fact in (self.source.mean, self.source.std))
        return (pixels - mean) / std


def _timm_transform(model: nn.Module, size: tuple[int, ...] | None) -> Transform | None:
    """The preparation of timm for evaluation, or None where timm or torchvision is not installed."""
    try:
        data: Any = importlib.import_module("timm.data")
    except ImportError:
        return None
    config = data.resolve_model_data_config(model)
    if size is not None:
        config["input_size"] = (config["input_size"][0], *size)
    transform: Transform = data.create_transform(**config, is_training=False)
    return transform


def _prepare_blanks(transform: Fact[Transform | None], channels: Fact[int]) -> tuple[Tensor, Tensor]:
    """A black and a white image as the transform makes them, with random numbers that are put back."""
    assert_callable = transform.value
    pillow = require("PIL.Image", "cli")
    mode = image_mode(channels.value)
    made = []
    for shade in (0, 255):
        blank = pillow.new(mode, (256, 256), shade if mode == "L" else (shade,) * len(mode))
        with globally_seeded(0, 0):
            try:
                value = assert_callable(blank) if assert_callable else None
            except Exception as error:
                raise _conflict(
                    "processor",
                    f"{transform.origin} fails for an image of mode {mode}: {type(error).__name__}: {error}",
                ) from error
        if not isinstance(value, Tensor) or value.dim() != 3 or not value.is_floating_point():
            expected = "one that makes a tensor (C, H, W) in floating point of a PIL image"
            raise ArgumentTypeError("processor", expected, f"one that makes {describe(value)}")
        if len(value) != channels.value:
            raise _conflict(
                "processor",
                f"it makes images of {len(value)} channels, but the model takes {channels.value} ({channels.origin})",
            )
        made.append(value.detach().cpu().double())
    return made[0], made[1]


def _normalisation(blank: tuple[Tensor, Tensor], transform: Fact[Any], processor: Any) -> tuple[_Numbers, _Numbers]:
    """Mean and standard deviation as the processor states them, or else as a black and a white image show them."""
    black, white = (one.flatten(1) for one in blank)
    if any(float((one.max(1).values - one.min(1).values).max()) > _FLAT for one in (black, white)):
        return unknown(), unknown()  # padded, or not prepared pixel by pixel
    span = (white - black).mean(1)
    if bool((span <= 0).any()):
        return unknown(), unknown()
    std, mean = 1 / span, -black.mean(1) / span
    stated = _stated(transform.value, processor)
    if stated is not None and all(
        len(numbers) == len(found) and float((torch.tensor(numbers).double() - found).abs().max()) < _SAME
        for numbers, found in zip(stated, (mean, std), strict=True)
    ):
        return Fact(stated[0], transform.origin), Fact(stated[1], transform.origin)
    origin = _MEASURED.format(transform.origin)
    return (
        Fact(tuple(round(one, 5) for one in mean.tolist()), origin),
        Fact(tuple(round(one, 5) for one in std.tolist()), origin),
    )


def _stated(transform: Any, processor: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation in the attributes of a processor or of a part of it."""
    inside = getattr(processor, "image_processor", processor)
    holders = [transform, inside, *(getattr(transform, "transforms", None) or ())] if transform else []
    for holder in holders:
        for names in (("image_mean", "image_std"), ("mean", "std")):
            values = [getattr(holder, name, None) for name in names]
            if all(value is not None and not callable(value) for value in values):
                try:
                    mean, std = ([float(number) for number in cast(Any, value)] for value in values)
                except (TypeError, ValueError):
                    continue
                return tuple(round(one, 6) for one in mean), tuple(round(one, 6) for one in std)
    return None


def image_mode(channels: int) -> str:
    """PIL's mode of images with so many channels.

    Raises:
        AdaptError: there is none.
    """
    if channels not in _MODES:
        raise AdaptError(
            f"Photographs have 1 or 3 channels, but the model takes {channels}: make its tensors (N, {channels}, "
            "...) without a processor."
        )
    return _MODES[channels]


def _check_size(size: Any, rank: int) -> tuple[int, ...]:
    sides = tuple(size) if isinstance(size, tuple | list) else (size,) * rank
    checked = tuple(check_positive_int("size", side) for side in sides)
    if len(checked) != rank:
        expected = f"one side in pixels, or one for each of the {rank} dimensions of the model's images"
        raise ArgumentError("size", expected, describe(size))
    return checked


def _check_same(found: _Numbers, given: Any, transform: Fact[Any], name: str) -> None:
    """Raise where the processor normalises otherwise than is said."""
    if found.value is None or given is None:
        return
    stated = given if len(given) == len(found.value) else given * len(found.value)
    if any(abs(one - other) > _SAME for one, other in zip(stated, found.value, strict=False)):
        raise _conflict(name, f"{transform.origin} has {found.value}, and not {given}")


def _conflict(name: str, reason: str) -> ArgumentsConflictError:
    names = ("model", "processor") if name == "processor" else (name, "processor")
    return ArgumentsConflictError(names, f"{reason}. Pass a processor that fits, or none")


def _no_size(rank: int) -> Fact[tuple[int, ...]]:
    """The size of images that nothing says; volumes and signals have no usual one."""
    if rank == 2:
        return Fact((_SIDE, _SIDE), DEFAULT)
    raise AdaptError(
        f"The model takes inputs of {rank} dimensions beside their channels, and nothing says how large they are: pass "
        f"size= with {rank} number{'s' if rank > 1 else ''}."
    )


def prepared(source: ImageSource, images: Any) -> Tensor:
    """Images as a batch (N, C, H, W).

    Raises:
        AdaptError: it is not known how they are prepared.
        ArgumentTypeError, ArgumentError: as `captum_ext.images.image_to_pil`, no image, or images of several sizes.
    """
    transform = source.transform.value
    if transform is None:
        raise AdaptError(
            f"It is {UNKNOWN} how images are prepared for this model. Pass adapt a processor (Hugging Face's, "
            "torchvision's weights, a transform), or mean= and std=."
        )
    listed = list(images) if isinstance(images, list | tuple) else [images]
    if not listed:
        raise ArgumentError("image", "an image, or a list of some", "an empty list")
    rows = [transform(image_to_pil(image, channels=source.channels.value)) for image in listed]
    if len({tuple(row.shape) for row in rows}) != 1:
        shapes = ", ".join(str(tuple(row.shape)) for row in rows)
        raise ArgumentError("image", "images that are prepared to one size", shapes)
    return torch.stack(rows)
