"""How alike two maps of an image are: order of pixels, the largest of them, and how far mass has moved."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.stats import rankdata
from torch import Tensor

from captum_ext.core.checks import check_number, check_positive_int, describe
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

Numbers = NDArray[np.float64]

#: Measure -> whether higher is more alike.
MEASURES: Mapping[str, bool] = MappingProxyType({"correlation": True, "overlap": True, "moved": False})
_LARGEST_GRID = 16
_LEAST = 1e-12  # of a map's mass: what is less is no surplus


def map_similarity(first: Any, second: Any, *, top: float = 0.05, grid: int = 7) -> dict[str, Numbers]:
    r"""How alike maps of the same images are, image by image, in three measures.

    * correlation: Spearman's rank correlation of the pixels, from -1 to 1.
    * overlap: share of the `top` pixels with the largest numbers that both maps have in common, from 0 to 1; about
      `top` for maps that have nothing to do with each other.
    * moved: the Wasserstein distance between the sizes of attributions, each map's scaled to sum 1, on a coarse grid of
      `grid` cells a side, exactly (linear programming): by how much of the image's longer side the mass has moved on
      average.

    Args:
        first: (N, H, W), or (N, C, H, W), whose channels are summed; as tensors or arrays.
        second: maps of the same shape.
        top: share of the pixels, at least one.
        grid: cells along each side, no more than the map has pixels.

    Returns:
        Measure -> (N,) float64; NaN where a map is constant or not finite.

    Raises:
        ArgumentTypeError, ArgumentError: no maps, shapes that differ, numbers that cannot be used.

    Example:
        >>> import torch
        >>> from captum_ext.selection import map_similarity
        >>> first = torch.zeros(1, 4, 4)
        >>> first[0, 0, 0] = 1
        >>> second = first.flip(2)  # the mass is three of four pixels further to the right
        >>> {name: float(value[0].round(3)) for name, value in map_similarity(first, second, grid=4).items()}
        {'correlation': -0.067, 'overlap': 0.0, 'moved': 0.75}
    """
    one, other = _maps("first", first), _maps("second", second)
    if one.shape != other.shape:
        raise ArgumentError("second", f"of the shape of the first, {one.shape}", str(other.shape))
    top = check_number("top", top, "a share of the pixels, above 0 and at most 1", lambda value: 0 < value <= 1)
    grid = check_positive_int("grid", grid, _LARGEST_GRID)
    flat, others = one.reshape(len(one), -1), other.reshape(len(other), -1)
    defined = _varies(flat) & _varies(others)
    result = {name: np.full(len(one), np.nan) for name in MEASURES}
    if defined.any():
        result["correlation"][defined] = _correlation(flat[defined], others[defined])
        result["overlap"][defined] = _overlap(flat[defined], others[defined], top)
        pairs = zip(one[defined], other[defined], strict=True)
        sides = one.shape[1] / max(one.shape[1:]), one.shape[2] / max(one.shape[1:])
        result["moved"][defined] = [moved(_cells(a, grid), _cells(b, grid), sides) for a, b in pairs]
    return result


def moved(first: Numbers, second: Numbers, sides: tuple[float, float] = (1.0, 1.0)) -> float:
    """The Wasserstein distance of two masses on one grid (h, w) of an image with these sides, in the same unit."""
    along = [(np.arange(cells) + 0.5) / cells * side for cells, side in zip(first.shape, sides, strict=True)]
    places = np.stack(np.meshgrid(*along, indexing="ij"), -1).reshape(-1, 2)
    surplus = (first / first.sum() - second / second.sum()).reshape(-1)
    gives, takes = surplus > _LEAST, surplus < -_LEAST  # what both have stays where it is
    if not gives.any() or not takes.any():
        return 0.0
    cost = np.linalg.norm(places[gives][:, None] - places[takes][None], axis=2)
    supply, demand = surplus[gives], -surplus[takes]
    demand = demand * supply.sum() / demand.sum()
    sources, targets = np.eye(len(supply)), np.eye(len(demand))
    leaving = np.kron(sources, np.ones((1, len(demand))))
    arriving = np.kron(np.ones((1, len(supply))), targets)
    # One of the equations follows from the others.
    equations = np.concatenate([leaving, arriving[:-1]])
    solved = linprog(cost.reshape(-1), A_eq=equations, b_eq=np.concatenate([supply, demand[:-1]]), method="highs")
    return float(solved.fun) if solved.success else float("nan")


def _maps(name: str, given: Any) -> Numbers:
    value = given.detach().cpu().double().numpy() if isinstance(given, Tensor) else given
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(name, "maps as a tensor or an array", describe(given)) from error
    if array.ndim not in (3, 4) or array.size == 0:
        raise ArgumentError(name, "(N, H, W) or (N, C, H, W)", str(array.shape))
    summed: Numbers = array.sum(1) if array.ndim == 4 else array
    return summed


def _varies(values: Numbers) -> NDArray[np.bool_]:
    """Which rows (N,) of values (N, P) are finite and not constant."""
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=1))
    kept = np.where(finite[:, None], values, 0.0)
    return np.asarray(np.ptp(kept, axis=1) > 0)


def _correlation(first: Numbers, second: Numbers) -> Numbers:
    ranks = [rankdata(values, axis=1) - (values.shape[1] + 1) / 2 for values in (first, second)]
    scale = np.sqrt((ranks[0] ** 2).sum(1) * (ranks[1] ** 2).sum(1))
    found: Numbers = np.clip((ranks[0] * ranks[1]).sum(1) / scale, -1, 1)
    return found


def _overlap(first: Numbers, second: Numbers, top: float) -> Numbers:
    count = max(1, round(top * first.shape[1]))
    chosen = [np.argsort(-values, axis=1, kind="stable")[:, :count] for values in (first, second)]
    shared = [len(np.intersect1d(a, b)) / count for a, b in zip(*chosen, strict=True)]
    return np.array(shared)


def _cells(values: Numbers, grid: int) -> Numbers:
    """Sums (h, w) of the sizes of a map's numbers over cells; pixel i of H belongs to cell i * h // H."""
    sizes = np.abs(values)
    for axis, length in enumerate(values.shape):
        cells = min(grid, length)
        begins = [-(-cell * length // cells) for cell in range(cells)]
        sizes = np.add.reduceat(sizes, begins, axis=axis)
    return sizes
