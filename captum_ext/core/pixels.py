"""What counts as one pixel: the unit that is ranked, moved or removed as a whole."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import torch
from torch import Tensor

from captum_ext.core.checks import describe
from captum_ext.core.types import TensorOrTensors, Tensors
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

#: The dimension of each tensor that a pixel has all of; None where every element is a pixel of its own.
Channels: TypeAlias = tuple[int | None, ...]

_FEW_CHANNELS, _COLOURS = 4, (1, 3)


def has_space(value: Tensor) -> bool:
    """Whether an input is an image (N, C, H, W) or a volume (N, C, D, H, W), as its dimensions alone can tell."""
    return value.dim() in (4, 5)


def channel_dim(value: Tensor, attribution: Tensor | None = None) -> int | None:
    """The dimension of an input that its pixels have all of; None where each element is a pixel.

    Convention, for everything that ranks, moves or removes pixels:

    | input | a pixel |
    | --- | --- |
    | image (N, C, H, W), volume (N, C, D, H, W) | a location with all its channels |
    | (N, C, T) with a map (N, 1, T) | a time step with all its channels |
    | (N, L, E) with a map (N, L, 1) | a token with all its features |
    | anything else | an element |

    Three dimensions are the signal of a convolution, with channels first, as well as the embeddings of a text, with
    tokens first. The shape cannot tell, and to take one for the other would rank the features of an embedding over all
    tokens, without a message. So elements they are, unless a map has one number for each step or token.
    """
    if has_space(value):
        return 1
    if attribution is None or value.dim() != 3 or attribution.dim() != 3:
        return None
    for dim, other in ((1, 2), (2, 1)):
        if attribution.shape[dim] == 1 and attribution.shape[other] == value.shape[other]:
            return dim
    return None


def is_located(value: Tensor, channel: int | None) -> bool:
    """Whether an input has locations (or time steps) with channels before them, so that it has a blur and corners."""
    return value.dim() > 2 and channel == 1


def warn_of_frames(inputs: Tensors) -> None:
    """Warn of volumes that look like videos with the frames before the colours, which would be taken for channels."""
    for value in inputs:
        if value.dim() == 5 and value.shape[1] > _FEW_CHANNELS and value.shape[2] in _COLOURS:
            warn_caller(
                f"inputs of shape {tuple(value.shape)} are taken as volumes (N, C, D, H, W), whose pixels are places "
                f"with all {value.shape[1]} channels. If they are videos (N, T, C, H, W), give them and their maps as "
                "(N, C, T, H, W), and a function that transposes them back for the model."
            )


class Pixels:
    """The pixels of inputs, numbered across all tensors of a tuple.

    Convention: a pixel of an image (N, C, H, W) or a volume (N, C, D, H, W) is a location with all its channels; of any
    other input it is a single element. A Captum-style `feature_mask` makes its own pixels: elements with the same
    number, in all tensors, belong together. `torch.arange(T)[None, None]` makes the time steps of signals (N, C, T)
    pixels, `torch.arange(L)[None, :, None]` the tokens of embeddings (N, L, E).

    Args:
        inputs: (N, ...) each.
        feature_mask: integers broadcastable to each input, of one row for all or N rows; a tuple for several inputs.

    Attributes:
        count: n, the number of pixels; with one mask for each row, of all rows together.
    """

    def __init__(self, inputs: Tensors, feature_mask: TensorOrTensors | None = None) -> None:
        self.sizes = [math.prod(shape) for shape in _pixel_shapes(inputs)]
        self.count = sum(self.sizes)
        self.labels: Tensors | None = None
        self._counts: Tensor | None = None
        if feature_mask is not None:
            self._read_mask(_check_mask(feature_mask, inputs), inputs)
        else:
            warn_of_frames(inputs)

    def counts(self, rows: Tensor) -> Tensor:
        """Number of pixels (P,) of each of the rows (P,)."""
        if self._counts is None:
            return torch.full((len(rows),), self.count, device="cpu")
        return self._counts.expand(len(rows)) if len(self._counts) == 1 else self._counts[rows]

    def totals(self, values: Tensors, rows: Tensor) -> Tensor:
        """Sum (P, n) of `values` (P, ...) over the elements of each pixel, for points of the rows (P,)."""
        if self.labels is None:
            parts = [value.sum(1) if has_space(value) else value for value in values]
            flat = [part.reshape(len(rows), size) for part, size in zip(parts, self.sizes, strict=True)]
            return torch.cat([part.to(flat[0].device) for part in flat], 1) if len(flat) > 1 else flat[0]
        total = torch.zeros(len(rows), self.count, dtype=values[0].dtype, device=values[0].device)
        for value, label in zip(values, self._labels_of(rows), strict=True):
            total.scatter_add_(1, label.to(total.device), value.reshape(label.shape).to(total))
        return total

    def spread(self, numbers: Tensor, like: Tensors, rows: Tensor) -> Tensors:
        """Each pixel's number (P, n) at all its elements, broadcastable to each of the tensors (P, ...)."""
        if self.labels is None:
            return pixel_maps(numbers, like)
        return tuple(
            numbers.gather(1, label.to(numbers.device)).reshape(value.shape).to(value.device)
            for label, value in zip(self._labels_of(rows), like, strict=True)
        )

    def _labels_of(self, rows: Tensor) -> Tensors:
        """Number of each element's pixel, (P, elements) for each tensor."""
        return tuple(
            label.expand(len(rows), -1) if len(label) == 1 else label[rows.to(label.device)]
            for label in self.labels or ()
        )

    def _read_mask(self, masks: Tensors, inputs: Tensors) -> None:
        flat = [
            mask.expand(len(mask), *value.shape[1:]).reshape(len(mask), -1)
            for mask, value in zip(masks, inputs, strict=True)
        ]
        n_rows = max(len(mask) for mask in flat)
        every = torch.cat([mask.expand(n_rows, -1).to(flat[0].device) for mask in flat], 1)
        used, label = torch.unique(every, return_inverse=True)
        self.count = len(used)
        self.labels = tuple(torch.split(label, [mask.shape[1] for mask in flat], 1))
        present = torch.zeros(n_rows, self.count, dtype=torch.bool, device=label.device).scatter_(1, label, True)
        self._counts = present.sum(1).cpu()


