"""Paired signed-rank statistics of many differences at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Numbers = NDArray[np.float64]


def signed_rank_z(differences: Numbers) -> Numbers:
    """Wilcoxon's signed-rank statistic as a standard normal number, along the last axis; (..., n) to (...).

    Zeros and NaN are left out, ties have their mean rank, and the variance is that of the ranks that there are. Where
    nothing is left it is 0. Below about 20 differences its tails are lighter than those of the normal distribution, so
    that a level is kept.

    Example:
        >>> import numpy as np
        >>> from captum_ext.selection.signed_ranks import signed_rank_z
        >>> signed_rank_z(np.array([[1.0, 2.0, 3.0, np.nan], [0.0, 0.0, 0.0, 0.0]])).round(3).tolist()
        [1.604, 0.0]
    """
    differences = np.asarray(differences, np.float64)  # ranks have the dtype of what is ranked
    counts = np.isfinite(differences) & (differences != 0)
    sizes = np.where(counts, np.abs(np.where(counts, differences, 0.0)), -1.0)  # what does not count ranks below
    skipped = (~counts).sum(-1, keepdims=True)
    ranks = np.where(counts, rankdata(sizes, axis=-1) - skipped, 0.0)
    total, variance = (np.sign(np.where(counts, differences, 0.0)) * ranks).sum(-1), (ranks**2).sum(-1)
    z: Numbers = np.divide(total, np.sqrt(variance), out=np.zeros_like(total), where=variance > 0)
    return z


def paired_z(scores: Numbers) -> Numbers:
    """(..., K, K) the statistic of each method (..., K, n) minus each other one; its own is 0.

    Example:
        >>> import numpy as np
        >>> from captum_ext.selection.signed_ranks import paired_z
        >>> paired_z(np.array([[2.0, 3.0, 5.0], [1.0, 1.0, 1.0]])).round(3).tolist()
        [[0.0, 1.604], [-1.604, 0.0]]
    """
    n_methods = scores.shape[-2]
    first, second = np.triu_indices(n_methods, 1)
    z = np.zeros((*scores.shape[:-1], n_methods))
    if len(first):
        values = signed_rank_z(scores[..., first, :] - scores[..., second, :])
        z[..., first, second], z[..., second, first] = values, -values
    return z
