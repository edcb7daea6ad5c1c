"""Straight paths from references to inputs, and the points on them at which gradients are taken.

Everything here is planned on the CPU in float64, as numbers per point and never as images: a plan of a million
points is 32 MB, whatever the size of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_ext.attr.paths.quadrature import quadrature
from captum_ext.attr.paths.starts import Starts
from captum_ext.core.devices import CPU
from captum_ext.core.tensors import accumulation_dtype, as_column
from captum_ext.core.types import Tensors


@dataclass(frozen=True)
class Points:
    """Points on paths; every attribute has one entry for each of the P points.

    Attributes:
        row: which of the N inputs the path ends in.
        path: which of that row's K paths it lies on.
        alpha: how far along it the point lies, in [0, 1].
        weight: what the gradient there counts.
    """

    row: Tensor
    path: Tensor
    alpha: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, part: slice | Tensor) -> Points:
        return Points(self.row[part], self.path[part], self.alpha[part], self.weight[part])


def rule_points(starts: Starts, method: str, n_steps: int) -> Points:
    """Every path of every row, integrated by the same `n_steps` nodes."""
    alphas, weights = quadrature(method, n_steps)
    row, path = starts.weight.nonzero(as_tuple=True)
    return Points(
        row=row.repeat_interleave(n_steps),
        path=path.repeat_interleave(n_steps),
        alpha=alphas.repeat(len(row)),
        weight=(starts.weight[row, path, None] * weights).reshape(-1),
    )


def default_points(starts: Starts, n_steps: int, generators: Sequence[torch.Generator]) -> Points:
    """Gauss nodes for rows with one path, stratified points for rows with several; `n_steps` for each row either
    way."""
    single = (starts.weight > 0).sum(1) == 1
    parts = []
    if bool(single.any()):  # nodes are not cheap: their computation grows with the cube of their number
        parts.append(rule_points(starts.only(single), "gausslegendre", n_steps))
    if not bool(single.all()):
        parts.append(stratified_points(starts.only(~single), n_steps, generators))
    return concatenate(parts)


def stratified_points(starts: Starts, n_steps: int, generators: Sequence[torch.Generator]) -> Points:
    """`n_steps` points for each row in all, spread over its paths by weight and stratified in alpha.

    With at least as many points as paths, every path gets its share (largest remainder, at least one), and a
    point counts its path's weight over the path's points. With fewer, paths are drawn by systematic sampling with
    probability proportional to weight, and each point counts 1 / n_steps. Both estimates are unbiased.
    """
    parts = []
    for row, generator in enumerate(generators):
        weight = starts.weight[row]
        paths = weight.nonzero().squeeze(1)
        if len(paths) == 0:
            continue
        if n_steps >= len(paths):
            counts = allocate(weight[paths], n_steps)
            chosen = paths.repeat_interleave(counts)
            point_weight = (weight[paths] / counts).repeat_interleave(counts)
        else:
            chosen = paths[systematic_sample(weight[paths], n_steps, generator)]
            point_weight = torch.full((n_steps,), 1 / n_steps, dtype=torch.float64, device=CPU)
        strata = torch.randperm(n_steps, generator=generator, device=CPU)
        offset = torch.rand(n_steps, generator=generator, dtype=torch.float64, device=CPU)
        parts.append(
            Points(
                row=torch.full((n_steps,), row, device=CPU),
                path=chosen,
                alpha=(strata + offset) / n_steps,
                weight=point_weight,
            )
        )
    return concatenate(parts)


def drawn_paths(starts: Starts, n_paths: int, generators: Sequence[torch.Generator]) -> Starts:
    """At most `n_paths` paths for each row: rows with more keep those that systematic sampling draws."""
    weight = starts.weight.clone()
    for row, generator in enumerate(generators):
        paths = starts.weight[row].nonzero().squeeze(1)
        if len(paths) > n_paths:
            drawn = paths[systematic_sample(starts.weight[row, paths], n_paths, generator)]
            weight[row] = torch.bincount(drawn, minlength=weight.shape[1]) / n_paths
    return Starts(starts.values, starts.index, weight)


def concatenate(parts: Sequence[Points]) -> Points:
    """Join plans in the given order."""
    integers = torch.zeros(0, dtype=torch.long, device=CPU)
    numbers = torch.zeros(0, dtype=torch.float64, device=CPU)
    return Points(
        torch.cat([integers, *(part.row for part in parts)]),
        torch.cat([integers, *(part.path for part in parts)]),
        torch.cat([numbers, *(part.alpha for part in parts)]),
        torch.cat([numbers, *(part.weight for part in parts)]),
    )


def allocate(weight: Tensor, n_points: int) -> Tensor:
    """Share `n_points` among K <= n_points paths in proportion to `weight` (K,), at least one each.

    Largest remainder: whole shares first, the rest to the largest fractions (the first of equal ones).
    """
    share = weight / weight.sum() * n_points
    counts = share.floor().long().clamp(min=1)
    while counts.sum() > n_points:  # the guaranteed points are taken from the path furthest above its share
        excess = torch.where(counts > 1, counts - share, -torch.inf)
        counts[excess.argmax()] -= 1
    remaining = int(n_points - counts.sum())
    order = torch.sort(share - counts, descending=True, stable=True).indices
    counts[order[:remaining]] += 1
    return counts


def systematic_sample(weight: Tensor, n_points: int, generator: torch.Generator) -> Tensor:
    """Indices of `n_points` paths, each drawn floor or ceil of `n_points * weight` times, in expectation exactly."""
    cumulative = (weight / weight.sum()).cumsum(0)
    ticks = (torch.arange(n_points, dtype=torch.float64, device=CPU) + _uniform(generator)) / n_points
    return torch.searchsorted(cumulative, ticks, right=True).clamp(max=len(weight) - 1)


def _uniform(generator: torch.Generator) -> Tensor:
    return torch.rand((), generator=generator, dtype=torch.float64, device=CPU)


def interpolate(inputs: Tensors, starts: Tensors, alpha: Tensor) -> Tensors:
    """Points `start + alpha * (input - start)` for matching rows (P, ...), in the dtype of the input.

    Half precision is widened for the arithmetic: alpha itself would lose three of its digits.
    """
    points = []
    for value, start in zip(inputs, starts, strict=True):
        wide = accumulation_dtype(value.dtype)
        origin = start.to(wide)
        point = origin + as_column(alpha, value) * (value.to(wide) - origin)  # Captum's order: the same rounding
        points.append(point.to(value.dtype))
    return tuple(points)
