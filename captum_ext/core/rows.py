"""Rows: which target and which forward arguments belong to which row, and how many rows are in flight."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_ext.core.checks import check_positive_int, describe
from captum_ext.core.types import Target, Tensors
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

# Rows of a 224 x 224 RGB image in flight on a CPU: 4 to 6 were the fastest, beyond that the system spends more time on
# fresh pages than larger calls save (examples/benchmarks/rows.py). Smaller inputs get more rows, in proportion,
# since for them the cost of a call outweighs the cost of a row; on a CPU no more than 256, beyond which even small
# networks became slower.
_CPU_ROWS = 6
_ACCELERATOR_ROWS = 64
_REFERENCE_NUMEL = 3 * 224 * 224
_MOST_CPU_ROWS = 256
_MOST_ROWS = 1024


def has_one_for_each_row(target: Target) -> bool:
    """Whether `target` holds one entry for each row, rather than one for all."""
    return isinstance(target, list) or (isinstance(target, Tensor) and target.numel() > 1)


def check_target(target: Target, n_rows: int) -> Target:
    """Return `target` if it has one of Captum's forms and fits the number of rows.

    Raises:
        ArgumentTypeError: not an int, tuple, tensor, list or None, or entries that are not integers.
        ArgumentError: one entry for each row, but another number of rows.
    """
    expected = "an int, a tuple of ints, a tensor or a list with one entry for each row, or None"
    if target is None or (isinstance(target, int) and not isinstance(target, bool)):
        return target
    if isinstance(target, tuple) and all(isinstance(index, int | slice) for index in target):
        return target
    if isinstance(target, Tensor) and not target.is_floating_point() and target.dtype != torch.bool:
        fits = target.numel() == 1 or (target.dim() == 1 and len(target) == n_rows)
    elif isinstance(target, list) and target and all(isinstance(entry, int | tuple) for entry in target):
        fits = len(target) == n_rows
    else:
        raise ArgumentTypeError("target", expected, describe(target))
    if not fits:
        raise ArgumentError("target", f"one index, or one for each of the {n_rows} rows", describe(target))
    if has_one_for_each_row(target) and _smallest(target) < 0:
        raise ArgumentError("target", "an index from 0, where every row has its own", str(_smallest(target)))
    return target


def _smallest(target: Tensor | list[Any]) -> int:
    """Smallest index; of a list of tuples none counts from the end that Captum would not allow."""
    if isinstance(target, Tensor):
        return int(target.min())
    return min((entry for entry in target if isinstance(entry, int)), default=0)


def select_target(target: Target, rows: Tensor) -> Target:
    """The target of every row in `rows` (P,), in the form in which Captum takes it for P rows."""
    if isinstance(target, list):
        return [target[row] for row in rows.tolist()]
    if isinstance(target, Tensor) and target.numel() > 1:
        return target[rows.to(target.device)]
    return target


def select_forward_args(args: tuple[Any, ...] | None, rows: Tensor, n_rows: int) -> tuple[Any, ...] | None:
    """Forward arguments for the rows in `rows`: tensors with `n_rows` rows follow them, all else passes as it is."""
    if args is None:
        return None
    return tuple(arg[rows.to(arg.device)] if follows_rows(arg, n_rows) else arg for arg in args)


def follows_rows(arg: Any, n_rows: int) -> bool:
    """Whether a forward argument is a tensor that has one entry for each input row."""
    return isinstance(arg, Tensor) and arg.dim() > 0 and arg.shape[0] == n_rows


class RowLimit:
    """How many rows may be in flight at once.

    A number given by the user is kept exactly. The default depends on device and row size, and is halved when
    the device runs out of memory.
    """

    def __init__(self, internal_batch_size: int | None, inputs: Tensors, device: torch.device | None = None) -> None:
        self.fixed = internal_batch_size is not None
        self.rows = (
            default_rows(inputs, device)
            if internal_batch_size is None
            else check_positive_int("internal_batch_size", internal_batch_size)
        )

    def lower(self, failed: int) -> bool:
        """Lower the limit to half of the rows that did not fit; False if it may not be, or cannot be, lowered."""
        if self.fixed or failed == 1:
            return False
        self.rows = failed // 2
        return True


def default_rows(inputs: Tensors, device: torch.device | None = None) -> int:
    """Rows in flight when the caller names none; `device` is where they go, if not where they are."""
    numel = max(1, sum(math.prod(tensor.shape[1:]) for tensor in inputs))
    on_cpu = (device or inputs[0].device).type == "cpu"
    base, most = (_CPU_ROWS, _MOST_CPU_ROWS) if on_cpu else (_ACCELERATOR_ROWS, _MOST_ROWS)
    return max(1, min(most, base * _REFERENCE_NUMEL // numel))


def for_each_chunk(
    n_points: int,
    limit: RowLimit,
    evaluate: Callable[[slice], None],
    on_done: Callable[[int], object] | None = None,
) -> None:
    """Call `evaluate` on consecutive slices of `range(n_points)`, none longer than the limit.

    When a slice runs out of memory and the limit may be lowered, it is tried again in halves; `evaluate` must
    therefore change its caller's state only after the model was run. `on_done` gets the length of each slice.
    """
    start = 0
    while start < n_points:
        stop = min(start + limit.rows, n_points)
        try:
            evaluate(slice(start, stop))
        except torch.cuda.OutOfMemoryError:
            if not limit.lower(stop - start):
                raise
        else:
            if on_done is not None:
                on_done(stop - start)
            start = stop
            continue
        # Outside the handler: the exception's traceback would keep the failed chunk's tensors alive.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
