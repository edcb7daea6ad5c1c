"""The desiderata of faithful upsampling, strict and relaxed, measured for any upsampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_ext.core.checks import MOST_STEPS, check_positive_int, check_seed
from captum_ext.upsampling.errors import alpha_error, beta_error, mass_deficit, mass_excess
from captum_ext.upsampling.neighbourhoods import Cells
from captum_ext.upsampling.pooling import pool_attribution
from captum_ext.upsampling.protocol import upsample_maps
from captum_ext.upsampling.registry import make_upsampler
from captum_ext.upsampling.settings import check_grid, check_size

_TOLERANCE = 1e-9  # relative; cases are in float64
_FLOAT32_TOLERANCE = 1e-5  # for upsamplers that compute in float32 whatever they are given
_SPREAD_TOLERANCE = 1e-6

Operator = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Desideratum:
    """Whether a desideratum holds on all cases, and by how much the worst one misses it."""

    satisfied: bool
    error: float


@dataclass(frozen=True)
class DesiderataReport:
    """What `check_desiderata` measured.

    Attributes:
        d1: neighbourhood completeness; error: sum of the cells' mass differences over the sum of masses, of all
            cases together.
        d2: segment monotonicity; error: share of the pairs of pixels of a cell whose order contradicts their scores.
        d3: constant conditioning strength; error: spread of log-ratio over score difference, relative to the largest,
            over base scores from 0.05 to 0.75; 1 where scores have no effect at all.
        d4: locality; error: largest change in a cell, relative to its largest value, when everything outside of it
            changes.
        d1_g: generalised completeness, what remains of D1 in global redistribution (theorem 6): each cell's pixels sum
            to the mass that the cell was given, and these masses to the map's. A cell is given what it sums to when all
            of its pixels have its largest score, which is its importance. Error: the larger of the cells' and the maps'
            mass differences, over the sum of masses, of all cases together.
        d4_prime: semi-locality, what remains of D4 there: a pixel's attribution is determined by the mass that its cell
            was given and the scores within the cell. Error: as of D4, of the pixels' shares of their cell's sum.
        alpha: sum of `alpha_error` over the true map's sum, where the coarse map is the true one, pooled.
        beta: sum of `beta_error`, likewise.
        mass_excess: sum of `mass_excess`, likewise.
        mass_deficit: sum of `mass_deficit`, likewise.
    """

    d1: Desideratum
    d2: Desideratum
    d3: Desideratum
    d4: Desideratum
    d1_g: Desideratum
    d4_prime: Desideratum
    alpha: float
    beta: float
    mass_excess: float
    mass_deficit: float


def check_desiderata(
    upsampler: Any,
    *,
    size: tuple[int, ...] = (56, 56),
    grid: tuple[int, ...] = (7, 7),
    n_cases: int = 32,
    seed: int = 0,
) -> DesiderataReport:
    """Measure the desiderata D1 to D4 of Buono et al., "Attribution Upsampling should Redistribute, Not Interpolate",
    and D1-G and D4' of its theorem 6, which the global redistribution keeps.

    Args:
        upsampler: a name, an object with `redistribute(coarse, score_map)`, which is given random scores, or any other
            `Upsampler`, which gets no scores and can follow none.
        size: (H, W) of the fine maps; (D, H, W) for volumes, (T,) for signals.
        grid: (h, w) of the coarse maps, no larger than the fine ones, and likewise.
        n_cases: random non-negative maps.
        seed: of the cases; the global random state is not touched.

    Example:
        >>> from captum_ext.upsampling import USUUpsampler, check_desiderata
        >>> report = check_desiderata(USUUpsampler())
        >>> [d.satisfied for d in (report.d1, report.d2, report.d3, report.d4)]
        [True, True, True, True]
        >>> check_desiderata("bilinear").d1.satisfied
        False
        >>> report = check_desiderata("usu-iwmr")
        >>> report.d1.satisfied, report.d4.satisfied, report.d1_g.satisfied, report.d4_prime.satisfied
        (False, False, True, True)

    Deviations from the paper: errors are relative, while its Table 2 gives mean absolute differences of mass whose unit
    depends on the maps. That table says that global redistribution satisfies D4 and leaves out nearest-neighbour
    interpolation: here the first is held to D4 as written, which it violates, and the second satisfies D1, D2 and D4.
    Interpolation, which gets no scores, satisfies D1-G as soon as it keeps a map's mass, as bilinear interpolation does
    where the sizes divide.

    Raises:
        ArgumentTypeError: no upsampler, sizes or numbers of another type.
        ArgumentError: an unknown name, sizes that do not fit.
    """
    check_positive_int("n_cases", n_cases, MOST_STEPS)
    generator = torch.Generator().manual_seed(check_seed("seed", seed))
    size = check_size("size", size)
    grid = check_grid("grid", grid, size)
    operator, cells = _operator(upsampler), Cells(grid, size, torch.device("cpu"))
    coarse = torch.rand(n_cases, *grid, generator=generator, dtype=torch.float64)
    pixel_scores = torch.rand(n_cases, *size, generator=generator, dtype=torch.float64).mul(10).floor().div(9)
    cell_scores = torch.rand(n_cases, *grid, generator=generator, dtype=torch.float64)
    scores = pixel_scores * cells.spread(cell_scores)  # with ties, and with another largest score in every cell
    fine = operator(coarse, scores)
    tolerance = _FLOAT32_TOLERANCE if fine.dtype != torch.float64 else _TOLERANCE
    masses = coarse * cells.pixels
    d1 = float((cells.sum(fine.double()) - masses).abs().sum() / masses.sum())
    d2 = _order_violations(cells, fine.double(), scores, tolerance)
    d3 = _conditioning_spread(operator, len(size))
    d4, d4_prime = _outside_influence(operator, cells, coarse, scores, generator)
    d1_g = _budget_error(operator, cells, coarse, scores)
    alpha, beta, excess, deficit = _errors(operator, cells, scores, generator)
    return DesiderataReport(
        d1=Desideratum(d1 <= tolerance, d1),
        d2=Desideratum(d2 == 0, d2),
        d3=Desideratum(d3 <= _SPREAD_TOLERANCE, d3),
        d4=Desideratum(d4 <= tolerance, d4),
        d1_g=Desideratum(d1_g <= tolerance, d1_g),
        d4_prime=Desideratum(d4_prime <= tolerance, d4_prime),
        alpha=alpha,
        beta=beta,
        mass_excess=excess,
        mass_deficit=deficit,
    )


def _operator(upsampler: Any) -> Operator:
    """The upsampler as a function of coarse map and scores, both (N, ., .)."""
    is_operator = hasattr(upsampler, "redistribute") and not isinstance(upsampler, type)
    used: Any = upsampler if is_operator else make_upsampler(upsampler)
    if hasattr(used, "redistribute"):
        return lambda coarse, scores: used.redistribute(coarse, scores[:, None])[:, 0]

    def apply(coarse: Tensor, scores: Tensor) -> Tensor:
        images = torch.zeros(len(scores), 3, *scores.shape[1:], dtype=scores.dtype)
        return upsample_maps(used, [coarse], images, lambda x: x.flatten(1).sum(1))[0][:, 0]

    return apply


def _order_violations(cells: Cells, fine: Tensor, scores: Tensor, tolerance: float) -> float:
    """Share of ordered pairs of a cell's pixels with score(x) >= score(y) but less attribution at x."""
    violated, pairs = 0, 0
    for value, score in zip(_pixels_of_cells(cells, fine), _pixels_of_cells(cells, scores), strict=True):
        ordered = score[:, :, None] >= score[:, None, :]
        slack = tolerance * value.abs().amax(1)[:, None, None]
        violated += int((ordered & (value[:, :, None] < value[:, None, :] - slack)).sum())
        pairs += int(ordered.sum())
    return violated / pairs


