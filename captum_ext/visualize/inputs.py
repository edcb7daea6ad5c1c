"""What is shown, from whatever holds it: tensors, arrays, what Captum and pytorch-grad-cam return, photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_ext.core.checks import check_numbers, describe
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.images import display_range, image_to_tensor

Array = NDArray[np.float64]
_COLOURS = (1, 3)  # channels that can be seen
_SCALED = "How photographs are normalised is not known: each is scaled from its smallest number to its largest"


def as_numbers(name: str, value: Any) -> Array:
    """Real numbers of any shape as float64, from a tensor, an array, numbers, or a tuple that holds one of them.

    Raises:
        ArgumentTypeError: something else.
        ArgumentError: no number at all, or several tensors.
    """
    if isinstance(value, tuple) and any(isinstance(one, Tensor | np.ndarray) for one in value):
        if len(value) != 1:  # Captum's result for several inputs
            raise ArgumentError(name, "one tensor", f"a tuple of {len(value)}: pass one of them")
        (value,) = value
    if isinstance(value, Tensor):
        known = value.to(torch.uint8) if value.dtype == torch.bool else value
        array = check_numbers(name, known).detach().cpu().double().resolve_neg().numpy()
    else:
        array = _array(name, value)
    if array.size == 0:
        raise ArgumentError(name, "numbers", f"none, of shape {array.shape}")
    return array


def _array(name: str, value: Any) -> Array:
    try:
        array = np.asarray(value)
    except Exception as error:  # of what a caller's object does
        raise ArgumentTypeError(name, "a tensor or an array of numbers", describe(value)) from error
    if array.dtype.kind not in "fiub":
        raise ArgumentTypeError(name, "a tensor or an array of numbers", describe(value))
    return array.astype(np.float64)


def pixel_maps(name: str, value: Any) -> tuple[Array, int]:
    """Maps (N, H, W), and over how many channels they were summed (1: over none).

    From (H, W), (N, H, W) as of pytorch-grad-cam, or (N, C, H, W) as of Captum.

    Raises:
        ArgumentTypeError, ArgumentError: no numbers, another shape, or channels that are last.
    """
    array = as_numbers(name, value)
    expected = "maps (H, W), (N, H, W) or (N, C, H, W)"
    if array.ndim not in (2, 3, 4):
        more = "; show_slices takes volumes" if array.ndim == 5 else ""
        raise ArgumentError(name, expected, f"shape {array.shape}{more}")
    if array.ndim > 2 and channels_last(array.shape):
        raise ArgumentError(name, f"{expected}, with channels before pixels", f"shape {array.shape}")
    if array.ndim == 4:
        with np.errstate(invalid="ignore"):  # infinities of both signs have no sum: NaN
            return array.sum(1), array.shape[1]
    return (array if array.ndim == 3 else array[None]), 1


def channels_last(shape: Sequence[int]) -> bool:
    """Whether a shape (..., H, W, C) holds colours last, and none before its pixels."""
    before = shape[-3]
    return shape[-1] in _COLOURS and before not in _COLOURS and shape[-2] > shape[-1]


def named_maps(maps: Any) -> dict[str, tuple[Array, int]]:
    """Maps by their name, each (N, H, W) with its number of channels; what has no name is called "".

    Raises:
        ArgumentTypeError, ArgumentError: as `pixel_maps`; no map; methods with another number of maps.
    """
    given = maps if isinstance(maps, Mapping) else {"": maps}
    if not given:
        raise ArgumentError("maps", "at least one map", "an empty dictionary")
    named = {str(name): pixel_maps(f"maps[{name!r}]" if name else "maps", one) for name, one in given.items()}
    if len(named) != len(given):
        raise ArgumentError("maps", "under names that differ as text", describe(list(given)))
    counts = {name: len(array) for name, (array, _) in named.items()}
    if len(set(counts.values())) > 1:
        raise ArgumentError("maps", "of the same number of images", f"{counts}")
    return named


def photographs(images: Any, model: Any = None) -> tuple[Array, str]:
    """Photographs (N, H, W, 3) in [0, 1], and a sentence where that is not how they were.

    Args:
        images: what a model takes, (N, C, H, W) or (C, H, W); arrays (N, H, W, C), (H, W, C) or (H, W); 8 bits,
            or numbers in [0, 1]; Pillow's images.
        model: what has a method `display`, such as an `AdaptedModel`, which undoes the normalisation of its images.

    Raises:
        ArgumentTypeError, ArgumentError: no images, or of more channels than can be seen.
        NonFiniteError: NaN or infinity.
    """
    if model is not None:
        return photographs(_displayed(images, model))
    if hasattr(images, "getbands"):
        images = [images]
    if isinstance(images, list | tuple) and images and all(hasattr(one, "getbands") for one in images):
        read = [image_to_tensor(one).movedim(0, -1).double().numpy() for one in images]
        if len({one.shape for one in read}) > 1:
            raise ArgumentError("images", "of one size", f"sizes {sorted({one.shape[:2] for one in read})}")
        return np.stack(read), ""
    array = as_numbers("images", images)
    eight_bits = getattr(images, "dtype", None) in (torch.uint8, np.uint8)
    return _seen(_rows_of_colours(array, first=isinstance(images, Tensor)), eight_bits)


def _seen(pixels: Array, eight_bits: bool) -> tuple[Array, str]:
    """Rows (N, ..., C) in [0, 1], of three channels, and a sentence where each had to be scaled."""
    if eight_bits:
        return _three(pixels / 255), ""
    if np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1:
        return _three(pixels), ""
    scaled = display_range(torch.from_numpy(pixels).movedim(-1, 1)).movedim(1, -1).numpy()
    return _three(scaled), _SCALED


def _displayed(images: Any, model: Any) -> Any:
    display = getattr(model, "display", None)
    if not callable(display):
        raise ArgumentTypeError("model", "an AdaptedModel, or what has a method `display`", describe(model))
    if not isinstance(images, Tensor):
        raise ArgumentTypeError("images", "a tensor (N, C, H, W), as the model takes it", describe(images))
    return np.asarray(display(images if images.dim() > 3 else images[None]))


def _rows_of_colours(array: Array, first: bool) -> Array:
    """Photographs (N, H, W, C); `first`: channels come before pixels where they could be on both sides."""
    expected = "photographs (N, C, H, W), (N, H, W, C), (C, H, W), (H, W, C), (N, H, W) or (H, W), of 1 or 3 channels"
    if array.ndim == 2:
        return array[None, ..., None]
    if array.ndim not in (3, 4):
        raise ArgumentError("images", expected, f"shape {array.shape}")
    before, after = array.shape[-3] in _COLOURS, array.shape[-1] in _COLOURS
    if not before and not after:
        if array.ndim == 4:
            raise ArgumentError("images", f"{expected}; choose those to show", f"shape {array.shape}")
        return array[..., None]
    first = before and (first or not after)
    pixels = np.moveaxis(array, -3, -1) if first else array
    return pixels if array.ndim == 4 else pixels[None]


def _three(pixels: Array) -> Array:
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


def volume_maps(name: str, value: Any) -> tuple[Array, int]:
    """The map (D, H, W) of one volume, and over how many channels it was summed.

    From (D, H, W), (1, D, H, W) or (1, C, D, H, W).

    Raises:
        ArgumentTypeError, ArgumentError: no numbers, another shape, several volumes.
    """
    array = as_numbers(name, value)
    expected = "the map of one volume, (D, H, W), (1, D, H, W) or (1, C, D, H, W)"
    if array.ndim not in (3, 4, 5) or (array.ndim > 3 and len(array) != 1):
        raise ArgumentError(name, expected, f"shape {array.shape}")
    if array.ndim == 5:
        with np.errstate(invalid="ignore"):
            return array[0].sum(0), array.shape[1]
    return array.reshape(array.shape[-3:]), 1


def seen_volume(volume: Any, model: Any = None) -> tuple[Array, str]:
    """One volume as seen, (D, H, W, 3) in [0, 1], and a sentence where that is not how it was.

    From (D, H, W), (C, D, H, W) or (1, C, D, H, W), with `model` as it takes it; see `photographs`.

    Raises:
        ArgumentTypeError, ArgumentError, NonFiniteError: as `photographs`.
    """
    if model is not None:
        shown = as_numbers("volume", _displayed(volume, model))
    else:
        array = as_numbers("volume", volume)
        array = array[None] if array.ndim == 3 else array
        array = array[None] if array.ndim == 4 else array
        shown = np.moveaxis(array, 1, -1) if array.ndim == 5 else array
    if shown.ndim != 5 or len(shown) != 1 or shown.shape[-1] not in _COLOURS:
        expected = "one volume (D, H, W), (C, D, H, W) or (1, C, D, H, W) of 1 or 3 channels"
        received = describe(volume) if np.ndim(volume) == 0 else f"shape {tuple(np.shape(volume))}"
        raise ArgumentError("volume", expected, received)
    pixels, sentence = _seen(shown, getattr(volume, "dtype", None) in (torch.uint8, np.uint8) and model is None)
    return pixels[0], sentence
