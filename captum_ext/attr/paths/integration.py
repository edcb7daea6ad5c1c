"""The accumulator: sums of weight * gradient * displacement over the points of a plan, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_ext.attr.paths.points import Points, Starts, accumulation_dtype, as_column, interpolate
from captum_ext.core.model import RowwiseModel, in_chunks
from captum_ext.core.rows import RowLimit, for_each_chunk
from captum_ext.core.types import Tensors


@dataclass(frozen=True)
class PathIntegral:
    """What stays the same while one call integrates: the model, where paths begin and end, and the limits.

    Attributes:
        on_done: told after each chunk how many gradients it took.
        slots: (N, K), or None to sum the paths of a row by their weights. Otherwise the integral of path k of row i
            is kept apart, with weight one, in slot `slots[i, k]` of the result; the slots in use are consecutive.
    """

    model: RowwiseModel
    inputs: Tensors
    starts: Starts
    limit: RowLimit
    multiply_by_inputs: bool = True
    on_done: Callable[[int], object] | None = None
    slots: Tensor | None = None

    def ends_of(self, row: Tensor, path: Tensor) -> tuple[Tensors, Tensors]:
        """Input and starting point (P, ...) of path `path` (P,) of row `row` (P,)."""
        inputs = tuple(value[row.to(value.device)] for value in self.inputs)
        return inputs, self.starts.at(self.starts.index[row, path], self.inputs)

    def destination(self, row: Tensor, path: Tensor) -> Tensor:
        """Where the integral of each path is summed."""
        return row if self.slots is None else self.slots[row, path]

    def zeros(self) -> Tensors:
        """Attributions of zero, in the dtype in which they are summed and returned."""
        n_sums = len(self.inputs[0]) if self.slots is None else int(self.slots.max()) + 1
        return tuple(
            torch.zeros(n_sums, *value.shape[1:], dtype=accumulation_dtype(value.dtype), device=value.device)
            for value in self.inputs
        )


def integrate(problem: PathIntegral, points: Points) -> Tensors:
    """Sum over the plan of weight * gradient, times input minus start unless that is switched off.

    No more points exist at once than the problem's limit allows. Sums are kept in float32 for half precision.
    """
    total = problem.zeros()
    where, weight = problem.destination(points.row, points.path), points.weight
    if problem.slots is not None:
        weight = weight / problem.starts.weight[points.row, points.path]

    def add(part: slice) -> None:
        chunk = points[part]
        inputs, starts = problem.ends_of(chunk.row, chunk.path)
        gradients = problem.model.gradients(interpolate(inputs, starts, chunk.alpha), chunk.row)
        contributions = []
        for gradient, value, start in zip(gradients, inputs, starts, strict=True):
            contribution = gradient.to(accumulation_dtype(value.dtype)) * as_column(weight[part], value)
            contributions.append(
                contribution * displacement(value, start) if problem.multiply_by_inputs else contribution
            )
        for sums, contribution in zip(total, contributions, strict=True):  # last: a chunk may be tried again
            sums.index_add_(0, where[part].to(sums.device), contribution)

    for_each_chunk(len(points), problem.limit, add, problem.on_done)
    return total


def displacement(value: Tensor, start: Tensor) -> Tensor:
    """Input minus start, in the dtype in which sums are kept."""
    wide = accumulation_dtype(value.dtype)
    return value.to(wide) - start.to(wide)


def path_start_scores(problem: PathIntegral) -> Tensor:
    """Score (Q,) at the start of each of the Q paths that exist, in the order of `starts.weight.nonzero()`.

    A starting point shared by rows is evaluated once, unless forward arguments make the score depend on the row.
    """
    model, starts = problem.model, problem.starts
    row, path = starts.weight.nonzero(as_tuple=True)
    index = starts.index[row, path]
    if model.depends_on_row:
        return in_chunks(
            len(row),
            problem.limit,
            lambda part: model.scores(starts.at(index[part], problem.inputs), row[part]),
        )
    used, position = torch.unique(index, return_inverse=True)
    any_row = torch.zeros_like(used)
    outputs = in_chunks(
        len(used),
        problem.limit,
        lambda part: model.outputs(starts.at(used[part], problem.inputs), any_row[part]),
    )
    return model.select(outputs[position.to(outputs.device)], row)


def starting_scores(problem: PathIntegral) -> Tensor:
    """Mean score (N,) of each row's starting points by their weights: what the attributions start from."""
    weight = problem.starts.weight
    row, path = weight.nonzero(as_tuple=True)
    scores = path_start_scores(problem)
    weighted = scores.to(accumulation_dtype(scores.dtype)) * as_column(weight[row, path], scores)
    return torch.zeros(len(weight), dtype=weighted.dtype, device=weighted.device).index_add_(
        0, row.to(weighted.device), weighted
    )
