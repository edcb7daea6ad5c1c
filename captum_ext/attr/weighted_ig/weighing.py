"""One computation of Weighted Integrated Gradients: maps of all references, their fitness, and the weighted sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_ext.attr.paths.errors import bytes_of_errors
from captum_ext.attr.paths.integration import PathProblem
from captum_ext.attr.paths.plan import Plan
from captum_ext.attr.paths.points import drawn_paths
from captum_ext.attr.weighted_ig.fitness import Fitness, ScoreFunc, Search
from captum_ext.core.fills import Fill
from captum_ext.core.pixels import Pixels
from captum_ext.core.request import Request
from captum_ext.core.tensors import Sums, accumulation_dtype, as_column, displacement
from captum_ext.core.types import Tensors
from captum_ext.core.warn import warn_caller

# The maps of all references of an input are kept until they are weighted: so many bytes of them at once.
_KEPT_BYTES = 256 * 2**20
_ROUNDING = 1e-9
_MOST_NAMED = 10


@dataclass(frozen=True)
class Rule:
    """How references are weighed; see `WeightedIntegratedGradients`.

    Attributes:
        fill: what replaces removed pixels, of a problem in which several references are compared.
        score: what is to fall.
        alpha: share of it that is left at D.
        keep: share of the mean weight below which weights become zero.
        ranking: "signed" or "absolute".
        search: for D.
    """

    fill: Callable[[PathProblem], Fill]
    score: str | ScoreFunc | None
    alpha: float
    keep: float | None
    ranking: str
    search: Search


class Weighing:
    """One computation: the map of every reference of every input, its fitness, and the weighted sums.

    Inputs are taken in groups whose maps fit into memory; within a group, every round of the search asks for all
    references of all inputs at once.
    """

    def __init__(self, rule: Rule, problem: PathProblem, plan: Plan) -> None:
        starts = problem.starts
        if plan.is_shared:
            starts = drawn_paths(starts, plan.n_steps, plan.generators)
        self.rule, self.problem, self.starts, self.plan = rule, problem, starts, plan
        self.limit = problem.limit
        self.pixels = Pixels(problem.inputs)
        exists = starts.weight > 0
        self.weight = torch.zeros_like(starts.weight)
        self.removed = torch.zeros(exists.shape, dtype=torch.long, device="cpu")
        self.dropped = torch.zeros(len(exists), dtype=torch.long, device="cpu")
        self.n_gradients = torch.zeros(len(exists), dtype=torch.long, device="cpu")
        self.sums = Sums(problem.inputs, len(exists))
        self._errors: list[Tensors] = []
        self.fitness: Fitness | None = None  # one reference each: nothing to weigh
        if bool((exists.sum(1) > 1).any()):
            self.fitness = Fitness(problem.request, rule.fill(problem), rule.score, rule.alpha)
        for rows in self._groups(exists):
            self._weigh(rows)
        self.informative = self._informative()

    def _groups(self, exists: Tensor) -> Iterator[Tensor]:
        row_bytes = sum(value[0].numel() * accumulation_dtype(value.dtype).itemsize for value in self.problem.inputs)
        if self.plan.standard_error:
            row_bytes += bytes_of_errors(self.problem.inputs, self.plan.standard_error)
        size = max(1, _KEPT_BYTES // max(1, row_bytes * exists.shape[1]))
        if self.problem.request.fills_batches:  # a batch that has to be whole
            size = len(exists)
        yield from torch.split(torch.arange(len(exists), device="cpu"), size)

    def _weigh(self, rows: Tensor) -> None:
        """Maps, weights and sums of a group of rows."""
        marked = torch.zeros(len(self.weight), dtype=torch.bool, device="cpu")
        marked[rows] = True
        part_of = self.problem
        problem = PathProblem(part_of.request, self.starts.only(marked), part_of.multiply_by_inputs, part_of.on_done)
        row, path = problem.starts.paths()
        outcome = self.plan.integrate_paths(problem)
        gradients = outcome.sums
        self.n_gradients += outcome.n_gradients
        self.removed[row, path] = self._removed(problem, gradients, row, path)
        self.weight[rows], self.dropped[rows] = weights_of(self.removed[rows], self.rule.keep)
        for part in _parts(len(row), self.limit.rows):
            maps = self._maps(problem, gradients, row, path, part, problem.multiply_by_inputs)
            shares = self.weight[row[part], path[part]]
            self.sums.add(row[part], tuple(values * as_column(shares, values) for values in maps))
        if outcome.spread is not None and outcome.freedom is not None:
            weighted = outcome.spread.weighted(self.weight[row, path], row - int(rows[0]), len(rows))
            self._errors.append(weighted.of_sums(problem.inputs, outcome.freedom[rows]))

    def errors(self) -> Tensors:
        """Standard errors of the weighted sums, at these weights."""
        return tuple(torch.cat(same) for same in zip(*self._errors, strict=True))

    def _informative(self) -> Tensor:
        """Rows (N,) whose weights say something of their references; warnings name the others."""
        exists, n_pixels = self.starts.weight > 0, self.pixels.count
        says_nothing = (exists.sum(1) > 1) & ((self.removed == n_pixels) | ~exists).all(1)
        left_out = torch.zeros_like(says_nothing)
        left_out[sorted(self.problem.request.left_out.rows)] = True
        named = says_nothing & ~left_out
        if self.fitness is not None and bool(named.any()):
            goal, reachable = f"its goal (alpha={self.rule.alpha:g})", self.fitness.reachable
            self._warn(
                named & ~reachable,
                lambda rows: (
                    f"The score of {rows} is above {goal} with all {n_pixels} pixels replaced (or is not above "
                    "it with none), so that no number of pixels is sure to bring it there"
                ),
            )
            self._warn(
                named & reachable,
                lambda rows: (
                    f"The order of no reference brings the score of {rows} to {goal} before all {n_pixels} "
                    "pixels are replaced"
                ),
            )
        return ~(says_nothing | left_out)

    def _warn(self, named: Tensor, said: Callable[[str], str]) -> None:
        rows = named.nonzero().squeeze(1).tolist()
        if rows:
            listed = ", ".join(map(str, rows[:_MOST_NAMED])) + (", ..." if len(rows) > _MOST_NAMED else "")
            warn_caller(
                f"{said(f'{len(rows)} of {len(named)} inputs (row {listed})')}: D is taken as that number for all "
                "their references, whose equal weights say nothing of them (`evaluate_baselines(...).informative`). "
                "Another `fill` or `score` may."
            )

    def _removed(self, problem: PathProblem, gradients: Tensors, row: Tensor, path: Tensor) -> Tensor:
        """D (Q,) of each path; one where an input has one reference only."""
        removed = torch.ones(len(row), dtype=torch.long, device="cpu")
        several = ((self.starts.weight > 0).sum(1) > 1)[row]
        if self.fitness is None or not bool(several.any()):
            return removed
        importance = torch.cat(
            [
                self._importance(self._maps(problem, gradients, row, path, part, True), row[part])
                for part in _parts(len(row), self.limit.rows)
            ]
        )
        importance = _finite(problem.request, importance, row, path)
        removed[several] = self.fitness.fewest_pixels(
            importance[several.to(importance.device)], row[several], self.rule.search
        )
        return removed

    def _importance(self, maps: Tensors, row: Tensor) -> Tensor:
        """By what pixels are ranked, (P, n)."""
        if self.rule.ranking == "absolute":
            maps = tuple(values.abs() for values in maps)
        return self.pixels.totals(maps, row)

    @staticmethod
    def _maps(
        problem: PathProblem, gradients: Tensors, row: Tensor, path: Tensor, part: slice, multiply: bool
    ) -> Tensors:
        """Maps of the paths in `part`: mean gradients, times input minus reference unless switched off."""
        chosen = tuple(values[part] for values in gradients)
        if not multiply:
            return chosen
        ends = problem.ends_of(row[part], path[part])
        return tuple(values * displacement(value, start) for values, value, start in zip(chosen, *ends, strict=True))


def weights_of(removed: Tensor, keep: float | None) -> tuple[Tensor, Tensor]:
    """Weights (N, K) in proportion to 1 / D, zero where D is zero, and how many (N,) `keep` set to zero."""
    exists = removed > 0
    fitness = torch.where(exists, 1 / removed.clamp(min=1).double(), 0.0)
    weight = fitness / fitness.sum(1, keepdim=True)
    if keep is None:
        return weight, torch.zeros(len(weight), dtype=torch.long, device="cpu")
    least = keep * (1 - _ROUNDING) / exists.sum(1, keepdim=True).double()  # equal weights are no less than their mean
    kept = weight >= least
    weight = torch.where(kept, weight, 0.0)
    return weight / weight.sum(1, keepdim=True), (exists & ~kept).sum(1)


def _finite(request: Request, importance: Tensor, row: Tensor, path: Tensor) -> Tensor:
    """The importance (Q, n) of pixels along paths (Q,); rows where it is not finite are met."""
    for bad in (~importance.isfinite()).any(1).nonzero().squeeze(1).tolist():
        where = f"the map of row {int(row[bad])} from its reference {int(path[bad])}"
        request.left_out.meet(int(row[bad]), "forward_func", "of finite gradients", f"NaN or infinity in {where}")
    return importance.nan_to_num() if request.left_out.rows else importance


def _parts(length: int, size: int) -> Iterator[slice]:
    for first in range(0, length, size):
        yield slice(first, min(first + size, length))
