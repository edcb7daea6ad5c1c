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
FILL_WORDS = ("mean", *BLUR_WORDS, "zero")
_FILL = "a number, a tensor, a Blur or one of " + ", ".join(f'"{word}"' for word in FILL_WORDS)


def check_positive(name: str, value: Any) -> float:
    """Return `value` as a float if it is a finite positive number.

    Raises:
        ArgumentTypeError: not a number.
        ArgumentError: another number.
    """
    return check_number(name, value, "a finite positive number", lambda number: 0 < number < math.inf)


def check_size(name: str, value: Any) -> tuple[int, int]:
    """Return `value` as (H, W).

    Raises:
        ArgumentTypeError: not a sequence, or not of integers.
        ArgumentError: not two of them, or one below 1.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ArgumentTypeError(name, "two integers (H, W)", describe(value))
    if len(value) != 2:
        raise ArgumentError(name, "two integers (H, W)", describe(value))
    height, width = (check_positive_int(f"{name}[{position}]", side) for position, side in enumerate(value))
    if height * width > _MOST_PIXELS:
        raise ArgumentError(name, f"of at most {_MOST_PIXELS:,} pixels", f"{height} x {width}")
    return height, width


def check_grid(name: str, value: Any, size: tuple[int, int]) -> tuple[int, int]:
    """Return `value` as the (h, w) of a grid of cells on a map of (H, W) pixels.

    Raises:
        ArgumentTypeError: not a sequence, or not of integers.
        ArgumentError: not two of them, one below 1, or more cells than pixels along a side.
    """
    grid = check_size(name, value)
    if grid[0] > size[0] or grid[1] > size[1]:
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
    if fill.dim() != 4 or fill.numel() == 0:
        raise ArgumentError("fill", "a tensor of images (N, C, H, W) or (1, C, H, W)", describe(fill))
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
    check_numbers("segmenter", labels)
    if labels.dim() not in (2, 3) or labels.numel() == 0:
        raise ArgumentError("segmenter", "labels (H, W) or (N, H, W)", describe(labels))
    check_labels("segmenter", labels, len(labels) if labels.dim() == 3 else 1, (labels.shape[-2], labels.shape[-1]))
    return labels
