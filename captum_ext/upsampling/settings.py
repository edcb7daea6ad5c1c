"""What the settings of an upsampler may be: checked when it is made, in the words of its arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from captum_ext.core.blur import BLUR_WORDS, Blur
from captum_ext.core.checks import check_choice, check_finite, check_number, check_numbers, check_positive_int, describe
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.segmentation import METHODS, Segmenter, check_labels

_MOST_PIXELS = 2**28  # a map of a gigabyte
_SIZES: dict[int | None, str] = {1: "one integer (T,)", 2: "two integers (H, W)", 3: "three integers (D, H, W)"}
FILL_WORDS = ("mean", *BLUR_WORDS, "zero")
_FILL = "a number, a tensor, a Blur or one of " + ", ".join(f'"{word}"' for word in FILL_WORDS)


def check_positive(name: str, value: Any) -> float:
    """Return `value` as a float if it is a finite positive number.

    Raises:
        ArgumentTypeError: not a number.
        ArgumentError: another number.
    """
    return check_number(name, value, "a finite positive number", lambda number: 0 < number < math.inf)


def check_size(name: str, value: Any, dims: int | None = None) -> tuple[int, ...]:
    """Return `value` as (H, W); as (T,) or (D, H, W) where maps have one or three dimensions, which None allows.

    Raises:
        ArgumentTypeError: not a sequence, or not of integers.
        ArgumentError: not as many of them, or one below 1.
    """
    expected = _SIZES.get(dims, "one to three integers: (T,), (H, W) or (D, H, W)")
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ArgumentTypeError(name, expected, describe(value))
    if len(value) not in (_SIZES if dims is None else (dims,)):
        raise ArgumentError(name, expected, describe(value))
    size = tuple(check_positive_int(f"{name}[{position}]", side) for position, side in enumerate(value))
    if math.prod(size) > _MOST_PIXELS:
        raise ArgumentError(name, f"of at most {_MOST_PIXELS:,} pixels", " x ".join(map(str, size)))
    return size


def check_grid(name: str, value: Any, size: tuple[int, ...]) -> tuple[int, ...]:
    """Return `value` as the (h, w) of a grid of cells on a map of (H, W) pixels, and likewise in other dimensions.

    Raises:
        ArgumentTypeError: not a sequence, or not of integers.
        ArgumentError: not as many of them as sides, one below 1, or more cells than pixels along a side.
    """
    grid = check_size(name, value, len(size))
    if any(cells > pixels for cells, pixels in zip(grid, size, strict=True)):
        raise ArgumentError(name, f"no larger than the map's size {tuple(size)}", f"{grid}")
    return grid


def check_fill(fill: Any) -> str | float | Tensor | Blur:
    """Return `fill` if it can stand for a missing segment, whatever the images.

    Raises:
        ArgumentTypeError: not a word, a `Blur`, a number or a tensor of numbers.
        ArgumentError: another word, a tensor that is no batch of images.
        NonFiniteError: NaN or infinity in a tensor.
    """
    if isinstance(fill, str):
        if fill not in FILL_WORDS:
            raise ArgumentError("fill", _FILL, describe(fill))
        return fill
    if isinstance(fill, Blur):
        return fill
    if not isinstance(fill, Tensor):
        return check_number("fill", fill, f"{_FILL}; finite", math.isfinite)
    check_numbers("fill", fill)
    if fill.dim() not in (3, 4, 5) or fill.numel() == 0:
        expected = "a tensor of images (N, C, H, W) or (1, C, H, W), or of volumes or signals likewise"
        raise ArgumentError("fill", expected, describe(fill))
    check_finite("fill", fill)
    return fill


def check_segmenter(segmenter: Any) -> Segmenter | Tensor:
    """Return what segments images: the default for None, a method by name, a function, or given labels.

    Raises:
        ArgumentTypeError: nothing of these.
        ArgumentError: another name, or labels with gaps.
    """
    if segmenter is None or isinstance(segmenter, Segmenter):
        return segmenter or Segmenter()
    if isinstance(segmenter, str):
        return Segmenter(check_choice("segmenter", segmenter, METHODS))
    if isinstance(segmenter, Tensor):
        return _check_given_labels(segmenter)
    if callable(segmenter) and not isinstance(segmenter, type):
        return Segmenter(segmenter)
    raise ArgumentTypeError("segmenter", "a name, a Segmenter, a function, a label tensor or None", describe(segmenter))


def _check_given_labels(labels: Tensor) -> Tensor:
    """Labels (T,), (H, W) or (D, H, W), for all inputs or with a row for each; which it is, the inputs will tell."""
    check_numbers("segmenter", labels)
    if labels.dim() not in (1, 2, 3, 4) or labels.numel() == 0:
        raise ArgumentError(
            "segmenter", "labels (H, W) or (N, H, W), or of volumes or signals likewise", describe(labels)
        )
    try:
        check_labels("segmenter", labels, 1, tuple(labels.shape))
    except ArgumentError:
        if labels.dim() == 1:
            raise
        check_labels("segmenter", labels, len(labels), tuple(labels.shape[1:]))
    return labels