def pixel_maps(numbers: Tensor, like: Tensors, channels: Channels | None = None) -> Tensors:
    """A number for each pixel (P, n), over all tensors, as one map for each of them, with one channel: (P, 1, H, W)."""
    shapes = _pixel_shapes(like, channels)
    parts = torch.split(numbers, [math.prod(shape) for shape in shapes], 1)
    return tuple(
        part.reshape(len(numbers), *shape).to(value.device)
        for part, shape, value in zip(parts, shapes, like, strict=True)
    )


def _pixel_shapes(tensors: Tensors, channels: Channels | None = None) -> list[tuple[int, ...]]:
    dims = channels or tuple(map(channel_dim, tensors))
    return [
        tuple(1 if dim == channel else size for dim, size in enumerate(value.shape) if dim > 0)
        for value, channel in zip(tensors, dims, strict=True)
    ]


def _check_mask(feature_mask: Any, inputs: Tensors) -> Tensors:
    masks = feature_mask if isinstance(feature_mask, tuple) else (feature_mask,)
    if len(masks) != len(inputs):
        raise ArgumentError("feature_mask", f"{len(inputs)} mask(s), one for each input tensor", f"{len(masks)}")
    for mask, value in zip(masks, inputs, strict=True):
        if not isinstance(mask, Tensor) or mask.is_floating_point() or mask.is_complex():
            raise ArgumentTypeError("feature_mask", "a tensor of integers, or a tuple of them", describe(mask))
        fits = mask.dim() == value.dim() and len(mask) in (1, len(value))
        if not fits or any(size not in (1, full) for size, full in zip(mask.shape[1:], value.shape[1:], strict=True)):
            expected = f"of as many dimensions as the input {tuple(value.shape)} and broadcastable to it"
            raise ArgumentError("feature_mask", expected, describe(mask))
    return masks
