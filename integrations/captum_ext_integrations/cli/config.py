"""Long calls from a file: TOML whose keys are the options' names, which the command line overrides."""

from __future__ import annotations

import importlib
import sys
import types
import typing
from collections.abc import Mapping
from contextvars import ContextVar
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from captum_ext.core.regular_files import regular_file
from captum_ext_integrations.cli.options import EXAMPLES

_toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
#: The context of the call, and the file that it reads its options from.
_CALL: ContextVar[tuple[typer.Context, Path] | None] = ContextVar("call", default=None)
_MOST_BYTES = 2**20
_OF_NUMBERS = ("mean", "std", "box", "region")  # text with commas on the command line, lists in a file
_CALLED = {int: "an integer", float: "a number", bool: "true or false", str: "a text"}


def config_option(names: Mapping[str, str], hints: Mapping[str, Any]) -> Any:
    """The option --config of a command.

    Args:
        names: what a user writes of each parameter, see `messages.names_of_options`.
        hints: the annotation of each parameter.
    """
    keys = {name.removeprefix("--").lower(): parameter for parameter, name in names.items()}

    def read(context: typer.Context, value: Path | None) -> Path | None:
        _CALL.set(None if value is None else (context, value))
        if value is not None and not context.resilient_parsing:
            found = _of_command(_read(value), str(context.info_name), value)
            context.default_map = _defaults(found, keys, hints, value)
        return value

    return typing.Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            is_eager=True,
            callback=read,
            help="TOML with options of this call, such as n-steps = 50; what is given here overrides it. A table, "
            "[explain], has those of one command; paths are seen from the current folder.",
        ),
    ]


def file_of(parameter: str | None) -> Path | None:
    """The file that a parameter's value comes from; None: the command line, or a default."""
    call = _CALL.get()
    if call is None or parameter is None:
        return None
    context, path = call
    source = context.get_parameter_source(parameter)
    return path if getattr(source, "name", None) == "DEFAULT_MAP" else None


def _read(path: Path) -> dict[str, Any]:
    try:
        with regular_file(path) as file:
            content: dict[str, Any] = _toml.loads(file.read(_MOST_BYTES).decode())
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}" if error.strerror else str(error)) from error
    except ValueError as error:
        raise typer.BadParameter(f"{path} is no TOML: {error}") from error
    return content


def _of_command(content: dict[str, Any], command: str, path: Path) -> dict[str, Any]:
    """What is for all commands, and what a table has for this one."""
    tables = {name: entry for name, entry in content.items() if name in EXAMPLES}
    for name, entry in tables.items():
        if not isinstance(entry, Mapping):
            raise typer.BadParameter(f"{path}: expected {name} to be a table, [{name}], but got {entry!r}")
    common = {name: entry for name, entry in content.items() if name not in tables}
    return {**_dashed(common), **_dashed(tables.get(command, {}))}


def _dashed(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): entry for name, entry in entries.items()}


def _defaults(
    found: Mapping[str, Any], keys: Mapping[str, str], hints: Mapping[str, Any], path: Path
) -> dict[str, Any]:
    """Values by parameter, as the command line would give them.

    Raises:
        typer.BadParameter: an unknown key, or a value of another type.
    """
    defaults = {}
    for key, value in found.items():
        if key not in keys:
            close = get_close_matches(key, list(keys), n=3, cutoff=0.5)
            hint = f"Close ones are {', '.join(close)}" if close else f"There are {', '.join(sorted(keys))}"
            raise typer.BadParameter(f"{path}: {key!r} is no option here. {hint}")
        defaults[keys[key]] = _value(key, value, hints[keys[key]], path)
    return defaults


def _value(key: str, value: Any, hint: Any, path: Path) -> Any:
    kinds = [one for one in _parts(hint) if one is not types.NoneType]
    kind = kinds[0]
    if typing.get_origin(kind) is list:
        several = value if isinstance(value, list) else [value]
        return [_single(key, one, str, path) for one in several]
    if key in _OF_NUMBERS and isinstance(value, list):
        return ",".join(str(_single(key, one, float, path)) for one in value)
    if (key in _OF_NUMBERS or key == "target") and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return _single(key, value, kind, path)


def _parts(hint: Any) -> tuple[Any, ...]:
    """Types of an annotation, without what is annotated."""
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(part for one in typing.get_args(hint) for part in _parts(one))
    return (hint,)


def _single(key: str, value: Any, kind: Any, path: Path) -> Any:
    plain = str if kind is Path or issubclass(kind, Enum) else kind
    takes = (int, float) if plain is float else plain
    if not isinstance(value, takes) or (isinstance(value, bool) and plain is not bool):
        raise typer.BadParameter(f"{path}: expected {key} to be {_CALLED[plain]}, but got {value!r}")
    return value
