"""Sums of weight * gradient * displacement over the points of a plan, whole batch by whole batch, and their errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from captum_ext.attr.paths.contrasts import Contrasts
from captum_ext.attr.paths.errors import KEPT_BYTES, ErrorSums, Kinds, bytes_of_errors
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


@dataclass(frozen=True)
class _Summands:
    """What is added up: each of the points of a plan (P,), where among `n_sums` sums and with which weight, times input
    minus start or not.

    Attributes:
        contrasts: of the same points in the same order, where the error of the sums is estimated, too.
        kinds: of the errors: True for every element, "location" for sums over channels.
        all_rows: whether the points are of all rows of the request, not of some.
    """

    points: Points
    where: Tensor
    weight: Tensor
    n_sums: int
    multiply: bool
    contrasts: Contrasts | None = None
    kinds: Kinds = ()
    all_rows: bool = True


def integrate(problem: PathProblem, points: Points) -> Tensors:
    """Sum for each row (N, ...) over the plan of weight * gradient, times input minus start unless that is off."""
    return _integrated(problem, _of_rows(problem, points, problem.request.rows), problem.request.rows)[0]


def integrate_with_errors(problem: PathProblem, contrasts: Contrasts, kinds: Kinds) -> tuple[Tensors, list[Tensors]]:
    """Like `integrate`, and of each kind standard errors from the same passes, (N, ...) or (N, 1, ...).

    Rows are taken in groups whose sums fit into memory, unless they are in flight together anyway.
    """
    size = n_rows = problem.request.n_rows
    if not problem.request.fills_batches:
        row_bytes = sum(bytes_of_errors(problem.inputs, kind) for kind in kinds)
        size = max(problem.limit.rows, KEPT_BYTES // max(1, row_bytes))
    try:
        return _in_groups(problem, contrasts, kinds, size)
    except OutputRowsError:  # a batch that has to be whole
        if size >= n_rows:
            raise
        return _in_groups(problem, contrasts, kinds, n_rows)


def _in_groups(problem: PathProblem, contrasts: Contrasts, kinds: Kinds, size: int) -> tuple[Tensors, list[Tensors]]:
    """`integrate_with_errors`, so many rows at a time."""
    sums, errors, n_rows = [], [], problem.request.n_rows
    for rows in torch.split(problem.request.rows, size):
        chosen = torch.isin(contrasts.points.row, rows).nonzero().squeeze(1)
        some = contrasts if len(rows) == n_rows else contrasts.of(chosen)
        summands = replace(_of_rows(problem, some.points, rows), contrasts=some, kinds=kinds)
        part, spreads = _integrated(problem, summands, rows)
        sums.append(part)
        errors.append([one.of_sums(problem.inputs, contrasts.freedom[rows]) for one in spreads])
    return _joined(sums), [_joined(of_kind) for of_kind in zip(*errors, strict=True)]


def _joined(parts: Sequence[Tensors]) -> Tensors:
    """Rows of every tensor, one part after the other."""
    return tuple(torch.cat(same) for same in zip(*parts, strict=True))


def integrate_paths(problem: PathProblem, points: Points) -> Tensors:
    """Mean gradient (Q, ...) along every path, in the order of `starts.paths()`: no path's weight, no displacement."""
    return _summed(problem, _of_paths(problem, points))[0].result()


def integrate_paths_with_errors(
    problem: PathProblem, contrasts: Contrasts, kind: bool | str
) -> tuple[Tensors, ErrorSums]:
    """Like `integrate_paths`, and the parts of the error of every path's map, times input minus start unless that is
    off."""
    sums, errors = _summed(problem, replace(_of_paths(problem, contrasts.points), contrasts=contrasts, kinds=(kind,)))
    return sums.result(), errors[0]


def _of_paths(problem: PathProblem, points: Points) -> _Summands:
    where = problem.starts.numbers()[points.row, points.path]
    weight = points.weight / problem.starts.weight[points.row, points.path]
    return _Summands(points, where, weight, len(problem.starts), False)


