"""A model's output as rows: a tensor, or whatever else a model returns, taken apart into one output for each row."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from torch import Tensor

from captum_ext.core.checks import describe
from captum_ext.exceptions import ModelOutputError, OutputRowsError, OutputTypeError

_PLAIN = (type(None), bool, int, float, str)  # entries that every row has as they are
_NAMED = 8  # entries of an output that a message names


def as_rows(outputs: Any, n_rows: int) -> Tensor:
    """The model's output as a tensor of rows; of one row a model may have squeezed the batch away.

    Raises:
        OutputTypeError: not a tensor.
        OutputRowsError: a single number for several rows.
    """
    if not isinstance(outputs, Tensor):
        raise OutputTypeError(
            f"Expected forward_func to return a tensor, but got {describe_output(outputs)}. A target that is a "
            "function of one row's output explains other outputs (captum_ext.models.targets)."
        )
    if n_rows == 1 and (outputs.dim() == 0 or (outputs.dim() == 1 and len(outputs) != 1)):
        return outputs[None]
    if outputs.dim() == 0:
        raise _other_rows(n_rows, describe(outputs))
    return outputs


def check_row_count(outputs: Tensor, n_rows: int) -> Tensor:
    """Return outputs, or scores, with one entry for each row.

    Raises:
        OutputRowsError: another number.
    """
    if len(outputs) != n_rows:
        raise _other_rows(n_rows, describe(outputs))
    return outputs


def check_outputs(outputs: Any, n_rows: int) -> Tensor:
    """Return the model's output if it is a tensor with one entry for each row.

    Raises:
        ModelOutputError: it is not.
    """
    return check_row_count(as_rows(outputs, n_rows), n_rows)


def split_rows(outputs: Any, n_rows: int) -> list[Any]:
    """The output of each row, in the order of the rows.

    Of a tensor (N, ...) it is the row; of a list of length N, as detectors return it, the element; of a mapping, a
    tuple or any object with attributes the same with the row of each tensor (N, ...) in it, tuples and mappings inside
    of it included. What there has no row for each of the N rows, a tensor of another length or an object without rows,
    is None in it; numbers and texts stay.

    Raises:
        OutputRowsError: another number of rows, or nothing that has as many.
        ModelOutputError: a list of N tensors of length N, of which it cannot be known what is a row.
    """
    if isinstance(outputs, Tensor):
        return list(check_outputs(outputs, n_rows).unbind(0))  # one node of the graph, whatever the number of rows
    if isinstance(outputs, list):
        return _elements(outputs, n_rows)
    rows = None if isinstance(outputs, _PLAIN) else _split(outputs, n_rows)
    if rows is None:
        raise _other_rows(n_rows, describe_output(outputs))
    return rows


def describe_output(output: Any) -> str:
    """Name an output, or a row of one, briefly: a tensor by its shape, anything else by what it holds."""
    if isinstance(output, (Tensor, *_PLAIN)):
        return describe(output)
    if isinstance(output, list):
        return f"list of {len(output)}"
    entries = _entries(output)
    if not entries:
        return describe(output)
    named = [f"{name}: {_size(value)}" for name, value in list(entries.items())[:_NAMED]]
    return f"{type(output).__name__} of " + ", ".join([*named, *(["..."] if len(entries) > _NAMED else [])])


def left_out(outputs: Any, n_rows: int) -> list[str]:
    """Names and sizes of the entries of an output that have no row for each row, and so are None in every row."""
    if isinstance(outputs, list | Tensor):
        return []
    return [
        f"{name} ({_size(value)})"
        for name, value in _entries(outputs).items()
        if not isinstance(value, _PLAIN) and _split(value, n_rows, inside=True) is None
    ]


def _elements(outputs: list[Any], n_rows: int) -> list[Any]:
    if len(outputs) != n_rows:
        raise _other_rows(n_rows, f"a list of {len(outputs)}")
    if n_rows > 1 and all(isinstance(one, Tensor) and one.dim() > 0 and len(one) == n_rows for one in outputs):
        raise ModelOutputError(
            f"A list of {n_rows} tensors of length {n_rows} for {n_rows} rows may hold one tensor for each row, or "
            "several tensors with a row of each: return a list of dicts, or a tuple of tensors, which are told apart."
        )
    return outputs


def _split(value: Any, n_rows: int, *, inside: bool = False) -> list[Any] | None:
    """The value's rows; None if it has no row for each of them. Objects `inside` of others are not looked into."""
    if isinstance(value, Tensor):
        has_rows = not value.is_nested and value.dim() > 0 and len(value) == n_rows
        return list(value.unbind(0)) if has_rows else None
    if isinstance(value, list):
        return None if len(value) != n_rows or any(isinstance(one, Tensor) for one in value) else value
    if isinstance(value, type) or (inside and not _is_record(value)):
        return None
    split = {
        name: _split(entry, n_rows, inside=True)
        for name, entry in _entries(value).items()
        if not isinstance(entry, _PLAIN)
    }
    if all(rows is None for rows in split.values()):
        return None
    return [_row_of(value, split, row) for row in range(n_rows)]


def _row_of(value: Any, split: dict[Any, list[Any] | None], row: int) -> Any:
    """A row of a value whose entries are split: those that are plain stay, and those without rows are None."""

    def entry_of(name: Any, entry: Any) -> Any:
        rows = split.get(name)
        return (None if name in split else entry) if rows is None else rows[row]

    return _like(value, entry_of)


def _is_record(value: Any) -> bool:
    return isinstance(value, tuple | Mapping) or dataclasses.is_dataclass(value)


def _entries(value: Any) -> dict[Any, Any]:
    """What an output holds, by position, key or name of the attribute."""
    if isinstance(value, tuple):
        return dict(enumerate(value))
    return {**_attributes(value), **(value if isinstance(value, Mapping) else {})}


def _attributes(value: Any) -> dict[str, Any]:
    names = [one.name for one in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    slots = {name: getattr(value, name) for name in names if hasattr(value, name)}
    return {**slots, **getattr(value, "__dict__", {})}


def _like(value: Any, entry_of: Callable[[Any, Any], Any]) -> Any:
    """A value of the same type with other entries: also attributes beside a mapping's keys."""
    if isinstance(value, tuple):
        entries = [entry_of(place, entry) for place, entry in enumerate(value)]
        return type(value)(*entries) if hasattr(value, "_fields") else tuple(entries)
    if isinstance(value, Mapping) and not isinstance(value, MutableMapping):
        return {key: entry_of(key, entry) for key, entry in value.items()}
    made = copy.copy(value)
    if isinstance(value, MutableMapping):
        for key, entry in value.items():
            made[key] = entry_of(key, entry)
    for name, entry in _attributes(value).items():
        object.__setattr__(made, name, entry_of(name, entry))
    return made


def _size(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) and not value.is_nested else type(value).__name__


def _other_rows(n_rows: int, received: str) -> OutputRowsError:
    return OutputRowsError(
        f"Expected forward_func to return one row for each of the {n_rows} rows that it was given, but got {received}."
    )
