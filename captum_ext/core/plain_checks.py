"""What needs no torch of the checks: of numbers, choices and truths, and how a value is named in a message.

Whatever reads files alone, such as the page that shows a run, starts without torch, which takes seconds and memory.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Collection
from numbers import Real
from typing import Any

import numpy as np

from captum_ext.exceptions import ArgumentError, ArgumentTypeError

_OF_TORCH = ("torch.Tensor", "torch.nn.parameter.Parameter")
_LONGEST = 60  # characters of a value in a message


def describe(value: Any) -> str:
    """Name a value briefly: a tensor by shape and dtype, anything else by type and repr."""
    if is_tensor(value):
        return _described_tensor(value)
    if isinstance(value, int) and abs(value) >= 10**_LONGEST:
        return f"{type(value).__name__} of {value.bit_length()} bits"
    try:
        text = repr(value)
    except Exception:
        text = "without a repr"
    return f"{type(value).__name__} {text if len(text) <= _LONGEST else text[: _LONGEST - 3] + '...'}"


def is_tensor(value: Any) -> bool:
    """Whether it is a tensor of torch, which is not imported for those who have none."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_meta(tensor: Any) -> bool:
    """Whether a tensor is without numbers; a subclass may hold them elsewhere."""
    return tensor.is_meta and f"{type(tensor).__module__}.{type(tensor).__name__}" in _OF_TORCH


def _described_tensor(tensor: Any) -> str:
    if tensor.is_nested:  # it has no shape
        return f"a nested tensor of dtype {tensor.dtype}"
    layout = "" if str(tensor.layout) == "torch.strided" else f" and layout {tensor.layout}"
    where = " without numbers (device meta)" if is_meta(tensor) else ""
    return f"a tensor of shape {tuple(tensor.shape)} and dtype {tensor.dtype}{layout}{where}"


def check_positive_int(name: str, value: Any, most: int | None = None) -> int:
    """Return `value` if it is an integer of at least one and, unless that is None, at most `most`.

    Raises:
        ArgumentTypeError: not an integer.
        ArgumentError: below one, or too large.
    """
    return bounded(name, value, 1, most, "an integer of at least 1")


def bounded(name: str, value: Any, least: int, most: int | None, expected: str, words: str = "") -> int:
    """An integer within bounds; `words` say the upper one where it is not clear as a number."""
    number = _integer(name, value, expected)
    if number < least:
        raise ArgumentError(name, expected, str(number) if number > -(10**20) else describe(number))
    if most is not None and number > most:
        received = str(number) if number < 10**20 else describe(number)
        raise ArgumentError(name, f"an integer from {least} to {words or format(most, ',')}", received)
    return number


def _integer(name: str, value: Any, expected: str) -> int:
    """The value as an integer: also NumPy's, and those in tensors of one number."""
    is_bool = isinstance(value, bool | np.bool_) or (is_tensor(value) and str(value.dtype) == "torch.bool")
    try:
        if is_bool:
            raise TypeError
        return operator.index(value)
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise ArgumentTypeError(name, expected, describe(value)) from error


def check_bool(name: str, value: Any) -> bool:
    """Return `value` if it is True or False.

    Raises:
        ArgumentTypeError: something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise ArgumentTypeError(name, "True or False", describe(value))
    return bool(value)


def check_count(name: str, value: Any, most: int | None = None) -> int:
    """Return `value` if it is an integer of at least zero and, unless that is None, at most `most`.

    Raises:
        ArgumentTypeError: not an integer.
        ArgumentError: below zero, or too large.
    """
    return bounded(name, value, 0, most, "an integer from 0")


def check_seed(name: str, value: Any, most: int = 2**63 - 1) -> int:
    """Return `value` if it is an integer from zero that can be a seed: of torch and NumPy, unless `most` is less.

    Raises:
        ArgumentTypeError: not an integer.
        ArgumentError: below zero, or too large.
    """
    return bounded(name, value, 0, most, "an integer from 0", f"2^{most.bit_length()} - 1")


def check_number(name: str, value: Any, expected: str, allowed: Callable[[float], bool]) -> float:
    """Return `value` as a float if it is a real number, also NumPy's, that is allowed.

    Raises:
        ArgumentTypeError: not a number.
        ArgumentError: another number than expected.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentTypeError(name, expected, describe(value))
    number = as_float(name, expected, value)
    if not allowed(number):
        raise ArgumentError(name, expected, describe(value))
    return number


def as_float(name: str, expected: str, value: Any) -> float:
    """A number as a float; an integer beyond all floats is an ArgumentError."""
    try:
        return float(value)
    except OverflowError as error:
        raise ArgumentError(name, expected, describe(value)) from error


def check_choice(name: str, value: Any, choices: Collection[str]) -> str:
    """Return `value` if it is one of the choices.

    Raises:
        ArgumentError: names the choices.
    """
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(name, "one of " + ", ".join(f'"{choice}"' for choice in choices), describe(value))
    return value
