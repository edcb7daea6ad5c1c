"""The adaptive rule: put the next gradient where the integral is known to be wrong.

The pass that takes a gradient also gives the score at its point. Between two neighbouring points on a path the
integral of the derivative is therefore known exactly, as the difference of their scores, and so is the error of
the trapezoid rule there. The interval with the largest error is halved, until the budget is spent or the sum of the
errors, which is the completeness gap, is small enough.

The gradients of a path are kept until its last point is placed, since halving an interval changes the weight of its
ends: paths are therefore finished in groups: as many as fill the row limit with new points, but no more than whose
gradients fit into 256 MB.
"""

from __future__ import annotations

import torch
from torch import Tensor

from captum_ext.attr.paths.integration import PathIntegral, displacement, path_start_scores, starting_scores
from captum_ext.attr.paths.points import CPU, accumulation_dtype, as_column, interpolate
from captum_ext.core.model import in_chunks
from captum_ext.core.rows import for_each_chunk
from captum_ext.core.types import Tensors

MINIMAL_STEPS = 3

# Chosen on crops of scikit-image's photographs, none of which examples/benchmarks/adaptive.py reports on.
_FIRST_SHARE = 0.4
_ROUNDS = 8
_KEPT_BYTES = 256 * 2**20


def integrate_adaptively(problem: PathIntegral, n_steps: int, tol: float | None = None) -> Tensors:
    """Like `integrate`, with at most `n_steps` points on every path, placed one round after the other.

    With `tol`, a path stops when its gap is at most `tol` times the difference of scores that its row explains: then so
    is the row's, since the weights of its paths sum to one. Where the paths' integrals are kept apart, every path
    answers for its own difference.
    """
    total = problem.zeros()
    row, path = problem.starts.weight.nonzero(as_tuple=True)
    where, weight = problem.destination(row, path), problem.starts.weight[row, path]
    if problem.slots is not None:
        weight = torch.ones_like(weight)
    allowed = None if tol is None else tol * _explained(problem, row).abs().double().cpu()
    group_size = _group_size(problem, n_steps)
    for first in range(0, len(row), group_size):
        part = slice(first, first + group_size)
        group = _Group(problem, row[part], path[part], n_steps)
        group.refine(None if allowed is None else allowed[part])
        group.add_to(total, where[part], weight[part])
    return total


def _explained(problem: PathIntegral, row: Tensor) -> Tensor:
    """Difference of scores (Q,) that each path's row explains, or the path itself where integrals are kept apart."""
    used, position = torch.unique(row, return_inverse=True)

    def scores(part: slice) -> Tensor:
        return problem.model.scores(tuple(v[used[part].to(v.device)] for v in problem.inputs), used[part])

    end = in_chunks(len(used), problem.limit, scores)[position]
    return end - (starting_scores(problem)[row] if problem.slots is None else path_start_scores(problem))


def _group_size(problem: PathIntegral, n_steps: int) -> int:
    row_bytes = sum(value[0].numel() * accumulation_dtype(value.dtype).itemsize for value in problem.inputs)
    by_memory = _KEPT_BYTES // max(1, n_steps * row_bytes)
    return max(1, min(by_memory, problem.limit.rows // _points_a_round(n_steps)))


def _points_a_round(n_steps: int) -> int:
    return max(1, round(n_steps * (1 - _FIRST_SHARE) / _ROUNDS))


class _Group:
    """Paths that are refined together; slot (g, k) holds the k-th point that was placed on path g."""

    def __init__(self, problem: PathIntegral, row: Tensor, path: Tensor, n_steps: int) -> None:
        self.problem, self.row, self.path = problem, row, path
        self.n_steps = n_steps
        self.n_first = max(MINIMAL_STEPS - 1, round(n_steps * _FIRST_SHARE))
        shape = (len(row), n_steps)
        self.alpha = torch.full(shape, torch.inf, dtype=torch.float64, device=CPU)
        self.score = torch.zeros(shape, dtype=torch.float64, device=CPU)
        self.slope = torch.zeros(shape, dtype=torch.float64, device=CPU)
        self.placed = torch.zeros(len(row), dtype=torch.long, device=CPU)
        self.gradients = tuple(
            torch.empty(*shape, *value.shape[1:], dtype=accumulation_dtype(value.dtype), device=value.device)
            for value in problem.inputs
        )

    def refine(self, allowed: Tensor | None) -> None:
        """Place points until they are spent or, with `allowed` (G,), every path's gap is at most that."""
        first = torch.linspace(0, 1, self.n_first, dtype=torch.float64, device=CPU)
        everyone = torch.arange(len(self.row), device=CPU)
        self._place(everyone.repeat_interleave(len(first)), first.repeat(len(everyone)))
        while True:
            order, widths, errors = self._intervals()
            open_paths = self.placed < self.n_steps
            if allowed is not None:
                open_paths &= errors.sum(1).abs() > allowed
            if not bool(open_paths.any()):
                return
            self._place(*self._next_points(open_paths, order, widths, errors))

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
            paths.append(torch.full((count,), path, device=CPU))
        return torch.cat(paths), torch.cat(alphas)

    def _place(self, path: Tensor, alpha: Tensor) -> None:
        """Take score and gradient at `alpha` (P,) on `path` (P,), grouped by path, and fill the next slots."""
        offset = torch.arange(len(path), device=CPU) - torch.searchsorted(path, path)
        slot = self.placed[path] + offset
        problem = self.problem

        def evaluate(part: slice) -> None:
            where = (path[part], slot[part])
            row = self.row[path[part]]
            inputs, starts = problem.ends_of(row, self.path[path[part]])
            scores, gradients = problem.model.scores_and_gradients(interpolate(inputs, starts, alpha[part]), row)
            slope = torch.zeros(len(row), dtype=torch.float64, device=CPU)
            for kept, gradient, value, start in zip(self.gradients, gradients, inputs, starts, strict=True):
                wide = gradient.to(kept.dtype)
                kept[where[0].to(kept.device), where[1].to(kept.device)] = wide
                slope += (wide * displacement(value, start)).reshape(len(row), -1).sum(1).double().cpu()
            self.alpha[where], self.score[where], self.slope[where] = alpha[part], scores.double().cpu(), slope

        for_each_chunk(len(path), problem.limit, evaluate, problem.on_done)
        self.placed += torch.bincount(path, minlength=len(self.placed))

    def add_to(self, total: Tensors, where: Tensor, path_weight: Tensor) -> None:
        """Add each path's attributions by the trapezoid rule, times its weight (G,), to place `where` (G,) of
        `total`."""
        order, widths, _ = self._intervals()
        weights = torch.zeros_like(self.alpha)
        weights[:, :-1] += widths / 2
        weights[:, 1:] += widths / 2
        weights = torch.zeros_like(weights).scatter_(1, order, weights)
        ends = self.problem.ends_of(self.row, self.path)
        for path in range(len(self.row)):
            n_placed = int(self.placed[path])
            for sums, kept, value, start in zip(total, self.gradients, *ends, strict=True):
                weight = as_column(weights[path, :n_placed] * path_weight[path], kept[path, :n_placed])
                contribution = (kept[path, :n_placed] * weight).sum(0)
                if self.problem.multiply_by_inputs:
                    contribution *= displacement(value[path], start[path])
                sums[where[path]] += contribution
