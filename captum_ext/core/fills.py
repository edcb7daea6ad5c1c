"""Fills: what stands where pixels are not kept, for metrics, searches and masks alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from captum_ext.core.blur import Blur
from captum_ext.core.checks import check_fill, describe
from captum_ext.core.devices import on_device
from captum_ext.core.types import Tensors
from captum_ext.exceptions import ArgumentError


class Fill(Protocol):
    """What stands where pixels of N inputs are not kept; the inputs are known when it is made."""

    @property
    def values(self) -> Tensors | None:
        """(1, ...) or (N, ...) for each input tensor, broadcastable; None where they depend on what is kept."""
        ...

    def apply(self, position: int, taken: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """Rows (P,) of the input tensor at `position`, `taken` (P, ...), with what `mask` does not keep replaced.

        `taken` is the callee's to change; `mask` (P, ...) is broadcastable to it and True where pixels are kept.
        """
        ...


#: A word for a fill: a function that makes it for the inputs.
FillWord = Callable[[Tensors], Fill]


class ConstantFill:
    """The same values whatever is kept: one row for all inputs, or one for each."""

    def __init__(self, values: Tensors) -> None:
        self._values = values

    @property
    def values(self) -> Tensors:
        """(1, ...) or (N, ...) for each input tensor."""
        return self._values

    def apply(self, position: int, taken: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """See `Fill.apply`."""
        value = self._values[position]
        return torch.where(mask, taken, value if len(value) == 1 else value[on_device(rows, value.device)], out=taken)


class KeptMean:
    """The mean of the pixels that are kept, for images of each channel; of all pixels where none is kept."""

    over_channels = False

    def __init__(self, inputs: Tensors) -> None:
        self.inputs = inputs
        self.means = tuple(_mean(value, self.over_channels) for value in inputs)

    @property
    def values(self) -> None:
        """They depend on what is kept."""
        return

    def apply(self, position: int, taken: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """See `Fill.apply`."""
        kept = mask.to(taken.dtype)
        taken *= kept  # exact, as is adding a product with zero: kept pixels are the input's
        return taken.addcmul_(self.replacement(position, taken, kept, rows), 1 - kept)

    def replacement(self, position: int, kept: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """What replaces pixels, broadcastable to `kept` (P, ...), the inputs times the mask of ones and zeros."""
        dims = _places(kept, self.over_channels)
        if not dims:
            return self.inputs[position][on_device(rows, kept.device)]  # a row of one element is its own mean
        wide = torch.promote_types(kept.dtype, torch.float32)
        count = mask.expand_as(kept).sum(dims, keepdim=True, dtype=wide)
        mean = kept.sum(dims, keepdim=True, dtype=wide) / count
        whole = self.means[position][on_device(rows, kept.device)]
        return torch.where(count > 0, mean, whole).to(kept.dtype)


class OverallKeptMean(KeptMean):
    """The mean of the values that are kept, one number for all channels of an image."""

    over_channels = True


class BlurredFill(ConstantFill):
    """The blurred image."""

    def __init__(self, inputs: Tensors, blur: Blur | None = None) -> None:
        self.blur = Blur() if blur is None else blur
        super().__init__(tuple(self.blur(value) for value in inputs))


def blurred_as_rise(inputs: Tensors) -> BlurredFill:
    """The image blurred as in the evaluation of RISE."""
    return BlurredFill(inputs, Blur("rise"))


def image_mean(inputs: Tensors) -> ConstantFill:
    """The mean colour (N, C, 1, 1) of each image."""
    return ConstantFill(
        tuple(
            value.to(torch.promote_types(value.dtype, torch.float32)).mean((2, 3), keepdim=True).to(value.dtype)
            for value in inputs
        )
    )


def corner_mean(inputs: Tensors) -> ConstantFill:
    """The mean colour (N, C, 1, 1) of each image's four corners, each a tenth of its sides."""
    return ConstantFill(tuple(_corner_mean(value) for value in inputs))


def zero(inputs: Tensors) -> ConstantFill:
    """Zero: the mean colour of a normalised image."""
    return ConstantFill(tuple(torch.zeros_like(value[:1]) for value in inputs))


#: Words for images only: they need two dimensions of space.
OF_IMAGES = (OverallKeptMean, BlurredFill, blurred_as_rise, image_mean, corner_mean)

#: Those for a blurred image; where they are words, a `Blur` may be given, too.
BLURRED: dict[str, FillWord] = {"blur": BlurredFill, "rise": blurred_as_rise}


def make_fill(argument: str, given: Any, inputs: Tensors, words: Mapping[str, FillWord]) -> Fill:
    """The fill that a caller named by a word, or gave as a number, a tensor or a tuple as baselines are given; also
    a `Blur` where "blur" is one of the words.

    Raises:
        ArgumentError: another word, a word for images with other inputs, or values that do not fit.
        ArgumentTypeError, NonFiniteError: values of another type, NaN or infinity.
    """
    is_blur = isinstance(given, Blur) and "blur" in words
    if not isinstance(given, str) and not is_blur:
        return ConstantFill(check_fill(argument, 0 if given is None else given, inputs))
    if not is_blur and given not in words:
        expected = "a number, a tensor or one of " + ", ".join(f'"{word}"' for word in words)
        raise ArgumentError(argument, expected, describe(given))
    make: FillWord = partial(BlurredFill, blur=given) if is_blur else words[given]
    if (is_blur or make in OF_IMAGES) and any(value.dim() != 4 for value in inputs):
        others = [f'"{word}"' for word, other in words.items() if other not in OF_IMAGES]
        shapes = ", ".join(str(tuple(value.shape)) for value in inputs)
        expected = " or ".join(["a number, a tensor", *others]) + f" for inputs that are not images, {shapes}"
        raise ArgumentError(argument, expected, str(given) if is_blur else f'"{given}"')
    return make(inputs)


def _places(value: Tensor, over_channels: bool = False) -> tuple[int, ...]:
    """The dimensions that a mean is over: those of space for images, unless channels are meant, too; else all."""
    return tuple(range(2 if value.dim() == 4 and not over_channels else 1, value.dim()))


def _mean(value: Tensor, over_channels: bool) -> Tensor:
    """The mean (N, ...) of every row, broadcastable to it."""
    wide, dims = torch.promote_types(value.dtype, torch.float32), _places(value, over_channels)
    return value.mean(dims, keepdim=True, dtype=wide) if dims else value.to(wide)


def _corner_mean(images: Tensor) -> Tensor:
    height, width = (max(1, round(side / 10)) for side in images.shape[2:])
    corners = [
        images[:, :, rows, columns]
        for rows in (slice(None, height), slice(-height, None))
        for columns in (slice(None, width), slice(-width, None))
    ]
    return torch.stack(corners).mean((0, 3, 4)).reshape(*images.shape[:2], 1, 1)
