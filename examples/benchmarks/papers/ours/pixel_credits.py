"""What the pixels of a greedy path are credited with: maps (N, 1, H, W) or (N, C, H, W)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from sklearn.isotonic import isotonic_regression
from torch import Tensor

from examples.benchmarks.papers.ours.greedy_walk import Walked


def gradient(path: Walked) -> Tensor:
    """Gradient times move, as SAMP: an estimate of each change, and not complete."""
    return path.gain


def scaled(path: Walked) -> Tensor:
    """Gradient times move, with one factor for each image that makes the sum the change of score along the path.

    The factor is left out where it is not positive: it would turn the order round.
    """
    return _scaled(path, path.gain)


def scaled_running(path: Walked) -> Tensor:
    """The same of the running mean of gradients, by which pixels are ranked."""
    return _scaled(path, path.running)


def shared_by_gain(path: Walked) -> Tensor:
    """The measured change of each group, shared by gradient times move where this is positive."""
    return _shared(path, path.gain.sum(1).clamp(min=0))


def shared_by_square(path: Walked) -> Tensor:
    """The measured change of each group, shared by the square of gradient times move, as IDGI does."""
    return _shared(path, path.gain.square().sum(1))


def by_arrival(path: Walked) -> Tensor:
    """The order is that of arrival, the values are the measured changes made to fall along it.

    Isotonic regression of each group's change per pixel keeps the sum; inside a group values fall along what ranked its
    pixels, at most to halfway between its level and those of its neighbours, which keeps the sum, too.
    """
    return torch.stack([_arrived(path, row)[None] for row in range(len(path.group))])


def by_gain(path: Walked) -> Tensor:
    """The values of `by_arrival`, dealt out in the order of gradient times move."""
    values, order = by_arrival(path).flatten(1), path.gain.sum(1).flatten(1)
    moved = (path.group >= 0).flatten(1)
    result = torch.zeros_like(values)
    for row in range(len(values)):
        where = moved[row].nonzero().squeeze(1)
        ranked = order[row, where].argsort(descending=True, stable=True)
        result[row, where[ranked]] = values[row, where].sort(descending=True).values
    return result.view(len(values), 1, *path.group.shape[1:])


def _scaled(path: Walked, maps: Tensor) -> Tensor:
    factor = path.sign * (path.scores[:, -1] - path.scores[:, 0]) / maps.flatten(1).sum(1)
    return maps * torch.where(factor > 0, factor, 1.0)[:, None, None, None]


def _shared(path: Walked, weight: Tensor) -> Tensor:
    maps = torch.zeros_like(weight)
    for move in range(path.scores.shape[1] - 1):
        mine = path.group == move
        change = path.sign * (path.scores[:, move + 1] - path.scores[:, move])
        inside = weight.masked_fill(~mine, 0)
        sums, counts = inside.flatten(1).sum(1), mine.flatten(1).sum(1).clamp(min=1)
        share = torch.where(
            (sums > 0)[:, None, None], inside / sums.clamp(min=1e-300)[:, None, None], mine / counts[:, None, None]
        )
        maps += share * change[:, None, None]
    return maps[:, None]


def _arrived(path: Walked, row: int) -> Tensor:
    group, ranked_by = path.group[row].flatten(), path.ranked_by[row].flatten()
    used = group[group >= 0].unique()
    counts = torch.bincount(group[group >= 0], minlength=int(used.max()) + 1)[used].double().numpy()
    scores = path.scores[row]
    bounds = [*used.tolist(), scores.numel() - 1]
    changes = np.array([path.sign * float(scores[b] - scores[a]) for a, b in pairwise(bounds)])
    levels = isotonic_regression(changes / counts, sample_weight=counts, increasing=False)
    half = np.zeros_like(levels)
    if len(levels) > 1:
        steps = -np.diff(levels) / 2
        half = np.minimum(np.append(steps, steps[-1]), np.insert(steps, 0, steps[0]))
    values = torch.zeros_like(ranked_by)
    for level, width, move in zip(levels, half, used.tolist(), strict=True):
        where = (group == move).nonzero().squeeze(1)
        order = where[ranked_by[where].argsort(descending=True, stable=True)]
        tilt = torch.linspace(1, -1, len(order), dtype=values.dtype) if len(order) > 1 else torch.zeros(1).to(values)
        values[order] = float(level) + float(width) * tilt
    return values.view_as(path.group[row])
