"""Sums of weight * gradient * displacement over the points of a plan, whole batch by whole batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from captum_ext.attr.paths.points import Points, interpolate
from captum_ext.attr.paths.starts import Starts
from captum_ext.core.chunks import RowLimit, for_each_chunk, in_chunks
from captum_ext.core.devices import double, on_device
from captum_ext.core.model import BatchedModel
from captum_ext.core.request import Request
from captum_ext.core.rows import count_batches, step_by_step
from captum_ext.core.tensors import Sums, accumulation_dtype, as_column, displacement
from captum_ext.core.types import Tensors
from captum_ext.exceptions import OutputRowsError

#: Told after each chunk how many gradients it took.
OnDone: TypeAlias = Callable[[int], object]


@dataclass(frozen=True)
class PathProblem:
    """What is to be integrated: the model along the paths from the starts to the inputs of a request.

    Attributes:
        request: inputs, model and rows in flight.
        starts: where paths begin.
        multiply_by_inputs: whether gradients are multiplied by input minus start.
        on_done: told after each chunk how many gradients it took.
    """

    request: Request
    starts: Starts
    multiply_by_inputs: bool = True
    on_done: OnDone | None = None

    @property
    def model(self) -> BatchedModel:
        """The model on the request's rows."""
        return self.request.model

    @property
    def inputs(self) -> Tensors:
        """Where paths end, (N, ...)."""
        return self.request.inputs

    @property
    def limit(self) -> RowLimit:
        """Rows in flight."""
        return self.request.limit

    def ends_of(self, row: Tensor, path: Tensor) -> tuple[Tensors, Tensors]:
        """Input and starting point (P, ...) of path `path` (P,) of row `row` (P,), copies."""
        inputs = tuple(value[on_device(row, value.device)] for value in self.inputs)
        return inputs, self.starts.at(self.starts.index[row, path], self.inputs)


def integrate(problem: PathProblem, points: Points) -> Tensors:
    """Sum for each row (N, ...) over the plan of weight * gradient, times input minus start unless that is off."""
    if not problem.multiply_by_inputs or problem.starts.index.shape[1] > 1:
        multiply = problem.multiply_by_inputs
        return _summed(problem, points, points.row, points.weight, problem.request.n_rows, multiply).result()
    sums = _summed(problem, points, points.row, points.weight, problem.request.n_rows, False)
    for first in range(0, problem.request.n_rows, problem.limit.rows):
        part = slice(first, first + problem.limit.rows)
        rows = problem.request.rows[part]
        ends = problem.ends_of(rows, torch.zeros_like(rows))
        sums.scale(part, tuple(displacement(value, start) for value, start in zip(*ends, strict=True)))
    return sums.result()


def integrate_paths(problem: PathProblem, points: Points) -> Tensors:
    """Mean gradient (Q, ...) along every path, in the order of `starts.paths()`: no path's weight, no displacement."""
    where = problem.starts.numbers()[points.row, points.path]
    weight = points.weight / problem.starts.weight[points.row, points.path]
    return _summed(problem, points, where, weight, len(problem.starts), False).result()


def _summed(problem: PathProblem, points: Points, where: Tensor, weight: Tensor, n_sums: int, multiply: bool) -> Sums:
    """Sums (n_sums, ...) at the places `where` (P,); no more points exist at once than the problem's limit allows.

    If the model returns another number of rows than it was given, its rows are not those of the inputs (a sequence with
    time first, nodes of a graph): then it gets one whole batch at a time, and everything is done again.
    """
    try:
        return _summed_once(problem, points, where, weight, n_sums, multiply)
    except OutputRowsError:
        if problem.limit.indivisible:
            raise
        problem.limit.indivisible = True
        try:
            return _summed_once(problem, points, where, weight, n_sums, multiply)
        except OutputRowsError:
            problem.limit.indivisible = False
            raise


def _summed_once(
    problem: PathProblem, points: Points, where: Tensor, weight: Tensor, n_sums: int, multiply: bool
) -> Sums:
    sums = Sums(problem.inputs, n_sums)
    pad = problem.limit.indivisible or problem.request.n_rows <= problem.limit.rows
    order, counts = step_by_step(points.row, problem.request.n_rows, pad=pad)
    all_count = bool(counts.all())
    are_batches = count_batches(points.row[order], problem.request.n_rows) is not None

    def add(part: slice) -> None:
        chosen = order[part]
        chunk, place = points[chosen], where[chosen]
        inputs, starts = problem.ends_of(chunk.row, chunk.path)
        gradients = problem.model.gradients(interpolate(inputs, starts, chunk.alpha), chunk.row)
        contributions = []
        for gradient, value, start in zip(gradients, inputs, starts, strict=True):
            contribution = gradient.to(accumulation_dtype(value.dtype)) * as_column(weight[chosen], value)
            if multiply:
                contribution *= displacement(value, start)
            contributions.append(contribution)
        if not all_count:
            kept = counts[part]
            places = kept.nonzero().squeeze(1)
            place, contributions = place[kept], [value[on_device(places, value.device)] for value in contributions]
        sums.add(place, tuple(contributions))  # last: a chunk may be tried again

    for_each_chunk(len(order), problem.limit, add, problem.on_done, batches=are_batches)
    return sums


def path_start_scores(problem: PathProblem) -> Tensor:
    """Score (Q,) at the start of each of the Q paths that exist, in the order of `starts.paths()`.

    A starting point shared by rows is evaluated once, unless forward arguments make the score depend on the row.
    """
    model, starts, request = problem.model, problem.starts, problem.request
    row, path = starts.paths()
    index = starts.index[row, path]
    is_whole_batch = starts.index.shape[1] == 1 and request.n_rows <= problem.limit.rows  # as Captum evaluates it
    if not (model.depends_on_row or problem.limit.indivisible or is_whole_batch):
        return _shared_start_scores(problem, row, index)

    def scores(points: Tensor, rows: Tensor) -> Tensor:
        return model.scores(starts.at(index[points], problem.inputs), rows)

    return request.evaluate(row, scores, pad=True)


def _shared_start_scores(problem: PathProblem, row: Tensor, index: Tensor) -> Tensor:
    """Scores (Q,) of rows (Q,) at starting points `index` (Q,), each of which is evaluated once for all its rows."""
    model = problem.model
    used, position = torch.unique(index, return_inverse=True)
    alone = model.elsewhere(len(used))

    def outputs(part: slice) -> Tensor:
        points = problem.starts.at(used[part], problem.inputs)
        return alone.outputs(points, torch.arange(part.start, part.stop, device="cpu"))

    at_starts = in_chunks(len(used), problem.limit.for_batch(len(used)), outputs, batches=True)
    return model.select(at_starts[on_device(position, at_starts.device)], row)


def starting_scores(problem: PathProblem) -> Tensor:
    """Mean score (N,) of each row's starting points by their weights: what the attributions start from."""
    weight = problem.starts.weight
    row, path = problem.starts.paths()
    scores = double(path_start_scores(problem))
    weighted = scores * weight[row, path].to(scores.device)
    return torch.zeros(len(weight), dtype=weighted.dtype, device=weighted.device).index_add_(
        0, row.to(weighted.device), weighted
    )


def explained_scores(problem: PathProblem) -> Tensor:
    """Score (N,) at the end of each row's paths minus that which they start from, float64 on the CPU."""
    begin, end = starting_scores(problem).cpu(), double(problem.request.scores).cpu()
    return end - begin
