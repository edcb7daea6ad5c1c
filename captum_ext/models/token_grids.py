"""From tokens, windows or channels-last features to maps (N, C, h, w), for images of any size.

Convention: a token stands for a patch, in the order of reading (row by row, from the top left); class, distillation
and register tokens stand before them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from captum_ext.core.checks import check_count, check_positive_int, describe
from captum_ext.exceptions import AdaptError, ArgumentError, ArgumentTypeError

_LEAST_STRETCH = 2  # cells by which a grid may differ from the shape of the image, as convolutions without padding do


class TokenGrid:
    """How the tokens of a transformer stand for an image, where it is given and not found.

    `adapt` finds it by a pass, and proves it; this is for models where it cannot.

    Args:
        patch_size: side of a patch in pixels, or a side for each dimension (height, width).
        prefix_tokens: tokens before those of the patches: class, distillation and register tokens.
        suffix_tokens: tokens behind them, as the detection tokens of YOLOS.

    Raises:
        ArgumentTypeError, ArgumentError: no positive sides, or a negative number of tokens.

    Example:
        >>> import torch
        >>> from captum_ext.models import TokenGrid
        >>> grid = TokenGrid(patch_size=16, prefix_tokens=5)  # a class token and four registers
        >>> grid(torch.rand(1, 5 + 2 * 3, 8), size=(32, 48)).shape
        torch.Size([1, 8, 2, 3])
    """

    def __init__(self, patch_size: int | tuple[int, ...], prefix_tokens: int = 0, suffix_tokens: int = 0) -> None:
        sides = patch_size if isinstance(patch_size, tuple | list) else (patch_size, patch_size)
        self.patch_size = tuple(check_positive_int("patch_size", side) for side in sides)
        self.prefix_tokens = check_count("prefix_tokens", prefix_tokens)
        self.suffix_tokens = check_count("suffix_tokens", suffix_tokens)

    def __call__(self, tokens: Tensor, size: tuple[int, ...]) -> Tensor:
        """Tokens (N, L, C) of images of this size (H, W) as maps (N, C, h, w)."""
        return self.reader().read(tokens, size)

    def reader(self) -> GridReader:
        """What reads features by this grid."""
        around = ((self.prefix_tokens, self.suffix_tokens),)
        return GridReader(len(self.patch_size), self.patch_size, around, whole_patches=True)

    def __repr__(self) -> str:
        others = f", suffix_tokens={self.suffix_tokens}" if self.suffix_tokens else ""
        return f"TokenGrid(patch_size={self.patch_size}, prefix_tokens={self.prefix_tokens}{others})"


@dataclass(frozen=True)
class Layout:
    """How a tensor is to be read: sides of the grid, whether channels come last, and tokens before the grid."""

    grid: tuple[int, ...]
    channels_last: bool
    prefix: int = 0

    def apply(self, tensor: Tensor) -> Tensor:
        """The tensor as maps (N, C, *grid)."""
        if not self.channels_last:
            return tensor
        if tensor.dim() < len(self.grid) + 2:  # tokens
            patches = tensor[:, self.prefix : self.prefix + math.prod(self.grid)]
            tensor = patches.reshape(len(tensor), *self.grid, -1)
        return tensor.movedim(-1, 1)


@dataclass(frozen=True)
class GridReader:
    """Reads the features of a model as maps.

    Attributes:
        rank: dimensions of the images.
        patch_size: sides of the patch of a token at the first stage; None: the model has no tokens.
        around: numbers of tokens that stand before those of the patches and behind them; sequences may differ in them.
        channels_last: what holds where shapes of (N, C, h, w) and (N, h, w, C) cannot be told apart; None: nothing.
        channels: of the features of which `channels_last` holds; None: of all.
        whole_patches: refuse images that are not made of whole patches: patches do not overlap.
    """

    rank: int
    patch_size: tuple[int, ...] | None = None
    around: tuple[tuple[int, int], ...] = ((0, 0),)
    channels_last: bool | None = None
    channels: int | None = None
    whole_patches: bool = False

    def __str__(self) -> str:
        if self.patch_size is None:
            return "places of the features"
        prefixes = " or ".join(str(prefix) for prefix, _ in self.around)
        suffix = max(suffix for _, suffix in self.around)
        tokens = "token" if prefixes == "1" else "tokens"
        return f"patches of {_sides(self.patch_size)}, {prefixes} {tokens} before them" + (
            f", {suffix} behind" if suffix else ""
        )

    def read(self, tensor: Tensor, size: tuple[int, ...]) -> Tensor:
        """Features of images of this size (H, W) as maps (N, C, h, w): a view.

        Raises:
            AdaptError: no grid explains the shape, or several do.
            ArgumentError: images that are not made of whole patches.
        """
        return self.layout(tuple(tensor.shape), size).apply(tensor)

    def layout(self, shape: tuple[int, ...], size: tuple[int, ...], channels_last: bool | None = None) -> Layout:
        """How a tensor of this shape is to be read; `channels_last` is what its layer says."""
        if len(shape) == self.rank + 2:
            known = self.channels_last
            if known is not None and self.channels not in (None, shape[-1] if known else shape[1]):
                known = None
            return self._of_positions(shape, size, known if channels_last is None else channels_last)
        if len(shape) == 3:
            return self._of_tokens(shape[1], size)
        raise AdaptError(
            f"No grid explains features of shape {shape} of images of {_sides(size)}. Pass grid= with a function that "
            "makes maps (N, C, h, w) of them, or another layer."
        )

    def _of_positions(self, shape: tuple[int, ...], size: tuple[int, ...], channels_last: bool | None) -> Layout:
        """A shape (N, C, h, w) or (N, h, w, C), whichever has the proportions of the image."""
        first, last = Layout(shape[2:], False), Layout(shape[1:-1], True)
        fitting = [one for one in (first, last) if fits(one.grid, size)]
        if len(fitting) == 2 and channels_last is not None:
            return last if channels_last else first
        if len(fitting) != 1:
            why = "(N, C, h, w) as well as (N, h, w, C)" if fitting else "neither (N, C, h, w) nor (N, h, w, C)"
            raise AdaptError(
                f"Features of shape {shape} of images of {_sides(size)} can be {why}. Pass grid= with a function that "
                "makes maps (N, C, h, w) of them, or another layer."
            )
        return fitting[0]

    def _of_tokens(self, length: int, size: tuple[int, ...]) -> Layout:
        """A sequence: the tokens of a grid of patches, of it halved once or several times, and those before it."""
        if self.patch_size is None:
            raise AdaptError(
                f"It is not known for which patches the {length} tokens of images of {_sides(size)} are. Pass "
                "grid=TokenGrid(patch_size=..., prefix_tokens=...), or a function that makes maps (N, C, h, w) of them."
            )
        if self.whole_patches:
            check_patches(size, self.patch_size)
        found = {
            Layout(grid, True, prefix)
            for prefix, suffix in self.around
            for grid in halved(size, self.patch_size)
            if math.prod(grid) == length - prefix - suffix
        }
        if len(found) != 1:
            grids = "no grid explains" if not found else f"{len(found)} grids explain"
            raise AdaptError(
                f"With {self}, {grids} {length} tokens of images of {_sides(size)}. Pass "
                "grid=TokenGrid(patch_size=..., prefix_tokens=...), or a function that makes maps (N, C, h, w) of them."
            )
        return found.pop()


def fits(grid: tuple[int, ...], size: tuple[int, ...]) -> bool:
    """Whether a grid has the proportions of an image, and no more cells than pixels; of a volume, its last two sides.

    Depth, or time, has strides of its own.
    """
    if len(grid) != len(size) or not all(1 <= cells <= pixels for cells, pixels in zip(grid, size, strict=True)):
        return False
    grid, size = grid[-2:], size[-2:]
    stride = math.prod(pixels / cells for cells, pixels in zip(grid, size, strict=True)) ** (1 / len(size))
    return all(abs(cells - pixels / stride) < _LEAST_STRETCH for cells, pixels in zip(grid, size, strict=True))


def halved(size: tuple[int, ...], patch: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Grids of the patches of an image, and of patches that are joined two by two, again and again.

    Of volumes depth, or time, is halved as often as height and width, or less often: networks of videos keep it.
    """
    down = tuple(side // one for side, one in zip(size, patch, strict=True))
    up = tuple(-(-side // one) for side, one in zip(size, patch, strict=True))
    depths = [one[:-2] for one in (down, up)]
    while True:
        yield from {(*depth, *one[-2:]) for depth in depths for one in (down, up)}
        if max(up) <= 1:
            return
        down, up = tuple(max(side // 2, 1) for side in down), tuple(-(-side // 2) for side in up)
        depths += [one[:-2] for one in (down, up)]


def check_patches(size: tuple[int, ...], patch: tuple[int, ...]) -> None:
    """Raise unless an image is made of whole patches.

    Raises:
        ArgumentError: some pixels would belong to no token.
    """
    if any(side % one for side, one in zip(size, patch, strict=True)):
        whole = tuple(max(round(side / one), 1) * one for side, one in zip(size, patch, strict=True))
        raise ArgumentError(
            "size", f"of whole patches of {_sides(patch)}, such as {whole}, since others belong to no token", str(size)
        )


def check_maps(maps: object, n_rows: int, rank: int) -> Tensor:
    """Return what a function of the caller made of features, if it is maps.

    Raises:
        ArgumentTypeError, ArgumentError: no tensor, or none of shape (N, C, h, w).
    """
    expected = f"a function that makes maps {('N', 'C', *'dhw'[-rank:])} of features".replace("'", "")
    if not isinstance(maps, Tensor):
        raise ArgumentTypeError("grid", expected, f"one that returns {describe(maps)}")
    if maps.dim() != rank + 2 or len(maps) != n_rows or maps.numel() == 0:
        raise ArgumentError("grid", expected, f"one that returns {describe(maps)}")
    return maps


def _sides(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
