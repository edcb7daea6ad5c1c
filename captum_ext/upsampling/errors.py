"""The two errors of upsampling, of pixels and of cells, where the true map is known (section D of the USU paper)."""

from __future__ import annotations

from torch import Tensor

from captum_ext.core.checks import describe
from captum_ext.exceptions import ArgumentError
from captum_ext.upsampling.neighbourhoods import Cells
from captum_ext.upsampling.redistribution import as_maps, dims_of_both, maps_on_grid
from captum_ext.upsampling.settings import check_grid


def alpha_error(attributions: Tensor, truth: Tensor) -> Tensor:
    r"""Spurious attribution at every pixel (Buono et al., "Attribution Upsampling should Redistribute, Not
    Interpolate", equations 3 and 19).

    $$\alpha(x) = \max(0, |\tilde A(x)| - |A^*(x)|)$$

    At each pixel this or `beta_error` is zero, and their sum is the difference of magnitudes $||\tilde A| - |A^*||$
    (equation 21). A wrong sign is no error here.

    Args:
        attributions: the upsampled map, (N, H, W) or (N, 1, H, W); of volumes (N, 1, D, H, W), of signals (N, T).
        truth: the true map, likewise, or one row for all; in the same unit.

    Returns:
        (N, 1, H, W), (N, 1, D, H, W) or (N, 1, T), at least zero, in the unit of the maps; float64 for
        float64 attributions, else float32.

    Raises:
        ArgumentTypeError: maps that are no tensors of floating point.
        ArgumentError: shapes that do not fit.
        NonFiniteError: NaN or infinity in a map.

    Example:
        >>> import torch
        >>> from captum_ext.upsampling import alpha_error, beta_error
        >>> upsampled, truth = torch.tensor([[[3.0, -1.0, 2.0]]]), torch.tensor([[[1.0, 4.0, -2.0]]])
        >>> alpha_error(upsampled, truth), beta_error(upsampled, truth)
        (tensor([[[[2., 0., 0.]]]]), tensor([[[[0., 3., 0.]]]]))
    """
    given = as_maps("attributions", attributions, dims_of_both(attributions, truth)).detach()
    true = _beside(given, truth)
    return (given.abs() - true.abs()).clamp(min=0)[:, None]


def beta_error(attributions: Tensor, truth: Tensor) -> Tensor:
    r"""Lost attribution at every pixel (Buono et al., equations 3 and 20); arguments and result as `alpha_error`.

    $$\beta(x) = \max(0, |A^*(x)| - |\tilde A(x)|)$$

    Raises:
        ArgumentTypeError, ArgumentError, NonFiniteError: as `alpha_error`.

    Example:
        >>> import torch
        >>> from captum_ext.upsampling import beta_error
        >>> beta_error(torch.tensor([[[3.0, -1.0]]]), torch.tensor([[[1.0, 4.0]]]))
        tensor([[[[0., 3.]]]])
    """
    given = as_maps("attributions", attributions, dims_of_both(attributions, truth)).detach()
    true = _beside(given, truth)
    return (true.abs() - given.abs()).clamp(min=0)[:, None]


def mass_excess(attributions: Tensor, truth: Tensor, grid: tuple[int, ...]) -> Tensor:
    r"""Mass that every cell has too much (Buono et al., "Attribution Upsampling should Redistribute, Not Interpolate",
    section D).

    $$\Delta_k^+ = \max\Big(0, \sum_{x \in N_k} \tilde A(x) - \sum_{x \in N_k} A^*(x)\Big)$$

    For maps that are nowhere negative it is a lower bound of the cell's sum of `alpha_error` (proposition 12). It is
    zero in all cells where an upsampler that keeps cells' masses (D1) gets the true map pooled by `pool_attribution`.

    Args:
        attributions: the upsampled map, (N, H, W) or (N, 1, H, W); of volumes and signals likewise.
        truth: the true map, likewise, or one row for all; in the same unit.
        grid: (h, w) of the cells; pixel (i, j) belongs to cell (i*h // H, j*w // W). (d, h, w) of volumes, (t,) of
            signals.

    Returns:
        (N, 1, h, w), (N, 1, d, h, w) or (N, 1, t), at least zero: mass, which is the unit of the maps times pixels.

    Raises:
        ArgumentTypeError: maps that are no tensors of floating point, a grid that is no tuple of integers.
        ArgumentError: shapes that do not fit, a grid larger than the maps.
        NonFiniteError: NaN or infinity in a map.

    Example:
        >>> import torch
        >>> from captum_ext.upsampling import mass_deficit, mass_excess
        >>> upsampled, truth = torch.tensor([[[3.0, 1.0, 2.0, 0.0]]]), torch.tensor([[[1.0, 1.0, 2.0, 5.0]]])
        >>> mass_excess(upsampled, truth, (1, 2)), mass_deficit(upsampled, truth, (1, 2))
        (tensor([[[[2., 0.]]]]), tensor([[[[0., 5.]]]]))
    """
    return _surplus(attributions, truth, grid).clamp(min=0)


def mass_deficit(attributions: Tensor, truth: Tensor, grid: tuple[int, ...]) -> Tensor:
    r"""Mass that every cell has too little (Buono et al., section D); arguments and result as `mass_excess`.

    $$\Delta_k^- = \max\Big(0, \sum_{x \in N_k} A^*(x) - \sum_{x \in N_k} \tilde A(x)\Big)$$

    For maps that are nowhere negative it is a lower bound of the cell's sum of `beta_error` (proposition 12).

    Raises:
        ArgumentTypeError, ArgumentError, NonFiniteError: as `mass_excess`.

    Example:
        >>> import torch
        >>> from captum_ext.upsampling import mass_deficit
        >>> mass_deficit(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[1.0, 4.0]]]), (1, 1))
        tensor([[[[1.]]]])
    """
    return (-_surplus(attributions, truth, grid)).clamp(min=0)


def _surplus(attributions: Tensor, truth: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Mass of the map minus mass of the truth (N, 1, h, w) in every cell."""
    given = maps_on_grid("attributions", attributions, grid).detach()
    size = tuple(given.shape[1:])
    true = _beside(given, truth)
    return Cells(check_grid("grid", grid, size), size, given.device).sum(given - true)[:, None]


def _beside(given: Tensor, truth: Tensor) -> Tensor:
    """The true map (N, H, W) or (1, H, W) of a map (N, H, W), on its device and in its dtype."""
    true = as_maps("truth", truth, given.dim() - 1).detach()
    if true.shape[1:] != given.shape[1:] or len(true) not in (1, len(given)):
        expected = f"of one row or {len(given)} rows like the attributions, and of their size {tuple(given.shape[1:])}"
        raise ArgumentError("truth", expected, describe(truth))
    return true.to(given)
