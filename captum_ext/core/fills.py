"""Fills: what stands where pixels are not kept, for metrics, searches and masks alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from typing import Any, Protocol

import torch
from torch import Tensor

from captum_ext.core.blur import Blur, as_blur, check_blur
from captum_ext.core.checks import check_fill, describe
from captum_ext.core.devices import on_device
from captum_ext.core.pixels import Channels, channel_dim, is_located
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


#: A word for a fill: a function that makes it for the inputs, whose channels are in these dimensions.
FillWord = Callable[[Tensors, Channels], Fill]


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
    """The mean of the pixels that are kept, of each channel where pixels have channels; of all where none is kept."""

    def __init__(self, inputs: Tensors, channels: Channels | None = None) -> None:
        self.inputs, self.channels = inputs, channels or tuple(map(channel_dim, inputs))
        self.means = tuple(_mean(value, channel) for value, channel in zip(inputs, self.channels, strict=True))

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
        dims = _places(kept, self.channels[position])
        if not dims:
            return self.inputs[position][on_device(rows, kept.device)]  # a row of one element is its own mean
        wide = torch.promote_types(kept.dtype, torch.float32)
        count = mask.expand_as(kept).sum(dims, keepdim=True, dtype=wide)
        mean = kept.sum(dims, keepdim=True, dtype=wide) / count
        whole = self.means[position][on_device(rows, kept.device)]
        return torch.where(count > 0, mean, whole).to(kept.dtype)


class OverallKeptMean(KeptMean):
    """The mean of the values that are kept, one number for all channels of an image."""

    def __init__(self, inputs: Tensors, channels: Channels | None = None) -> None:  # noqa: ARG002
        super().__init__(inputs, (None,) * len(inputs))


class BlurredFill(ConstantFill):
    """The blurred image, volume or signal."""

    def __init__(self, inputs: Tensors, channels: Channels, blur: Blur | None = None) -> None:  # noqa: ARG002
        self.blur = Blur() if blur is None else blur
        super().__init__(tuple(self.blur.of_located(value) for value in inputs))


def blurred_as_rise(inputs: Tensors, channels: Channels) -> BlurredFill:
    """The image blurred as in the evaluation of RISE."""
    return BlurredFill(inputs, channels, Blur("rise"))


def image_mean(inputs: Tensors, channels: Channels) -> ConstantFill:  # noqa: ARG001
    """The mean colour (N, C, 1, 1) of each image, and likewise of volumes and signals."""
    return ConstantFill(
        tuple(
            value.to(torch.promote_types(value.dtype, torch.float32))
            .mean(tuple(range(2, value.dim())), keepdim=True)
            .to(value.dtype)
            for value in inputs
        )
    )


def corner_mean(inputs: Tensors, channels: Channels | None = None) -> ConstantFill:  # noqa: ARG001
    """The mean colour (N, C, 1, 1) of each image's four corners, each a tenth of its sides; of a volume's eight corners
    and of a signal's two ends likewise."""
    return ConstantFill(tuple(corner_mean_of(value) for value in inputs))


def zero(inputs: Tensors, channels: Channels) -> ConstantFill:  # noqa: ARG001
    """Zero: the mean colour of a normalised image."""
    return ConstantFill(tuple(torch.zeros_like(value[:1]) for value in inputs))


#: Words for images, volumes and signals only: they need locations with channels.
OF_IMAGES = (OverallKeptMean, BlurredFill, blurred_as_rise, image_mean, corner_mean)

#: Those for a blurred image; where they are words, a `Blur` may be given, too.
BLURRED: dict[str, FillWord] = {"blur": BlurredFill, "rise": blurred_as_rise}


def make_fill(
    argument: str, given: Any, inputs: Tensors, words: Mapping[str, FillWord], channels: Channels | None = None
) -> Fill:
    """The fill that a caller named by a word, or gave as a number, a tensor or a tuple as baselines are given; also
    a `Blur` where "blur" is one of the words.

    Raises:
        ArgumentError: another word, a word for images with other inputs, or values that do not fit.
        ArgumentTypeError, NonFiniteError: values of another type, NaN or infinity.
    """
    blur = as_blur(given) if "blur" in words else None
    if not isinstance(given, str) and blur is None:
        return ConstantFill(check_fill(argument, 0 if given is None else given, inputs))
    if blur is None and given not in words:
        expected = "a number, a tensor or one of " + ", ".join(f'"{word}"' for word in words)
        raise ArgumentError(argument, expected, describe(given))
    make: FillWord = words[given] if blur is None else partial(BlurredFill, blur=blur)
    channels = channels or tuple(map(channel_dim, inputs))
    says_so = blur is not None and blur.dims is not None
    located = all(says_so or is_located(*pair) for pair in zip(inputs, channels, strict=True))
    if (blur is not None or make in OF_IMAGES) and not located:
        others = [f'"{word}"' for word, other in words.items() if other not in OF_IMAGES]
        shapes = ", ".join(str(tuple(value.shape)) for value in inputs)
        expected = " or ".join(["a number, a tensor", *others]) + f" for inputs that are not images, {shapes}"
        raise ArgumentError(argument, expected + _signals(inputs), f'"{given}"' if blur is None else str(blur))
    if blur is not None:
        for value in inputs:
            check_blur(argument, blur, value)
    return make(inputs, channels)


def _signals(inputs: Tensors) -> str:
    """How to say that inputs are signals, which three dimensions alone do not."""
    if not any(value.dim() == 3 for value in inputs):
        return ""
    return " (signals (N, C, T) have a blur: captum_ext.images.Blur(dims=1), or a map (N, 1, T))"


def _places(value: Tensor, channel: int | None) -> tuple[int, ...]:
    """The dimensions that a mean is over: all of a row but that of its channels."""
    return tuple(dim for dim in range(1, value.dim()) if dim != channel)


def _mean(value: Tensor, channel: int | None) -> Tensor:
    """The mean (N, ...) of every row, broadcastable to it."""
    wide, dims = torch.promote_types(value.dtype, torch.float32), _places(value, channel)
    return value.mean(dims, keepdim=True, dtype=wide) if dims else value.to(wide)


def corner_mean_of(images: Tensor) -> Tensor:
    """The mean (N, C, 1, 1) of the corners of images; of volumes (N, C, D, H, W) and signals (N, C, T) likewise."""
    sides = [max(1, round(side / 10)) for side in images.shape[2:]]
    whole = slice(None)
    ends = product([whole], [whole], *([slice(None, side), slice(-side, None)] for side in sides))
    corners = torch.stack([images[where] for where in ends])
    dims = (0, *range(3, corners.dim()))
    return corners.mean(dims).reshape(*images.shape[:2], *(1,) * len(sides))
