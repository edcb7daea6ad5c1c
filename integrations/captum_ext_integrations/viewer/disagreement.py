"""How much two maps of one image disagree: 1 minus the rank correlation of their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def disagreement(first: Any, second: Any) -> Numbers:
    """1 - Spearman's correlation of each map with another of the same image, (N,) in [0, 2].

    0: both order the pixels alike; 1: their orders have nothing in common; 2: they are opposite. Equal numbers share
    their mean rank. Only the order counts, so that maps of other units compare.

    Args:
        first: maps (N, H, W) or (N, C, H, W), whose channels are summed.
        second: the same of other methods. Of fewer pixels in one of them, the other is brought to these, each of which
            gets the mean of what it overlaps.

    Returns:
        NaN where a map is constant, or has a number that is not finite.

    Example:
        >>> import numpy as np
        >>> from captum_ext_integrations.viewer.disagreement import disagreement
        >>> ramp = np.arange(4.0).reshape(1, 2, 2)
        >>> disagreement(ramp, np.exp(ramp)), disagreement(ramp, -ramp)
        (array([0.]), array([2.]))
    """
    a, b = pixels_of(np.asarray(first)), pixels_of(np.asarray(second))
    if a.shape[1:] != b.shape[1:]:
        size = (min(a.shape[1], b.shape[1]), min(a.shape[2], b.shape[2]))
        a, b = pooled(a, size), pooled(b, size)
    ranks = [_centred_ranks(one.reshape(len(one), -1)) for one in (a, b)]
    with np.errstate(invalid="ignore", divide="ignore"):
        product = np.einsum("np,np->n", *ranks) / np.sqrt(np.prod([(one**2).sum(1) for one in ranks], axis=0))
    found: Numbers = np.clip(1 - product, 0, 2)
    finite = np.isfinite(a).all((1, 2)) & np.isfinite(b).all((1, 2))
    return np.where(finite, found, np.nan)


def pixels_of(maps: NDArray[Any]) -> NDArray[Any]:
    """Maps as (N, H, W): channels are summed, and what is no image is one line of numbers."""
    if maps.ndim == 3:
        return maps
    if maps.ndim == 4:
        return np.asarray(maps.sum(1, dtype=np.float64))
    return maps.reshape(len(maps), 1, -1)


def pooled(maps: NDArray[Any], size: tuple[int, int]) -> Numbers:
    """Maps (N, H, W) with fewer rows and columns, each the mean of what it overlaps."""
    rows, columns = (_shares(new, old) for new, old in zip(size, maps.shape[1:], strict=True))
    mean: Numbers = rows @ maps.astype(np.float64) @ columns.T
    return mean


def _shares(new: int, old: int) -> Numbers:
    """(new, old) which share of each of `new` equal parts of a line is each of `old` equal parts."""
    cells, pixels = np.arange(new)[:, None] * old, np.arange(old)[None] * new  # in units of 1 / (new * old)
    overlap = np.minimum(cells + old, pixels + new) - np.maximum(cells, pixels)
    shares: Numbers = overlap.clip(min=0) / old
    return shares


def _centred_ranks(values: NDArray[Any]) -> Numbers:
    """Ranks (N, P) in each row less their mean, equal numbers with their mean rank."""
    from scipy.stats import rankdata  # here, since it takes half a second, and nothing that is seen first needs it

    # In float64, since newer versions rank float16 in float16, which has no numbers between 2048 and 2050.
    ranks: Numbers = rankdata(values.astype(np.float64), axis=1) - (values.shape[1] + 1) / 2
    return ranks
