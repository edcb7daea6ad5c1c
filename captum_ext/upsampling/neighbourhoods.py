"""Cells: which fine pixels belong to which coarse pixel, and sums, maxima and copies over them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from captum_ext.exceptions import ArgumentError


class Cells:
    """The partition of an H x W map into h x w cells; of a volume and of a signal likewise.

    Convention: pixel (i, j) belongs to cell (i*h // H, j*w // W), in integers, and so along each side: the rule of
    `torch.nn.functional.interpolate(mode="nearest")`. Where the sizes do not divide, cells differ by at most one row
    and one column.

    Where the sizes divide, a map is viewed as blocks (N, h, a, w, b), and cells are reduced over the sides of blocks.
    Otherwise bands are reduced one after the other along all sides but the last, which leaves little for the columns:
    gathering a whole map costs more.
    """

    def __init__(self, grid: tuple[int, ...], size: tuple[int, ...], device: torch.device) -> None:
        if any(cells > pixels for cells, pixels in zip(grid, size, strict=True)):
            raise ArgumentError("coarse", f"of a grid no larger than the image {size}", f"a grid {grid}")
        self.grid, self.size = grid, size
        self.divides = all(pixels % cells == 0 for cells, pixels in zip(grid, size, strict=True))
        starts = [_starts(cells, pixels, device) for cells, pixels in zip(grid, size, strict=True)]
        self._lengths = [start.diff() for start in starts]
        self.pixels = reduce(lambda whole, side: whole[..., None] * side, self._lengths)
        if not self.divides:
            self._bands = [[slice(*pair) for pair in itertools.pairwise(start.tolist())] for start in starts]
            widths = self._lengths[-1]
            offset = torch.arange(int(widths.max()), device=device)[None]
            self._inside = offset < widths[:, None]
            self._columns = starts[-1][:-1, None] + torch.minimum(offset, widths[:, None] - 1)

    def sum(self, fine: Tensor) -> Tensor:
        """Sum (N, h, w) of a map (N, H, W) over each cell."""
        if self.divides:
            return self._blocks(fine).sum(self._of_blocks)
        return (self._banded(fine, Tensor.sum)[..., self._columns] * self._inside).sum(-1)

    def amax(self, fine: Tensor) -> Tensor:
        """Largest value (N, h, w) of a map (N, H, W) in each cell."""
        if self.divides:
            return self._blocks(fine).amax(self._of_blocks)
        return self._banded(fine, Tensor.amax)[..., self._columns].amax(-1)

    def spread(self, coarse: Tensor) -> Tensor:
        """Every pixel's own cell value: (N, h, w) to (N, H, W), as nearest-neighbour interpolation."""
        return torch.repeat_interleave(self._widened(coarse), self._lengths[0], dim=1)

    def combine_(self, fine: Tensor, coarse: Tensor, operation: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Apply an in-place operation such as `Tensor.mul_` to a contiguous map (N, H, W) and its cells' values."""
        if self.divides:
            of_blocks = itertools.chain.from_iterable((cells, 1) for cells in self.grid)
            operation(self._blocks(fine), coarse.reshape(len(coarse), *of_blocks))
            return fine
        wide = self._widened(coarse)
        for k, band in enumerate(self._bands[0]):
            operation(fine[:, band], wide[:, k, None])
        return fine

    @property
    def _of_blocks(self) -> tuple[int, ...]:
        """The dimensions of a block's sides."""
        return tuple(range(2, 2 * len(self.grid) + 1, 2))

    def _blocks(self, fine: Tensor) -> Tensor:
        sides = [(cells, pixels // cells) for cells, pixels in zip(self.grid, self.size, strict=True)]
        return fine.view(len(fine), *itertools.chain.from_iterable(sides))

    def _banded(self, fine: Tensor, reduction: Callable[[Tensor, int], Tensor]) -> Tensor:
        """A map reduced to cells along all sides but the last: (N, h, W)."""
        for dim, bands in enumerate(self._bands[:-1], start=1):
            parts = [fine.narrow(dim, band.start, band.stop - band.start) for band in bands]
            fine = torch.stack([reduction(part, dim) for part in parts], dim)
        return fine

    def _widened(self, coarse: Tensor) -> Tensor:
        """Cell values at every place along all sides but the first: (N, h, w) to (N, h, W)."""
        for dim in range(len(self.grid), 1, -1):
            coarse = torch.repeat_interleave(coarse, self._lengths[dim - 1], dim=dim)
        return coarse


def _starts(cells: int, pixels: int, device: torch.device) -> Tensor:
    """First pixel of every cell, and the end: the smallest i with i * cells // pixels >= k."""
    k = torch.arange(cells + 1, device=device)
    return (k * pixels + cells - 1) // cells