def _pixels_of_cells(cells: Cells, maps: Tensor) -> list[Tensor]:
    """For every cell its pixels (N, pixels)."""
    owner = cells.spread(torch.arange(cells.pixels.numel()).reshape(1, *cells.grid))[0]
    return [maps[:, owner == k] for k in range(cells.pixels.numel())]


def _conditioning_spread(operator: Operator, dims: int) -> float:
    """Spread of log(A(s + 0.2) / A(s)) / 0.2 over base scores s, relative to the largest."""
    bases = torch.linspace(0.05, 0.75, 15, dtype=torch.float64)
    scores = torch.stack([torch.stack([base, base + 0.2]).repeat(2).expand((4,) * dims) for base in bases])
    fine = operator(torch.ones(len(bases), *(1,) * dims, dtype=torch.float64), scores).double().flatten(1)
    strength = (fine[:, 1] / fine[:, 0]).log() / 0.2
    largest = float(strength.abs().max())
    return 1.0 if largest < 1e-9 else float(strength.max() - strength.min()) / largest


def _outside_influence(
    operator: Operator, cells: Cells, coarse: Tensor, scores: Tensor, generator: torch.Generator
) -> tuple[float, float]:
    """Largest relative change in one cell of each case, and of its pixels' shares of the cell's sum, when map and
    scores change everywhere else."""
    n_cases, n_cells = len(coarse), cells.pixels.numel()
    chosen = torch.randint(n_cells, (n_cases,), generator=generator)
    owner = cells.spread(torch.arange(n_cells).reshape(1, *cells.grid))
    chosen = chosen.reshape(-1, *(1,) * len(cells.grid))
    inside = owner == chosen
    own_cell = torch.arange(n_cells).reshape(1, *cells.grid) == chosen
    other_coarse = torch.where(own_cell, coarse, torch.rand(coarse.shape, generator=generator, dtype=coarse.dtype))
    other_scores = torch.where(inside, scores, torch.rand(scores.shape, generator=generator, dtype=scores.dtype))
    fine, other_fine = operator(coarse, scores).double(), operator(other_coarse, other_scores).double()
    before, after = (torch.where(inside, maps, 0.0).flatten(1) for maps in (fine, other_fine))
    sums = before.sum(1, keepdim=True), after.sum(1, keepdim=True)
    has_mass = (sums[0] != 0) & (sums[1] != 0)  # a cell without mass says nothing of its shares
    shares = (torch.where(has_mass, maps / total, 0.0) for maps, total in zip((before, after), sums, strict=True))
    return _largest_change(before, after), _largest_change(*shares)


