"""Targets that are functions: a score of what the model returned for one row, for outputs that have no class index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor

from captum_ext.core.checks import FLOATS, describe
from captum_ext.core.output_rows import describe_output, left_out, split_rows
from captum_ext.core.types import ForwardFunc, Target, TargetFunc, Tensors
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, CaptumExtError, ModelOutputError


def is_function(target: Target) -> TypeGuard[TargetFunc | list[TargetFunc]]:
    """Whether a target is a function of one row's output, or a list of such functions."""
    return callable(target) or (isinstance(target, list) and any(callable(entry) for entry in target))


def check_functions(target: TargetFunc | list[TargetFunc], n_rows: int | None) -> None:
    """Refuse what cannot be called with a row's output, and another number of functions than of rows (None: unknown).

    Raises:
        ArgumentTypeError: classes instead of objects, or functions beside indices.
        ArgumentError: another number.
    """
    functions: list[Any] = target if isinstance(target, list) else [target]
    for function in functions:
        if isinstance(function, type):
            raise ArgumentTypeError("target", f"an object, as {function.__name__}(...)", "the class itself")
        if not callable(function):
            expected = "a list of functions, one for each row, or of indices, and not of both"
            raise ArgumentTypeError("target", expected, describe(function))
    if isinstance(target, list) and n_rows not in (None, len(target)):
        raise ArgumentError("target", f"one function, or one for each of the {n_rows} rows", f"{len(target)} functions")


def check_places(target: Target, inputs: Tensors) -> None:
    """Let targets that are at a place refuse images in which that is not: those that have a method `check_image`.

    Inputs that are no images (N, C, H, W), or have their channels last, have no place that is known.

    Raises:
        ArgumentError: by a target.
    """
    shape = inputs[0].shape
    if is_function(target) and len(shape) == 4 and shape[1] <= min(shape[2:]):
        functions: Any = target if isinstance(target, list) else [target]
        for function in functions:
            check = getattr(function, "check_image", None)
            if callable(check):
                check((shape[2], shape[3]))


def one_for_all(target: Target) -> bool:
    """Whether rows have no functions of their own: one serves all of them, or the target is none."""
    functions: Any = target if isinstance(target, list) and is_function(target) else []
    return all(one is functions[0] for one in functions)


def scored(forward_func: ForwardFunc, functions: Sequence[TargetFunc], rows: Sequence[int], *given: Any) -> Tensor:
    """The model's scores (P,) of P rows, each by its function; `rows` are what messages call them.

    Raises:
        OutputRowsError, ModelOutputError: an output that does not have P rows; a score without a gradient where one is
            taken.
        ArgumentError: a function that fails, or that returns no number.
    """
    outputs = forward_func(*given)
    split = split_rows(outputs, len(functions))
    scores = []
    for function, output, row in zip(functions, split, rows, strict=True):
        score = _score(function, output, row, outputs, len(functions))
        if torch.is_grad_enabled() and not score.requires_grad:
            raise ModelOutputError(
                f"The score of row {row} by target {describe(function)} does not depend on the model's output through "
                "autograd (detached, computed under no_grad, or constant), so it has no gradient."
            )
        scores.append(score)
    return torch.stack(scores)


def _score(function: TargetFunc, output: Any, row: int, outputs: Any, n_rows: int) -> Tensor:
    try:
        score = function(output)
    except (CaptumExtError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        without = left_out(outputs, n_rows)
        note = f"; None in it, without a row for each of the {n_rows} rows: {', '.join(without)}" if without else ""
        raise ArgumentError(
            "target",
            f"a function of the model's output for one row, here {describe_output(output)}{note}",
            f"{describe(function)}, which raises {type(error).__name__} for row {row}: {error}",
        ) from error
    if not isinstance(score, Tensor) or score.numel() != 1 or score.dtype not in FLOATS:
        expected = "a function that returns a floating point tensor of one number for the output of one row"
        received = f"{describe(function)}, which returns {describe(score)} for row {row}"
        raise ArgumentError("target", expected, received)
    return score.reshape(())
