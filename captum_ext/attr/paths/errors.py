"""Standard errors of sums over points, from the passes that make the sums."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from captum_ext.attr.paths.contrasts import MOST_DEGREES, Contrasts
from captum_ext.core.checks import check_bool, check_choice
from captum_ext.core.devices import CPU, has_float64, on_device
from captum_ext.core.pixels import has_space
from captum_ext.core.rows import count_batches
from captum_ext.core.tensors import accumulation_dtype
from captum_ext.core.types import Tensors

#: Of the sums over channels that a location has, in place of every element by itself.
LOCATION = "location"
#: Of which errors are wanted: True for every element, "location".
Kinds: TypeAlias = tuple[bool | str, ...]
_LEAST_FREEDOM = 2.0
#: Rows are taken in groups whose parts of variances are no larger.
KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Spread:
    """What a chunk of points adds, for the sums `where`, to the parts of one tensor's variance."""

    where: slice | Tensor
    squares: Tensor
    fourths: Tensor
    shared: Tensor
    latest: tuple[slice | Tensor, Tensor]


class ErrorSums:
    """Variances of sums (n_sums, ...) over points, in parts that are added up chunk by chunk.

    Memory is that of five maps of each sum in float64, whatever the number of points.

    Args:
        like: tensors whose rows the summands are like.
        n_sums: number of sums.
        kind: True for every element, "location" for sums over channels.
    """

    def __init__(self, like: Tensors, n_sums: int, kind: bool | str) -> None:
        self.kind = kind

        def zeros(value: Tensor, *before: int) -> Tensor:
            device = value.device if has_float64(value.device) else CPU
            return torch.zeros(*before, *reduced_shape(value, kind), dtype=torch.float64, device=device)

        self.squares = [zeros(value, n_sums) for value in like]
        self.fourths = [zeros(value, n_sums) for value in like]  # of the squared differences, their squares
        self.shared = [zeros(value, MOST_DEGREES, n_sums) for value in like]
        self._latest = [zeros(value, n_sums) for value in like]

    def spread(self, chunk: Contrasts, where: Tensor, values: Tensors) -> list[Spread]:
        """What values (p, ...) of points would add to the sums `where` (p,); nothing is changed."""
        if len(where) == 0:
            return []
        some, batches = _consecutive(where)
        spreads = []
        for value, latest in zip(values, self._latest, strict=True):
            wide = reduced(value, self.kind).to(latest.device).double()
            if some is not None:
                spreads.append(_in_batches(some, batches, chunk, wide, latest))
            else:
                spreads.append(_in_any_order(where, chunk, wide, latest))
        return spreads

    def add(self, spreads: list[Spread]) -> None:
        """Add what `spread` returned."""
        for position, one in enumerate(spreads):
            squares, fourths = self.squares[position], self.fourths[position]
            shared, latest = self.shared[position], self._latest[position]
            if isinstance(one.where, slice):
                squares[one.where] += one.squares
                fourths[one.where] += one.fourths
                shared[:, one.where] += one.shared
            else:
                where = on_device(one.where, squares.device)
                squares.index_add_(0, where, one.squares)
                fourths.index_add_(0, where, one.fourths)
                shared.index_add_(1, where, one.shared)
            places, values = one.latest
            latest[places if isinstance(places, slice) else on_device(places, latest.device)] = values

    def weighted(self, weight: Tensor, where: Tensor, n_sums: int) -> ErrorSums:
        """The parts of sums of these sums (Q,), each times a weight (Q,), to the `n_sums` places `where` (Q,)."""
        result = copy.copy(self)

        def total(values: Tensor, weights: Tensor) -> Tensor:
            zeros = values.new_zeros(n_sums, *values.shape[1:])
            return zeros.index_add_(0, on_device(where, values.device), values * _column(weights, values))

        result.squares = [total(values, weight.square()) for values in self.squares]
        result.fourths = [total(values, weight.square().square()) for values in self.fourths]
        result.shared = [torch.stack([total(one, weight) for one in values]) for values in self.shared]
        return result

    def of_sums(self, like: Tensors, freedom: Tensor) -> Tensors:
        """Standard errors of the sums, in the dtype and on the device in which attributions are returned.

        `freedom` (n_sums,) is that of their rows (`Contrasts`).
        """
        every = zip(self.squares, self.fourths, self.shared, like, strict=True)
        return tuple(
            standard_error(squares, fourths, shared, freedom, value) for squares, fourths, shared, value in every
        )


