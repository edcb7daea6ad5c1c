"""Cells: which fine pixels belong to which coarse pixel, and sums, maxima and copies over them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from captum_ext.exceptions import ArgumentError


class Cells:
    """The partition of an H x W map into h x w cells.

    Convention: pixel (i, j) belongs to cell (i*h // H, j*w // W), in integers: the rule of
    `torch.nn.functional.interpolate(mode="nearest")`. Where the sizes do not divide, cells differ by at most one row
    and one column.

    Where the sizes divide, a map is viewed as blocks (N, h, a, w, b), and cells are reduced over two dimensions.
    Otherwise bands of rows are reduced one after the other, which leaves little for the columns: gathering a whole map
    costs more.
    """

    def __init__(self, grid: tuple[int, int], size: tuple[int, int], device: torch.device) -> None:
        if grid[0] > size[0] or grid[1] > size[1]:
            raise ArgumentError("coarse", f"of a grid no larger than the image {size}", f"a grid {grid}")
        self.grid, self.size = grid, size
        self.divides = size[0] % grid[0] == 0 and size[1] % grid[1] == 0
        rows, columns = (_starts(cells, pixels, device) for cells, pixels in zip(grid, size, strict=True))
        self._heights, self._widths = rows.diff(), columns.diff()
        self.pixels = self._heights[:, None] * self._widths[None, :]
        if not self.divides:
            ends = rows.tolist()
            self._bands = [slice(*pair) for pair in itertools.pairwise(ends)]
            offset = torch.arange(int(self._widths.max()), device=device)[None]
            self._inside = offset < self._widths[:, None]
            self._columns = columns[:-1, None] + torch.minimum(offset, self._widths[:, None] - 1)

    def sum(self, fine: Tensor) -> Tensor:
        """Sum (N, h, w) of a map (N, H, W) over each cell."""
        if self.divides:
            return self._blocks(fine).sum((2, 4))
        bands = torch.stack([fine[:, band].sum(1) for band in self._bands], 1)
        return (bands[:, :, self._columns] * self._inside).sum(3)

    def amax(self, fine: Tensor) -> Tensor:
        """Largest value (N, h, w) of a map (N, H, W) in each cell."""
        if self.divides:
            return self._blocks(fine).amax((2, 4))
        bands = torch.stack([fine[:, band].amax(1) for band in self._bands], 1)
        return bands[:, :, self._columns].amax(3)

    def spread(self, coarse: Tensor) -> Tensor:
        """Every pixel's own cell value: (N, h, w) to (N, H, W), as nearest-neighbour interpolation."""
        return torch.repeat_interleave(self._widened(coarse), self._heights, dim=1)

    def combine_(self, fine: Tensor, coarse: Tensor, operation: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Apply an in-place operation such as `Tensor.mul_` to a contiguous map (N, H, W) and its cells' values."""
        if self.divides:
            operation(self._blocks(fine), coarse[:, :, None, :, None])
            return fine
        wide = self._widened(coarse)
        for k, band in enumerate(self._bands):
            operation(fine[:, band], wide[:, k, None])
        return fine

    def _blocks(self, fine: Tensor) -> Tensor:
        (h, w), (height, width) = self.grid, self.size
        return fine.view(len(fine), h, height // h, w, width // w)

    def _widened(self, coarse: Tensor) -> Tensor:
        """Cell values at every column: (N, h, w) to (N, h, W)."""
        return torch.repeat_interleave(coarse, self._widths, dim=2)


def _starts(cells: int, pixels: int, device: torch.device) -> Tensor:
    """First pixel of every cell, and the end: the smallest i with i * cells // pixels >= k."""
    k = torch.arange(cells + 1, device=device)
    return (k * pixels + cells - 1) // cells