def _largest_change(before: Tensor, after: Tensor) -> float:
    """Largest change of each row (N, pixels), relative to its largest value before, and of those the largest."""
    change, scale = (after - before).abs().amax(1), before.abs().amax(1)
    return float(torch.where(change > 0, change / scale, change).max())


def _budget_error(operator: Operator, cells: Cells, coarse: Tensor, scores: Tensor) -> float:
    """How far cells are from the mass that they are given for their importance alone, and those from the map's mass."""
    masses = coarse * cells.pixels
    given = cells.sum(operator(coarse, cells.spread(cells.amax(scores))).double())
    unspent = (cells.sum(operator(coarse, scores).double()) - given).abs().sum()
    sides = tuple(range(1, masses.dim()))
    created = (given.sum(sides) - masses.sum(sides)).abs().sum()
    return float(torch.maximum(unspent, created) / masses.sum())


def _errors(
    operator: Operator, cells: Cells, scores: Tensor, generator: torch.Generator
) -> tuple[float, float, float, float]:
    """Alpha and beta errors, mass excess and deficit, against random fine maps that are pooled to the coarse ones."""
    truth = torch.rand(scores.shape, generator=generator, dtype=torch.float64)
    fine = operator(pool_attribution(truth, cells.grid)[:, 0], scores).double()
    if len(cells.grid) == 3:  # without channels these would be four dimensions, as those of images with channels
        fine, truth = fine[:, None], truth[:, None]
    errors = (
        alpha_error(fine, truth),
        beta_error(fine, truth),
        mass_excess(fine, truth, cells.grid),
        mass_deficit(fine, truth, cells.grid),
    )
    alpha, beta, excess, deficit = (float(error.sum() / truth.sum()) for error in errors)
    return alpha, beta, excess, deficit