def _in_batches(some: slice, batches: int, chunk: Contrasts, value: Tensor, latest: Tensor) -> Spread:
    """Of points that are whole batches of the same consecutive sums."""
    steps = value.reshape(batches, -1, *value.shape[1:])  # (S, n, ...)
    differences = torch.empty_like(steps)
    torch.sub(steps[0], latest[some], out=differences[0])
    torch.sub(steps[1:], steps[:-1], out=differences[1:])
    each = steps.shape[:2]  # (S, n)
    squares = on_device(chunk.squares, value.device).reshape(*each, 1)
    of_squares = differences.square_().reshape(*each, -1)
    total = _weighed(squares, of_squares)
    fourths = _weighed(squares.square(), of_squares.square_())
    moments = _weighed(on_device(chunk.shared, value.device).reshape(*each, -1), steps.reshape(*each, -1))
    one = steps.shape[1:]
    return Spread(some, total.reshape(one), fourths.reshape(one), moments.reshape(-1, *one), (some, steps[-1]))


def _weighed(weights: Tensor, values: Tensor) -> Tensor:
    """Sums (G, n, E) over the steps of values (S, n, E), each times weights (S, n, G), by products of matrices."""
    return torch.matmul(weights.permute(1, 2, 0), values.transpose(0, 1)).transpose(0, 1)


def _in_any_order(where: Tensor, chunk: Contrasts, value: Tensor, latest: Tensor) -> Spread:
    order = where.argsort(stable=True)
    where = where[order]
    begins = torch.ones_like(where, dtype=torch.bool)
    begins[1:] = where[1:] != where[:-1]
    ends = begins.roll(-1)
    values = value[on_device(order, value.device)]
    before = torch.cat([values[:1], values[:-1]])
    before[on_device(begins, value.device)] = latest[on_device(where[begins], value.device)]
    weighted = _column(chunk.squares[order], values) * (values - before).square_()
    shared = torch.stack([_column(one, values) * values for one in chunk.shared[order].T])
    return Spread(where, weighted, weighted.square(), shared, (where[ends], values[on_device(ends, value.device)]))


def check_kind(return_standard_error: Any) -> bool | str:
    """The argument `return_standard_error`, if it is one of its values: False, True, "location".

    Raises:
        ArgumentError, ArgumentTypeError: it is not.
    """
    if isinstance(return_standard_error, str):
        return check_choice("return_standard_error", return_standard_error, (LOCATION,))
    return check_bool("return_standard_error", return_standard_error)


def reduced(value: Tensor, kind: bool | str) -> Tensor:
    """Values (P, C, H, W) summed over the channels of a location (P, 1, H, W), where these are asked for."""
    return value.sum(1, keepdim=True) if kind == LOCATION and has_space(value) else value


def reduced_shape(value: Tensor, kind: bool | str) -> tuple[int, ...]:
    """The shape of a row of `reduced`."""
    return (1, *value.shape[2:]) if kind == LOCATION and has_space(value) else tuple(value.shape[1:])


def bytes_of_errors(like: Tensors, kind: bool | str) -> int:
    """What the parts of the variance of one sum take."""
    return 8 * (MOST_DEGREES + 3) * sum(math.prod(reduced_shape(value, kind)) for value in like)


def standard_error(squares: Tensor, fourths: Tensor, shared: Tensor, freedom: Tensor, like: Tensor) -> Tensor:
    """Standard errors (n, ...) from the parts of a variance, as attributions are returned (dtype, device)."""
    variance = (squares - shared.square().sum(0)).clamp_(min=0)  # below zero by rounding alone
    tiny = torch.finfo(torch.float64).tiny
    degrees = _column(freedom, squares) * squares.square() / fourths.clamp(min=tiny)
    error = variance.sqrt_().mul_(_student(degrees.clamp_(min=_LEAST_FREEDOM)))
    return error.to(accumulation_dtype(like.dtype)).to(like.device)


def _student(degrees: Tensor) -> Tensor:
    """The 97.5 % quantile of Student's distribution over that of the normal one, by its expansion."""
    inverse = 1 / degrees
    return 1 + inverse * (1.2104 + inverse * (1.4403 + inverse * 1.3040))


def _consecutive(where: Tensor) -> tuple[slice | None, int]:
    """The slice of sums of which the places (p,) are whole batches one after the other, and how many; or None."""
    first, falls = int(where[0]), (where[1:] <= where[:-1]).nonzero()
    count = int(falls[0]) + 1 if len(falls) else len(where)
    batches = count_batches(where - first, count)
    return (None, 0) if batches is None else (slice(first, first + count), batches)


def _column(numbers: Tensor, value: Tensor) -> Tensor:
    """Numbers (P,) in float64, to multiply values (P, ...)."""
    return on_device(numbers, value.device).reshape(-1, *(1,) * (value.dim() - 1))
