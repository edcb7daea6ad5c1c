"""Targets: which output of which row is explained, in every form in which Captum takes it, or by functions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_ext.core.checks import check_dense, describe
from captum_ext.core.devices import on_device
from captum_ext.core.target_functions import check_functions, is_function
from captum_ext.core.types import Target
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def has_one_for_each_row(target: Target) -> bool:
    """Whether `target` holds one entry for each row, rather than one for all."""
    return isinstance(target, list) or (isinstance(target, Tensor) and target.numel() > 1)


def check_target(target: Target, n_rows: int | None) -> Target:
    """Return `target` if it has one of Captum's forms and fits the number of rows (None: not known), or functions do.

    Raises:
        ArgumentTypeError: not an int, tuple, tensor, list, function or None, or entries that are not integers.
        ArgumentError: one entry for each row, but another number of rows.
    """
    expected = "an int, a tuple of ints, a function, a tensor or a list with one entry for each row, or None"
    if target is None or (isinstance(target, int) and not isinstance(target, bool)):
        return target
    if is_function(target):
        check_functions(target, n_rows)
        return target
    if isinstance(target, tuple) and all(isinstance(index, int | slice) for index in target):
        return target
    if isinstance(target, Tensor) and target.dtype in _INTEGERS:
        check_dense("target", target)
        fits = target.numel() == 1 or (target.dim() == 1 and n_rows in (None, len(target)))
    elif isinstance(target, list) and target and all(isinstance(entry, int | tuple) for entry in target):
        fits = n_rows in (None, len(target))
    else:
        raise ArgumentTypeError("target", expected, describe(target))
    if not fits:
        raise ArgumentError("target", f"one index, or one for each of the {n_rows} rows", describe(target))
    if has_one_for_each_row(target) and _smallest(target) < 0:
        raise ArgumentError("target", "an index from 0, where every row has its own", str(_smallest(target)))
    return target


def select_target(target: Target, rows: Tensor) -> Target:
    """The target of every row in `rows` (P,), in the form in which Captum takes it for P rows."""
    if isinstance(target, list):
        return [target[row] for row in rows.tolist()]
    if isinstance(target, Tensor) and has_one_for_each_row(target):
        return target[on_device(rows, target.device)]
    return target


def repeat_target(target: Target, n_batches: int) -> Target:
    """The target of `n_batches` whole batches one after the other."""
    if isinstance(target, list):
        return target * n_batches
    if isinstance(target, Tensor) and has_one_for_each_row(target):
        return target.repeat(n_batches)
    return target


def check_target_in_range(outputs: Tensor, target: Target) -> None:
    """Refuse a class index outside the outputs here: on CUDA, gathering it would poison the process.

    Raises:
        ArgumentError: names the index and the range.
    """
    if outputs.dim() != 2 or target is None:
        return
    if isinstance(target, Tensor):
        indices = target.reshape(-1).tolist()
    elif isinstance(target, list):
        indices = [entry for entry in target if isinstance(entry, int)]
    else:
        indices = [target] if isinstance(target, int) else []
    n_classes = outputs.shape[1]
    one_for_all = len(indices) == 1 and not isinstance(target, list)
    lowest = -n_classes if one_for_all else 0  # Captum allows counting from the end for a single index only.
    wrong = [index for index in indices if not lowest <= index < n_classes]
    if wrong:
        raise ArgumentError("target", f"an index from 0 to {n_classes - 1}, the model's outputs", str(wrong[0]))


def _smallest(target: Tensor | list[Any]) -> int:
    """Smallest index; of a list of tuples none counts from the end that Captum would not allow."""
    if isinstance(target, Tensor):
        return int(target.min())
    return min((entry for entry in target if isinstance(entry, int)), default=0)
