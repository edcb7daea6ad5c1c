"""How many rows are in flight: the limit, and the pieces into which points are cut."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor

from captum_ext.core.checks import check_positive_int
from captum_ext.core.memory import hold_freed_memory
from captum_ext.core.types import Tensors
from captum_ext.exceptions import ArgumentError

# Rows of a 224 x 224 RGB image in flight on a CPU: 4 to 6 were the fastest, beyond that the system spends more time on
# fresh pages than larger calls save (examples/benchmarks/measurements). Smaller inputs get more rows, in proportion,
# since for them the cost of a call outweighs the cost of a row; on a CPU no more than 256, beyond which even small
# networks became slower.
_CPU_ROWS = 6
_ACCELERATOR_ROWS = 64
_REFERENCE_NUMEL = 3 * 224 * 224
_MOST_CPU_ROWS = 256
_MOST_ROWS = 1024
_HEAVY_NUMEL, _UNTIL_HELD = 2**18, 4  # numbers in a chunk, and chunks, from which holding memory pays
_NO_LIMIT = 2**40  # more than any plan has; sums of larger ones overflow


class RowLimit:
    """How many rows may be in flight at once.

    A number given by the user is kept exactly. The default depends on device and row size, and is halved when the
    device runs out of memory.

    Attributes:
        rows: the limit.
        fixed: whether the user gave it.
        batch: N, the rows of a whole batch.
        indivisible: one whole batch at a time, whatever the limit: set where rows cannot be told apart.
    """

    def __init__(self, internal_batch_size: int | None, inputs: Tensors, device: torch.device | None = None) -> None:
        self.fixed = internal_batch_size is not None
        self.rows = (
            default_rows(inputs, device)
            if internal_batch_size is None
            else min(check_positive_int("internal_batch_size", internal_batch_size), _NO_LIMIT)
        )
        self.batch = len(inputs[0])
        self.indivisible = False
        self._until_held = _UNTIL_HELD if _is_heavy(inputs, device, self.rows) else -1
        self._memory: Tensor | None = None

    def of_batches(self) -> int:
        """Rows at once of points that are whole batches, step by step: as many batches as fit.

        Raises:
            ArgumentError: a batch that cannot be divided is larger than the limit that the user gave.
        """
        if self.indivisible:
            self._check_batch_fits()
            return self.batch
        return self.rows // self.batch * self.batch if self.rows >= self.batch else self.rows

    def of_rows(self) -> int:
        """Rows at once of points in any order."""
        return min(self.rows, self.batch) if self.indivisible else self.rows

    def for_batch(self, n_rows: int) -> RowLimit:
        """The same limit for another batch."""
        other = copy.copy(self)
        other.batch, other.indivisible = n_rows, False
        return other

    def chunk_done(self) -> None:
        """Count a chunk: in a call of many, memory that the next ones free is held."""
        self._until_held -= 1
        if self._until_held == 0:
            self._memory = hold_freed_memory()

    def lower(self, failed: int) -> bool:
        """Lower the limit to half of the rows that did not fit; False if it may not be, or cannot be, lowered."""
        if self.fixed or failed == 1 or (self.indivisible and failed <= self.batch):
            return False
        self.rows = failed // 2
        return True

    def _check_batch_fits(self) -> None:
        if self.fixed and self.rows < self.batch:
            raise ArgumentError(
                "internal_batch_size",
                f"at least {self.batch}, the rows of a batch, which is only cut where the model returns one row of "
                "outputs for each row and every tensor in additional_forward_args has one entry for each row or is "
                "wrapped in captum_ext.Shared",
                str(self.rows),
            )


def default_rows(inputs: Tensors, device: torch.device | None = None) -> int:
    """Rows in flight when the caller names none; `device` is where they go, if not where they are."""
    numel = max(1, sum(math.prod(tensor.shape[1:]) for tensor in inputs))
    on_cpu = (device or inputs[0].device).type == "cpu"
    base, most = (_CPU_ROWS, _MOST_CPU_ROWS) if on_cpu else (_ACCELERATOR_ROWS, _MOST_ROWS)
    return max(1, min(most, base * _REFERENCE_NUMEL // numel))


def _is_heavy(inputs: Tensors, device: torch.device | None, n_rows: int) -> bool:
    """Whether passes of so many rows take memory on the CPU that is worth keeping: unknown of ids."""
    if (device or inputs[0].device).type != "cpu":
        return False
    numel = n_rows * sum(math.prod(tensor.shape[1:]) for tensor in inputs)
    return numel >= _HEAVY_NUMEL or any(not tensor.is_floating_point() for tensor in inputs)


def for_each_chunk(
    n_points: int,
    limit: RowLimit,
    evaluate: Callable[[slice], None],
    on_done: Callable[[int], object] | None = None,
    *,
    batches: bool = False,
) -> None:
    """Call `evaluate` on consecutive slices of `range(n_points)`, none longer than the limit.

    With `batches` the points are whole batches, and none is cut unless it is larger than the limit. When a slice runs
    out of memory and the limit may be lowered, it is tried again in halves; `evaluate` must therefore change its
    caller's state only after the model was run. `on_done` gets the length of each slice.
    """
    start = 0
    while start < n_points:
        size = limit.of_batches() if batches else limit.of_rows()
        stop = min(start + size, n_points)
        try:
            evaluate(slice(start, stop))
        except torch.cuda.OutOfMemoryError:
            if not limit.lower(stop - start):
                raise
        else:
            limit.chunk_done()
            if on_done is not None:
                on_done(stop - start)
            start = stop
            continue
        # Outside the handler: the exception's traceback would keep the failed chunk's tensors alive.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def in_chunks(n_points: int, limit: RowLimit, evaluate: Callable[[slice], Tensor], *, batches: bool = False) -> Tensor:
    """What `evaluate` returns for consecutive slices of `range(n_points)`, joined."""
    return all_in_chunks(n_points, limit, lambda part: (evaluate(part),), batches=batches)[0]


def all_in_chunks(
    n_points: int, limit: RowLimit, evaluate: Callable[[slice], Tensors], *, batches: bool = False
) -> Tensors:
    """Like `in_chunks`, of a function that returns several tensors."""
    parts: list[Tensors] = []
    for_each_chunk(n_points, limit, lambda part: parts.append(evaluate(part)), batches=batches)
    return tuple(torch.cat(same) for same in zip(*parts, strict=True))
