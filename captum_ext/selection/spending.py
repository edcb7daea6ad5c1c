"""How large a difference has to be at each of several looks, so that all looks together err as rarely as one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from captum_ext.core.checks import check_number
from captum_ext.exceptions import ArgumentError

_NODES = 400  # of the integral over the sum at the look before
_FARTHEST = 8.0  # standard deviations, beyond which nothing is
_NOTHING = 1e-13  # an error too small to be spent at a look: it is left to the next


def boundaries(level: float, fractions: Sequence[float]) -> NDArray[np.float64]:
    r"""Boundaries (F,) of a standard normal statistic that is looked at F times, one-sided, by alpha spending (Lan and
    DeMets, "Discrete Sequential Boundaries for Clinical Trials", Biometrika 1983).

    https://doi.org/10.1093/biomet/70.3.659. Up to the share t of the images at most

    $$\alpha^*(t) = 2 - 2 \Phi(z_{\alpha / 2} / \sqrt{t})$$

    of the level is spent, close to the boundaries of O'Brien and Fleming: little at the first looks, nearly all at the
    last. Each boundary takes what the looks before have left, computed by numerical integration over a sum of normal
    increments (Armitage, McPherson and Rowe, 1969).

    Args:
        level: of one side, in (0, 0.5): the chance that any look exceeds its boundary where there is no difference.
        fractions: shares of all images at the looks, ascending, in (0, 1].

    Returns:
        The boundaries; infinite where a look has nothing to spend.

    Raises:
        ArgumentError, ArgumentTypeError: a level or shares that cannot be used.

    Example:
        >>> from captum_ext.selection import boundaries
        >>> boundaries(0.025, [0.2, 0.4, 0.6, 0.8, 1.0]).round(2).tolist()
        [4.88, 3.36, 2.68, 2.29, 2.03]
    """
    level = check_number("level", level, "a level of one side between 0 and 0.5", lambda value: 0 < value < 0.5)
    shares = tuple(float(share) for share in fractions)
    if not shares or any(not first < then for first, then in zip((0.0, *shares), (*shares, 1.5), strict=False)):
        raise ArgumentError("fractions", "ascending shares above 0 and up to 1", str(list(fractions)))
    if shares[-1] > 1:
        raise ArgumentError("fractions", "ascending shares above 0 and up to 1", str(list(fractions)))
    return np.array(_boundaries(level, shares))


@lru_cache(maxsize=256)
def _boundaries(level: float, shares: tuple[float, ...]) -> tuple[float, ...]:
    """The same of checked arguments."""
    found: list[float] = []
    spent = before = 0.0
    places, weights = np.zeros(1), np.ones(1)  # the sum at the look before, and how likely it is: at first it is zero
    nodes, of_nodes = np.polynomial.legendre.leggauss(_NODES)
    for share in shares:
        step, spread = np.sqrt(share - before), np.sqrt(share)
        due = 2 * ndtr(ndtri(level / 2) / np.sqrt(share)) - spent
        boundary = _solved(due, places, weights, step, spread) if due > _NOTHING else np.inf
        if np.isfinite(boundary):
            spent += due
        found.append(float(boundary))
        last = min(boundary, _FARTHEST) * spread
        low = -_FARTHEST * spread
        sums = low + (nodes + 1) / 2 * (last - low)
        density = np.exp(-(((sums[:, None] - places) / step) ** 2) / 2) @ weights / (step * np.sqrt(2 * np.pi))
        places, weights, before = sums, density * of_nodes / 2 * (last - low), share
    return tuple(found)


def _solved(due: float, places: NDArray[np.float64], weights: NDArray[np.float64], step: float, spread: float) -> float:
    """The boundary of a statistic that is exceeded with the probability that is due."""

    def excess(boundary: float) -> float:
        return float(ndtr((places - boundary * spread) / step) @ weights - due)

    return float(brentq(excess, -_FARTHEST, _FARTHEST, xtol=1e-10)) if excess(_FARTHEST) < 0 else np.inf
