"""The operator: spread each coarse cell's mass over its pixels in proportion to a potential of their scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_ext.core.checks import check_choice, check_tensor, describe
from captum_ext.exceptions import ArgumentError
from captum_ext.upsampling.neighbourhoods import Cells
from captum_ext.upsampling.settings import check_positive, check_size

POTENTIALS = ("tensor", "power", "log-odds")
REDISTRIBUTIONS = ("local", "global-mass", "global-area")

# Potentials with a zero or a pole at the ends of [0, 1], where min-max scaling puts the extreme scores.
_CLIP = {"power": 1e-6, "log-odds": 1e-3}

# Beyond them float32 overflows; their results are those of the limits already.
_LOWEST_TEMPERATURE, _HIGHEST_GAMMA = 1e-30, 1e30


def redistribute(
    coarse: Tensor,
    score_map: Tensor,
    *,
    temperature: float,
    potential: str = "tensor",
    gamma: float = 2.0,
    redistribution: str = "local",
    importance_temperature: float | None = None,
) -> Tensor:
    r"""Upsample a coarse attribution map by redistributing mass (Buono et al., "Attribution Upsampling should
    Redistribute, Not Interpolate").

    $$\tilde A(x) = M_k \frac{\varphi(s(x))}{\sum_{y \in N_k} \varphi(s(y))}, \qquad M_k = a_k |N_k|$$

    for the cell k of pixel x (equations 1 and 8 to 11): a cell's mass is the sum of its value over its pixels, and they
    share it. Equal scores give nearest-neighbour interpolation exactly. `pool_attribution` is the way back.

    The global redistributions share the whole mass among cells first, by importance (equations 13 and 14):

    $$\tilde M_k = \rho_k \sum_j M_j, \qquad \rho_k \propto \exp(\lambda_k / \varepsilon_A) \, v_k, \qquad
    \lambda_k = \max_{x \in N_k} s(x)$$

    with the area $v_k = |N_k|$ in "global-area", the paper's formula, and the mass $v_k = M_k$ in "global-mass", ours.
    The paper says that equal importances give the local redistribution back. Of its formula that is false: its shares
    do not know the masses, so that equal importances give every cell the mean of the map, and any two coarse maps of
    the same total the same result. Of "global-mass" it is true: importances move mass from where the coarse map has it.

    Args:
        coarse: (N, h, w) or (N, 1, h, w), and likewise of volumes and signals. The result is differentiable with
            respect to it.
        score_map: (N, H, W) or (N, 1, H, W), of volumes (N, 1, D, H, W), of signals (N, T); or one row for all. Values
            in [0, 1], used as they are.
        temperature: of the potential; small values give the best-scored pixels of a cell all of its mass.
        potential: "tensor", exp((s - 0.5) / temperature); "power", s ** gamma, with s at least 1e-6; "log-odds",
            (s / (1 - s)) ** gamma, with s between 1e-3 and 1 - 1e-3.
        gamma: exponent of the last two.
        redistribution: "local" keeps every cell's mass; "global-mass" and "global-area" (see above) keep the map's.
        importance_temperature: the temperature of importances, in global redistributions; None: `temperature`.

    Returns:
        (N, 1, H, W), (N, 1, D, H, W) or (N, 1, T); float64 for float64 maps, else float32.

    Convention: pixel (i, j) belongs to cell (i*h // H, j*w // W), and so along each side. With negative mass, high
    scores get the most negative values: the operator is linear in mass, and keeps the order of scores only where mass
    is not negative. Masses of both signs cancel in the total that "global-area" shares.

    Raises:
        ArgumentTypeError: maps that are no tensors, numbers that are none.
        ArgumentError: shapes, options or numbers that do not fit; scores outside of [0, 1]; negative mass with
            "global-mass".
        NonFiniteError: NaN or infinity in the map or the scores.

    Example:
        >>> import torch
        >>> from captum_ext.upsampling import redistribute
        >>> scores = torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])
        >>> redistribute(torch.ones(1, 1, 1), scores, temperature=0.5)
        tensor([[[[0.3850, 2.8449],
                  [0.3850, 0.3850]]]])

    Deviations from the paper: "global-mass" is ours; scores of 0 and 1 are clipped for "power" and "log-odds", which
    have a zero or a pole there. We do not repeat its claim that the operator is the only one with its desiderata.
    """
    masses, scores = _validated(coarse, score_map)
    check_choice("potential", potential, POTENTIALS)
    check_choice("redistribution", redistribution, REDISTRIBUTIONS)
    sharpness = max(check_positive("temperature", temperature), _LOWEST_TEMPERATURE)
    importance = sharpness
    if importance_temperature is not None:
        importance = max(check_positive("importance_temperature", importance_temperature), _LOWEST_TEMPERATURE)
    exponent = min(check_positive("gamma", gamma), _HIGHEST_GAMMA)

    cells = Cells(tuple(masses.shape[1:]), tuple(scores.shape[1:]), masses.device)
    masses = masses * cells.pixels
    if redistribution != "local":
        masses = masses.sum(_sides(masses), keepdim=True) * _shares(masses, cells, scores, redistribution, importance)
    weights = _log_potential(scores, potential, sharpness, exponent)  # a tensor of our own, changed in place below
    cells.combine_(weights, cells.amax(weights), Tensor.sub_).exp_()
    share = masses / cells.sum(weights)
    if share.requires_grad:
        return (weights * cells.spread(share))[:, None]
    if len(weights) < len(share):
        weights = weights.repeat(len(share), *(1,) * len(cells.size))
    return cells.combine_(weights, share, Tensor.mul_)[:, None]


def as_maps(name: str, value: Tensor, dims: int | None = None) -> Tensor:
    """Maps (N, h, w), from that or (N, 1, h, w), in float32 at least; of `dims` dimensions beside the first.

    Without `dims`, (N, H, W) and (N, 1, H, W) are images and (N, 1, D, H, W) is a volume.

    Raises:
        ArgumentError: another shape.
        NonFiniteError: NaN or infinity.
    """
    tensor = check_tensor(name, value)
    known = (3 if tensor.dim() == 5 else 2) if dims is None else dims
    if tensor.dim() == known + 2 and tensor.shape[1] == 1:
        tensor = tensor[:, 0]
    if tensor.dim() != known + 1:
        sides = ("t", "h, w", "d, h, w")[known - 1]
        raise ArgumentError(name, f"of shape (N, {sides}) or (N, 1, {sides})", describe(value))
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def dims_of_both(one: Any, other: Any) -> int | None:
    """1 for two maps (N, T), which are signals; a single one may be an image without its batch."""
    are_signals = all(isinstance(value, Tensor) and value.dim() == 2 for value in (one, other))
    return 1 if are_signals else None


def maps_on_grid(name: str, value: Tensor, grid: Any) -> Tensor:
    """Maps (N, h, w) as `as_maps` gives them, of as many dimensions as the grid where they have these.

    Raises:
        ArgumentTypeError, ArgumentError: no such maps, or a grid that is none.
    """
    dims, tensor = len(check_size("grid", grid)), check_tensor(name, value)
    fits = tensor.dim() == dims + 1 or (tensor.dim() == dims + 2 and tensor.shape[1] == 1)
    return as_maps(name, tensor, dims if fits else None)


def _sides(maps: Tensor) -> tuple[int, ...]:
    """The dimensions of maps (N, h, w) but the first."""
    return tuple(range(1, maps.dim()))


def _validated(coarse: Tensor, score_map: Tensor) -> tuple[Tensor, Tensor]:
    scores = as_maps("score_map", score_map, dims_of_both(coarse, score_map)).detach().contiguous()
    masses = as_maps("coarse", coarse, scores.dim() - 1)
    if len(scores) not in (1, len(masses)):
        raise ArgumentError("score_map", f"of {len(masses)} rows like the coarse map, or one", describe(score_map))
    low, high = torch.aminmax(scores)
    if float(low) < 0 or float(high) > 1:
        raise ArgumentError("score_map", "between 0 and 1", f"values from {float(low):.4g} to {float(high):.4g}")
    return masses, scores.to(masses.device, masses.dtype)


def _log_potential(scores: Tensor, potential: str, temperature: float, gamma: float) -> Tensor:
    """Logarithm of the potential up to a constant, which cancels in every cell."""
    if potential == "tensor":
        return scores / temperature
    clip = _CLIP[potential]
    if potential == "power":
        return gamma * scores.clamp(min=clip).log()
    return gamma * torch.logit(scores, eps=clip)


def _shares(masses: Tensor, cells: Cells, scores: Tensor, redistribution: str, temperature: float) -> Tensor:
    """Each cell's share of its map's mass (N, h, w): by importance, times mass or times area."""
    by_mass = redistribution == "global-mass"
    if by_mass and bool((masses < 0).any()):
        raise ArgumentError(
            "coarse",
            'non-negative for "global-mass", whose shares have no meaning for masses of both signs',
            f"a smallest value of {float(masses.detach().min()):.4g}",
        )
    weights = masses if by_mass else cells.pixels
    importance = cells.amax(scores)
    highest = torch.where(weights > 0, importance, 0.0).amax(
        _sides(importance), keepdim=True
    )  # of the cells that can get mass
    share = weights * ((importance - highest) / temperature).clamp(max=0).exp()
    whole = share.sum(_sides(share), keepdim=True)
    return share / torch.where(whole > 0, whole, torch.ones_like(whole))