def _of_rows(problem: PathProblem, points: Points, rows: Tensor) -> _Summands:
    """Of points that belong to the consecutive rows (n,)."""
    multiply = problem.multiply_by_inputs and problem.starts.index.shape[1] > 1  # of a single path, at the end
    first = int(rows[0]) if len(rows) else 0
    all_rows = len(rows) == problem.request.n_rows
    return _Summands(points, points.row - first, points.weight, len(rows), multiply, all_rows=all_rows)


def _integrated(problem: PathProblem, summands: _Summands, rows: Tensor) -> tuple[Tensors, list[ErrorSums]]:
    """Attributions of consecutive rows (n,), and the parts of their errors."""
    sums, errors = _summed(problem, summands)
    if problem.multiply_by_inputs and not summands.multiply:
        for first in range(0, len(rows), problem.limit.rows):
            part = slice(first, first + problem.limit.rows)
            ends = problem.ends_of(rows[part], torch.zeros_like(rows[part]))
            sums.scale(part, tuple(displacement(value, start) for value, start in zip(*ends, strict=True)))
    return sums.result(), errors


def _summed(problem: PathProblem, summands: _Summands) -> tuple[Sums, list[ErrorSums]]:
    """Sums (n_sums, ...) of the summands; no more points exist at once than the problem's limit allows.

    If the model returns another number of rows than it was given, its rows are not those of the inputs (a sequence with
    time first, nodes of a graph): then it gets one whole batch at a time, and everything is done again.
    """
    try:
        return _summed_once(problem, summands)
    except OutputRowsError:
        if problem.limit.indivisible or not summands.all_rows:
            raise
        problem.limit.indivisible = True
        try:
            return _summed_once(problem, summands)
        except OutputRowsError:
            problem.limit.indivisible = False
            raise


def _summed_once(problem: PathProblem, summands: _Summands) -> tuple[Sums, list[ErrorSums]]:
    points, contrasts = summands.points, summands.contrasts
    sums = Sums(problem.inputs, summands.n_sums)
    errors = [ErrorSums(problem.inputs, summands.n_sums, kind) for kind in summands.kinds]
    pad = problem.limit.indivisible or problem.request.n_rows <= problem.limit.rows
    order, counts = step_by_step(points.row, problem.request.n_rows, pad=pad)
    all_count = bool(counts.all())
    are_batches = count_batches(points.row[order], problem.request.n_rows) is not None

    def add(part: slice) -> None:
        chosen = order[part]
        chunk = points[chosen]
        inputs, starts = problem.ends_of(chunk.row, chunk.path)
        gradients = problem.model.gradients(interpolate(inputs, starts, chunk.alpha), chunk.row)
        contributions = []
        for gradient, value, start in zip(gradients, inputs, starts, strict=True):
            contribution = gradient.to(accumulation_dtype(value.dtype)) * as_column(summands.weight[chosen], value)
            if summands.multiply:
                contribution *= displacement(value, start)
            contributions.append(contribution)
        if not all_count:
            places = counts[part].nonzero().squeeze(1)
            chosen = chosen[places]
            inputs, starts = _at(places, inputs), _at(places, starts)
            contributions = list(_at(places, contributions))
        where, spreads = summands.where[chosen], []
        if contrasts is not None:
            moved = _moved(problem, summands, contributions, inputs, starts)
            spreads = [one.spread(contrasts.of(chosen), where, moved) for one in errors]
        sums.add(where, tuple(contributions))  # last: a chunk may be tried again
        for one, spread in zip(errors, spreads, strict=True):
            one.add(spread)

    for_each_chunk(len(order), problem.limit, add, problem.on_done, batches=are_batches)
    return sums, errors


def _at(places: Tensor, values: Sequence[Tensor]) -> Tensors:
    return tuple(value[on_device(places, value.device)] for value in values)


def _moved(
    problem: PathProblem,
    summands: _Summands,
    contributions: Sequence[Tensor],
    inputs: Tensors,
    starts: Tensors,
) -> Tensors:
    """Contributions of points to attributions, where to the sums they may be without the displacement."""
    if summands.multiply or not problem.multiply_by_inputs:
        return tuple(contributions)
    every = zip(contributions, inputs, starts, strict=True)
    return tuple(contribution * displacement(value, start) for contribution, value, start in every)


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
