"""Cells: which fine pixels belong to which coarse pixel, and sums, maxima and copies over them."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_ext.exceptions import ArgumentError


class Cells:
    """The partition of an H x W map into h x w cells, in Convention: pixel (i, j) belongs to cell (i*h // H, j*w // W).

    The integer rule is that of `torch.nn.functional.interpolate(mode="nearest")`; cells differ by at most one row and
    one column where the sizes do not divide.

    Maps are seen as blocks (N, h, rows of a cell, w, columns of a cell), so that a reduction over cells is one over two
    dimensions. Where the sizes divide, that is a view; otherwise smaller cells are padded by repeating their last row
    and column, which `counted` marks with zero.
    """

    def __init__(self, grid: tuple[int, int], size: tuple[int, int], device: torch.device) -> None:
        if grid[0] > size[0] or grid[1] > size[1]:
            raise ArgumentError("coarse", f"of a grid no larger than the image {size}", f"a grid {grid}")
        self.grid, self.size = grid, size
        self.divides = size[0] % grid[0] == 0 and size[1] % grid[1] == 0
        starts = [_starts(cells, pixels, device) for cells, pixels in zip(grid, size, strict=True)]
        self.lengths = [start.diff() for start in starts]
        self.pixels = self.lengths[0][:, None] * self.lengths[1][None, :]
        if not self.divides:
            self._index = [_padded(start, length) for start, length in zip(starts, self.lengths, strict=True)]
            self._inside = [_within(length) for length in self.lengths]
            self.counted = self._inside[0][:, :, None, None] & self._inside[1][None, None, :, :]

    def blocks(self, fine: Tensor) -> Tensor:
        """A map (N, H, W) as blocks (N, h, a, w, b), padded by repetition where cells are smaller."""
        (h, w), (height, width) = self.grid, self.size
        if self.divides:
            return fine.reshape(len(fine), h, height // h, w, width // w)
        rows, columns = self._index
        return fine[:, rows][:, :, :, columns]

    def unblocked(self, blocks: Tensor) -> Tensor:
        """Blocks (N, h, a, w, b) as a map (N, H, W), without the padding."""
        if self.divides:
            return blocks.reshape(len(blocks), *self.size)
        n, h, a, w, b = blocks.shape
        rows, columns = (inside.reshape(-1) for inside in self._inside)
        return blocks.reshape(n, h * a, w * b)[:, rows][:, :, columns]

    def sum(self, fine: Tensor) -> Tensor:
        """Sum (N, h, w) of a map (N, H, W) over each cell."""
        blocks = self.blocks(fine)
        return (blocks if self.divides else blocks * self.counted).sum((2, 4))

    def amax(self, fine: Tensor) -> Tensor:
        """Largest value (N, h, w) of a map (N, H, W) in each cell."""
        return self.blocks(fine).amax((2, 4))

    def spread(self, coarse: Tensor) -> Tensor:
        """Every pixel's own cell value: (N, h, w) to (N, H, W), as nearest-neighbour interpolation."""
        rows = torch.repeat_interleave(coarse, self.lengths[0], dim=1)
        return torch.repeat_interleave(rows, self.lengths[1], dim=2)


def _starts(cells: int, pixels: int, device: torch.device) -> Tensor:
    """First pixel of every cell, and the end: the smallest i with i * cells // pixels >= k."""
    k = torch.arange(cells + 1, device=device)
    return (k * pixels + cells - 1) // cells


def _padded(start: Tensor, length: Tensor) -> Tensor:
    """Pixel indices (cells, longest cell), a shorter cell's last index repeated."""
    offset = torch.arange(int(length.max()), device=start.device)
    return start[:-1, None] + torch.minimum(offset[None], length[:, None] - 1)


def _within(length: Tensor) -> Tensor:
    """Which entries (cells, longest cell) are pixels of their cell."""
    return torch.arange(int(length.max()), device=length.device)[None] < length[:, None]
