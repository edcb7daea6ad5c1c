"""The adaptive rule: put the next gradient where the integral is known to be wrong.

The pass that takes a gradient also gives the score at its point. Between two neighbouring points on a path the
integral of the derivative is therefore known exactly, as the difference of their scores, and so is the error of
the trapezoid rule there. The interval with the largest error is halved, until the budget is spent or the sum of the
errors, which is the completeness gap, is small enough.

The gradients of a path are kept until its last point is placed, since halving an interval changes the weight of its
ends: paths are therefore finished in groups, as many at once as fill the row limit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from captum_ext._rows import for_each_chunk
from captum_ext._types import Tensors
from captum_ext.attr._integration import PathIntegral, displacement
from captum_ext.attr._paths import Points, accumulation_dtype, as_column, interpolate

MINIMAL_STEPS = 3

# Settings chosen on twelve crops of photographs from scikit-image, none of which the benchmark reports on
# (examples/benchmarks/lpi/adaptive_rule.py says more): 10 to 33 first points and 1 to 8 a round differ little.
_FIRST_SHARE = 0.4
_ROUNDS = 8


def integrate_adaptively(problem: PathIntegral, n_steps: int, tol: float | None = None) -> Tensors:
    """Like `integrate`, with at most `n_steps` points on every path, placed one round after the other.

    With `tol`, a path stops when its gap relative to its difference of scores is at most that.
    """
    total = problem.zeros()
    row, path = problem.starts.weight.nonzero(as_tuple=True)
    group_size = max(1, problem.limit.rows // _points_a_round(n_steps))
    for first in range(0, len(row), group_size):
        group = slice(first, first + group_size)
        start = problem.starts.index[row[group], path[group]]
        _Group(problem, row[group], start, n_steps).finish(total, problem.starts.weight[row[group], path[group]], tol)
    return total


def _points_a_round(n_steps: int) -> int:
    return max(1, round(n_steps * (1 - _FIRST_SHARE) / _ROUNDS))


class _Group:
    """Paths that are refined together; slot (g, k) holds the k-th point that was placed on path g."""

    def __init__(self, problem: PathIntegral, row: Tensor, start: Tensor, n_steps: int) -> None:
        self.problem, self.row, self.start = problem, row, start
        self.n_steps = n_steps
        self.n_first = max(MINIMAL_STEPS - 1, round(n_steps * _FIRST_SHARE))
        shape = (len(row), n_steps)
        self.alpha = torch.full(shape, torch.inf, dtype=torch.float64)
        self.score = torch.zeros(shape, dtype=torch.float64)
        self.slope = torch.zeros(shape, dtype=torch.float64)
        self.placed = torch.zeros(len(row), dtype=torch.long)
        self.gradients = tuple(
            torch.empty(*shape, *value.shape[1:], dtype=accumulation_dtype(value.dtype), device=value.device)
            for value in problem.inputs
        )

    def finish(self, total: Tensors, path_weight: Tensor, tol: float | None) -> None:
        """Place all points and add the paths' attributions to `total`."""
        first = torch.linspace(0, 1, self.n_first, dtype=torch.float64)  # slots 0 and n_first - 1 are the ends
        everyone = torch.arange(len(self.row))
        self._place(everyone.repeat_interleave(len(first)), first.repeat(len(everyone)))
        while True:
            order, widths, errors = self._intervals()
            open_paths = self.placed < self.n_steps
            if tol is not None:
                open_paths &= ~self._within(tol, errors)
            if not bool(open_paths.any()):
                break
            self._place(*self._next_points(open_paths, order, widths, errors))
        self._add_to(total, path_weight, order, widths)

    def _intervals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Slots in the order of alpha (G, n), and width and known error (G, n - 1) of the intervals between them.

        Slots without a point come last; the intervals that touch them have width and error zero.
        """
        order = self.alpha.argsort(dim=1, stable=True)
        alpha, score, slope = (values.gather(1, order) for values in (self.alpha, self.score, self.slope))
        exists = torch.isfinite(alpha[:, 1:])
        widths = torch.where(exists, alpha[:, 1:] - alpha[:, :-1], 0.0)
        trapezoid = widths * (slope[:, 1:] + slope[:, :-1]) / 2
        errors = torch.where(exists, trapezoid - (score[:, 1:] - score[:, :-1]), 0.0)
        return order, widths, errors

    def _within(self, tol: float, errors: Tensor) -> Tensor:
        """Which paths (G,) have a gap of at most `tol` times the difference of their end scores."""
        difference = self.score[:, self.n_first - 1] - self.score[:, 0]
        return errors.sum(1).abs() <= tol * difference.abs()

    def _next_points(self, open_paths: Tensor, order: Tensor, widths: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
        """Middles of the worst intervals of every open path: (path, alpha) for each new point."""
        worst = errors.abs().argsort(dim=1, descending=True, stable=True)
        paths, alphas = [], []
        for path in open_paths.nonzero().squeeze(1).tolist():
            placed = int(self.placed[path])
            count = min(_points_a_round(self.n_steps), self.n_steps - placed, placed - 1)
            chosen = worst[path, :count]
            left = self.alpha[path, order[path, chosen]]
            alphas.append(left + widths[path, chosen] / 2)
            paths.append(torch.full((count,), path))
        return torch.cat(paths), torch.cat(alphas)

    def _place(self, path: Tensor, alpha: Tensor) -> None:
        """Take score and gradient at `alpha` (P,) on `path` (P,), grouped by path, and fill the next slots."""
        offset = torch.arange(len(path)) - torch.searchsorted(path, path)
        slot = self.placed[path] + offset
        problem = self.problem

        def evaluate(part: slice) -> None:
            where = (path[part], slot[part])
            points = Points(self.row[path[part]], self.start[path[part]], alpha[part], torch.ones(0))
            inputs, starts = problem.ends_of(points)
            scores, gradients = problem.model.scores_and_gradients(
                interpolate(inputs, starts, points.alpha), points.row
            )
            slope = torch.zeros(len(points.row), dtype=torch.float64)
            for kept, gradient, value, start in zip(self.gradients, gradients, inputs, starts, strict=True):
                wide = gradient.to(kept.dtype)
                kept[where[0].to(kept.device), where[1].to(kept.device)] = wide
                slope += (wide * displacement(value, start)).flatten(1).sum(1).double().cpu()
            self.alpha[where], self.score[where], self.slope[where] = alpha[part], scores.double().cpu(), slope

        for_each_chunk(len(path), problem.limit, evaluate, problem.on_done)
        self.placed += torch.bincount(path, minlength=len(self.placed))

    def _add_to(self, total: Tensors, path_weight: Tensor, order: Tensor, widths: Tensor) -> None:
        """Add trapezoid sums, every path times its weight."""
        weights = torch.zeros_like(self.alpha)
        weights[:, :-1] += widths / 2
        weights[:, 1:] += widths / 2
        weights = torch.zeros_like(weights).scatter_(1, order, weights)
        ends = self.problem.ends_of(Points(self.row, self.start, path_weight, path_weight))
        for path in range(len(self.row)):
            n_placed = int(self.placed[path])
            for sums, kept, value, start in zip(total, self.gradients, *ends, strict=True):
                weight = as_column(weights[path, :n_placed] * path_weight[path], kept[path, :n_placed])
                contribution = (kept[path, :n_placed] * weight).sum(0)
                if self.problem.multiply_by_inputs:
                    contribution *= displacement(value[path], start[path])
                sums[self.row[path]] += contribution
