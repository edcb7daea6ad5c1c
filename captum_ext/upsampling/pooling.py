"""From fine maps to coarse ones: the way back from redistribution."""

from __future__ import annotations

from torch import Tensor

from captum_ext.upsampling.neighbourhoods import Cells
from captum_ext.upsampling.redistribution import maps_on_grid
from captum_ext.upsampling.settings import check_grid


def pool_attribution(attributions: Tensor, grid: tuple[int, ...]) -> Tensor:
    r"""Pool a map of pixels to a grid of cells that keep its mass (Buono et al., "Attribution Upsampling should
    Redistribute, Not Interpolate").

    $$a_k = \frac{M_k}{|N_k|}, \qquad M_k = \sum_{x \in N_k} A(x)$$

    A cell's mass is the sum of its pixels (equation 1), and its value the mass of one of its pixels: their mean. So
    values of coarse and fine maps compare, and upsampling that keeps the cells' masses (D1) is undone by pooling:
    `pool_attribution(redistribute(coarse, ...), grid)` is `coarse`, and `redistribute(pool_attribution(fine, grid),
    ...)` has the mass of `fine` in every cell.

    Args:
        attributions: (N, H, W) or (N, 1, H, W), of any sign; sum over channels first. (N, D, H, W) of volumes and
            (N, T) of signals likewise. The result is differentiable with respect to it.
        grid: (h, w), no larger than the map; (d, h, w) of volumes, (t,) of signals.

    Returns:
        (N, 1, h, w), (N, 1, d, h, w) or (N, 1, t), in the unit of the attributions for each pixel; float64
        for float64 maps, else float32.

    Convention: pixel (i, j) belongs to cell (i*h // H, j*w // W), in integers, as in `redistribute`. Where the sizes do
    not divide, cells differ in their number of pixels but do not overlap, unlike those of adaptive pooling.

    Raises:
        ArgumentTypeError: a map that is no tensor of floating point, a grid that is no tuple of integers.
        ArgumentError: another shape, a grid larger than the map.
        NonFiniteError: NaN or infinity in the map.

    Example:
        >>> import torch
        >>> from captum_ext.upsampling import pool_attribution, redistribute
        >>> fine = torch.tensor([[[1.0, 3.0, 0.0, 2.0, 4.0]]])
        >>> coarse = pool_attribution(fine, (1, 2))
        >>> coarse
        tensor([[[[1.3333, 3.0000]]]])
        >>> scores = torch.tensor([[[0.0, 1.0, 0.5, 0.2, 0.2]]])
        >>> again = redistribute(coarse, scores, temperature=0.3)  # other pixels, the same cells
        >>> torch.testing.assert_close(pool_attribution(again, (1, 2)), coarse)
    """
    maps = maps_on_grid("attributions", attributions, grid)
    size = tuple(maps.shape[1:])
    cells = Cells(check_grid("grid", grid, size), size, maps.device)
    return (cells.sum(maps) / cells.pixels)[:, None]
