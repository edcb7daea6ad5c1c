"""Where in a row's output the numbers are that a target looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from captum_ext.core.output_rows import describe_output
from captum_ext.exceptions import ArgumentError

#: A key, the name of an attribute, or an index.
Step = str | int


def entry_of(output: Any, step: Step) -> Any:
    """What is in an output under a key, the name of an attribute, or an index.

    Raises:
        ArgumentError: nothing is, or nothing for each row.
    """
    try:
        is_name = isinstance(step, str) and not (isinstance(output, Mapping) and step in output)
        found = getattr(output, str(step)) if is_name else output[step]
    except (AttributeError, LookupError, TypeError) as error:
        expected = f"of a model that returns something at {step!r} for each row"
        raise ArgumentError("target", expected, describe_output(output)) from error
    if found is None:
        expected = f"of a model that returns one row at {step!r} for each row of inputs"
        raise ArgumentError("target", expected, f"{describe_output(output)}, without rows there")
    return found


def tensor_of(output: Any, names: Sequence[str], at: Step | None) -> Tensor:
    """The tensor of a row's output: itself, what is at a place, or under the first of some usual names.

    Raises:
        ArgumentError: there is none.
    """
    if at is not None:
        output = entry_of(output, at)
    elif not isinstance(output, Tensor):
        known = [name for name in names if _has(output, name)]
        if not known:
            usual = ", ".join(f'"{name}"' for name in names)
            expected = f"of a model that returns a tensor, or one under {usual}; say with `at` where it is"
            raise ArgumentError("target", expected, describe_output(output))
        output = entry_of(output, known[0])
    if not isinstance(output, Tensor):
        raise ArgumentError("target", "of a place that holds a tensor", describe_output(output))
    return output


def _has(output: Any, name: str) -> bool:
    found = output.get(name) if isinstance(output, Mapping) else None
    return (getattr(output, name, None) if found is None else found) is not None
