"""The adaptive rule: put the next gradient where the integral is known to be wrong.

The pass that takes a gradient also gives the score at its point. Between two neighbouring points on a path the
integral of the derivative is therefore known exactly, as the difference of their scores, and so is the error of
the trapezoid rule there. The intervals with the largest errors are halved, until the budget is spent or the sum of the
errors, which is the completeness gap, is small enough.

The gradients of a path are kept until its last point is placed, since halving an interval changes the weight of its
ends: paths are therefore finished in groups: as many as fill the row limit with new points, but no more than whose
gradients fit into 256 MB (with a tolerance, the first 64 of each: few paths need more). Paths part ways, so that rows
are taken out of their batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from captum_ext.attr.paths.errors import ErrorSums
from captum_ext.attr.paths.integration import PathProblem, path_start_scores, starting_scores
from captum_ext.attr.paths.points import interpolate
from captum_ext.core.chunks import for_each_chunk, in_chunks
from captum_ext.core.devices import CPU, double, doubles, on_device
from captum_ext.core.tensors import Sums, accumulation_dtype, as_column, displacement, row_sum
from captum_ext.core.types import Tensors
from captum_ext.core.warn import warn_caller

MINIMAL_STEPS = 3
_KEPT_BYTES = 256 * 2**20
_EXPECTED = 64  # gradients of a path that may stop early


@dataclass(frozen=True)
class Pace:
    """How fast points are placed: so many first, equally spaced, and then so many a round, at least.

    Without a tolerance all points will be spent, and rounds are as large as serves the result; their shares were chosen
    on crops of scikit-image's photographs, none of which examples/benchmarks/measurements/adaptive.py reports on. With
    a tolerance every point beyond what is needed is wasted: rounds are small, and grow with the points that were not
    enough (examples/benchmarks/measurements/tolerance.py has what they cost).
    """

    first: int
    a_round: int
    slots: int
    growth: float = 0.0

    @classmethod
    def of(cls, n_steps: int, tol: float | None) -> Pace:
        """The pace for a budget, with or without a tolerance."""
        if tol is not None:
            return cls(min(6, n_steps), 3, min(n_steps, _EXPECTED), 1 / 8)
        return cls(max(MINIMAL_STEPS - 1, round(n_steps * 0.4)), max(1, round(n_steps * 0.6 / 8)), n_steps)

    def next_round(self, placed: int) -> int:
        """Points of the next round on a path with so many."""
        return max(self.a_round, int(placed * self.growth))


@dataclass(frozen=True)
class Outcome:
    """What the rule came to.

    Attributes:
        sums: attributions (N, ...), or mean gradients (Q, ...) of every path.
        n_gradients: (N,) that each row took.
        errors: standard errors of the attributions, where the plan asks for them.
        spread: instead, for maps of paths, the parts of the variance of each.
        freedom: (N,) that belongs to it.
    """

    sums: Tensors
    n_gradients: Tensor
    errors: Tensors | None = None
    spread: ErrorSums | None = None
    freedom: Tensor | None = None


def integrate_adaptively(problem: PathProblem, n_steps: int, tol: float | None = None) -> Outcome:
    """Attributions of every row, with at most `n_steps` points on every path, placed one round after the other.

    With `tol`, a path stops when its gap is at most `tol` times the difference of scores that its row explains: then so
    is the row's, since the weights of its paths sum to one.
    """
    row, path = problem.starts.paths()
    explained = None if tol is None else _end_scores(problem)[row] - starting_scores(problem).cpu()[row]
    sums = Sums(problem.inputs, problem.request.n_rows)
    into = _Into(sums, row, problem.starts.weight[row, path], problem.multiply_by_inputs)
    return Outcome(*_refined(problem, n_steps, tol, explained, into))


def integrate_paths_adaptively(problem: PathProblem, n_steps: int, tol: float | None = None) -> Outcome:
    """Mean gradient of every path; with `tol`, each answers for the difference of scores along itself."""
    row, _ = problem.starts.paths()
    explained = None if tol is None else _end_scores(problem)[row] - double(path_start_scores(problem)).cpu()
    places, weight = torch.arange(len(row), device=CPU), torch.ones(len(row), dtype=torch.float64, device=CPU)
    into = _Into(Sums(problem.inputs, len(row)), places, weight, False)
    return Outcome(*_refined(problem, n_steps, tol, explained, into))


@dataclass(frozen=True)
class _Into:
    """Where the integral of each path (Q,) is added, times which weight, and whether times input minus start."""

    sums: Sums
    places: Tensor
    weight: Tensor
    multiply: bool


def _end_scores(problem: PathProblem) -> Tensor:
    """Scores (N,) of the rows that have a path, where it ends; zero for others."""
    used = (problem.starts.weight > 0).any(1).nonzero().squeeze(1)

    def scores(part: slice) -> Tensor:
        points = tuple(value[on_device(used[part], value.device)] for value in problem.inputs)
        return problem.model.scores(points, used[part])

    result = torch.zeros(problem.request.n_rows, dtype=torch.float64, device=CPU)
    result[used] = double(in_chunks(len(used), problem.limit, scores)).cpu()
    return result


def _refined(
    problem: PathProblem, n_steps: int, tol: float | None, explained: Tensor | None, into: _Into
) -> tuple[Tensors, Tensor]:
    """The sums of all paths (Q,), each refined until its gap is `tol` of what it has to explain (Q,), and the gradients
    (N,) that every row took."""
    pace = Pace.of(n_steps, tol)
    row, path = problem.starts.paths()
    taken = torch.zeros(problem.request.n_rows, dtype=torch.long, device=CPU)
    n_capped, size = 0, _group_size(problem, pace)
    for first in range(0, len(row), size):
        part = slice(first, first + size)
        group = _Group(problem, row[part], path[part], n_steps, pace)
        n_capped += group.refine(None if tol is None or explained is None else tol * explained[part].abs())
        group.add_to(into, part)
        taken.index_add_(0, row[part], group.placed)
    if n_capped:
        warn_caller(
            f"{n_capped} of {len(row)} paths took all {n_steps} gradients of `n_steps` and are further from complete "
            "than `tol`: their rows' convergence delta says how far. Raise n_steps."
        )
    return into.sums.result(), taken


def _group_size(problem: PathProblem, pace: Pace) -> int:
    row_bytes = sum(value[0].numel() * accumulation_dtype(value.dtype).itemsize for value in problem.inputs)
    by_memory = _KEPT_BYTES // max(1, pace.slots * row_bytes)
    return max(1, min(by_memory, problem.limit.rows // pace.a_round))


class _Group:
    """Paths that are refined together; slot (g, k) holds the k-th point that was placed on path g."""

    def __init__(self, problem: PathProblem, row: Tensor, path: Tensor, n_steps: int, pace: Pace) -> None:
        self.problem, self.row, self.path = problem, row, path
        self.n_steps, self.pace = n_steps, pace
        shape = (len(row), pace.slots)
        self.alpha = torch.full(shape, torch.inf, dtype=torch.float64, device=CPU)
        self.score = torch.zeros(shape, dtype=torch.float64, device=CPU)
        self.slope = torch.zeros(shape, dtype=torch.float64, device=CPU)
        self.placed = torch.zeros(len(row), dtype=torch.long, device=CPU)
        self.gradients = tuple(
            torch.empty(*shape, *value.shape[1:], dtype=accumulation_dtype(value.dtype), device=value.device)
            for value in problem.inputs
        )

    def refine(self, allowed: Tensor | None) -> int:
        """Place points until they are spent or, with `allowed` (G,), every path's gap is at most that; how many paths
        spent all and have a larger gap."""
        first = torch.linspace(0, 1, self.pace.first, dtype=torch.float64, device=CPU)
        everyone = torch.arange(len(self.row), device=CPU)
        self._place(everyone.repeat_interleave(len(first)), first.repeat(len(everyone)))
        while True:
            order, widths, errors = self._intervals()
            wrong = torch.ones_like(everyone, dtype=torch.bool)
            if allowed is not None:
                wrong = errors.sum(1).abs() > allowed
            has_points_left = self.placed < self.n_steps
            if not bool((wrong & has_points_left).any()):
                return 0 if allowed is None else int((wrong & ~has_points_left).sum())
            self._place(*self._next_points(wrong & has_points_left, order, widths, errors))

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
            count = min(self.pace.next_round(placed), self.n_steps - placed, placed - 1)
            chosen = worst[path, :count]
            left = self.alpha[path, order[path, chosen]]
            alphas.append(left + widths[path, chosen] / 2)
            paths.append(torch.full((count,), path, device=CPU))
        return torch.cat(paths), torch.cat(alphas)

    def _place(self, path: Tensor, alpha: Tensor) -> None:
        """Take score and gradient at `alpha` (P,) on `path` (P,), grouped by path, and fill the next slots."""
        offset = torch.arange(len(path), device=CPU) - torch.searchsorted(path, path)
        slot = self.placed[path] + offset
        while int(slot.max()) >= self.alpha.shape[1]:
            self._make_room()
        problem = self.problem

        def evaluate(part: slice) -> None:
            where = (path[part], slot[part])
            row = self.row[path[part]]
            inputs, starts = problem.ends_of(row, self.path[path[part]])
            scores, gradients = problem.model.scores_and_gradients(interpolate(inputs, starts, alpha[part]), row)
            slopes = []
            for kept, gradient, value, start in zip(self.gradients, gradients, inputs, starts, strict=True):
                wide = gradient.to(kept.dtype)
                kept[on_device(where[0], kept.device), on_device(where[1], kept.device)] = wide
                slopes.append(wide * displacement(value, start))
            score, *slope = doubles(scores, *(row_sum(value) for value in slopes))
            self.alpha[where], self.score[where], self.slope[where] = alpha[part], score, torch.stack(slope).sum(0)

        for_each_chunk(len(path), problem.limit, evaluate, problem.on_done)
        self.placed += torch.bincount(path, minlength=len(self.placed))

    def _make_room(self) -> None:
        """Twice as many slots, `n_steps` at the most."""
        n_slots = self.alpha.shape[1]
        more = min(n_slots, self.n_steps - n_slots)
        self.alpha = torch.nn.functional.pad(self.alpha, (0, more), value=torch.inf)
        self.score = torch.nn.functional.pad(self.score, (0, more))
        self.slope = torch.nn.functional.pad(self.slope, (0, more))
        self.gradients = tuple(
            torch.cat([kept, kept.new_empty(len(kept), more, *kept.shape[2:])], 1) for kept in self.gradients
        )

    def add_to(self, into: _Into, part: slice) -> None:
        """Add each path's integral by the trapezoid rule; `part` are the group's paths among all."""
        order, widths, _ = self._intervals()
        weights = torch.zeros_like(self.alpha)
        weights[:, :-1] += widths / 2
        weights[:, 1:] += widths / 2
        weights = torch.zeros_like(weights).scatter_(1, order, weights) * into.weight[part, None]
        inputs, starts = self.problem.ends_of(self.row, self.path)
        for path, place in enumerate(torch.split(into.places[part], 1)):
            n_placed, contributions = int(self.placed[path]), []
            for kept, value, start in zip(self.gradients, inputs, starts, strict=True):
                weight = as_column(weights[path, :n_placed], kept[path, :n_placed])
                contribution = (kept[path, :n_placed] * weight).sum(0, keepdim=True)
                if into.multiply:
                    contribution *= displacement(value[path : path + 1], start[path : path + 1])
                contributions.append(contribution)
            into.sums.add(place, tuple(contributions))
