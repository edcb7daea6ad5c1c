"""What the command line says: lines, warnings, and errors as one line with an exit code.

All text goes to the terminal through here. It holds names and messages of others, and is `shown`.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from captum_ext.core.text import shown
from captum_ext.exceptions import AdaptError, ArgumentError, ArgumentTypeError, CaptumExtError
from captum_ext_integrations.cli.config import file_of
from captum_ext_integrations.cli.loading import STOPPED

MISTAKE = 2  # exit code: nothing could be done; 1: some images have no result
CLOSED = 141  # whoever read the output has gone, as `head` does; what a shell says of such an end
_MOST = 4_000  # characters of a message
_MOST_KNOWN, _CLOSE = 30, 6  # names that are all listed, and of more
_NAMED = re.compile(r"(?:argument )?`([A-Za-z_]\w*)(\[[^`]*\])?`")
# Arguments of `adapt` in its messages, and the options that mean them.
_OF_ADAPT = re.compile(r"(?<![\w-])(size|channels|mean|std|layer|grid|output|processor|class_names)=")
_OPTIONS = {"size": "--crop", "channels": "--channels", "mean": "--mean", "std": "--std", "layer": "--layer"}
# What a run says of its configuration; "model" and "method" alone are digests of what was computed with.
_CONFIGURED = re.compile(
    r"\b(?:(?:\w+\.)+|(?!model|method))(\w+)(?= was (?:int|float|str|bool|list|tuple|dict|NoneType)\b)"
)


class OutputClosedError(Exception):
    """Nobody reads standard output any more."""


class _Output(Console):
    def on_broken_pipe(self) -> None:
        raise OutputClosedError


def say(*lines: str) -> None:
    """Lines of the output, each in one piece unless a terminal is narrower."""
    console = _Output()
    for line in lines:
        _print(console, Text(fitted(line, _width(console))))


def say_table(head: list[str], rows: list[list[str]]) -> None:
    """A table of the output."""
    table = Table(box=None)
    for name in head:
        table.add_column(_cell(name), overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    _print(_Output(), table)


def warn(message: str) -> None:
    """A line beside the output."""
    _mark("Warning: ", "bold yellow", message)


def with_messages(command: Callable[..., int]) -> Callable[..., None]:
    """Errors that a user can mend as one line, which names options as the user writes them, and the exit code."""
    names = names_of_options(command)

    @functools.wraps(command)
    def run(*arguments: Any, **given: Any) -> None:
        raise typer.Exit(_exit_code(functools.partial(command, *arguments, **given), names))

    return run


def names_of_options(command: Callable[..., Any]) -> dict[str, str]:
    """Parameter -> what a user writes: --n-steps, or FOLDER of an argument without a name."""
    hints = inspect.get_annotations(command, eval_str=True)  # typing.get_type_hints of 3.10 wraps some
    names = {}
    for parameter, hint in hints.items():
        for entry in getattr(hint, "__metadata__", ()):
            given = (getattr(entry, "default", None), *(getattr(entry, "param_decls", None) or ()))
            declared = [one for one in given if isinstance(one, str) and one.startswith("--")]
            is_argument = type(entry).__name__ == "ArgumentInfo"
            names[parameter] = parameter.upper() if is_argument else [*declared, "--" + parameter.replace("_", "-")][0]
    return names


def explained(error: BaseException, names: Mapping[str, str]) -> str:
    """What a user can read of an error."""
    if isinstance(error, OSError) and isinstance(error.filename, str | Path) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if not isinstance(error, CaptumExtError | OSError):  # of the model, of torch, of Ray
        lines = [line for line in str(error).splitlines() if line.strip()] or [""]
        return f"{type(error).__name__}: {lines[-1].strip()} (CAPTUM_EXT_TRACEBACK=1 shows where)"
    if isinstance(error, AdaptError):
        return in_options(str(error))
    text = _few_of_many(error) if isinstance(error, ArgumentError) else str(error)
    file = file_of(error.argument) if isinstance(error, ArgumentError | ArgumentTypeError) else None
    text = text if file is None else f"{file}: {text}"
    text = _NAMED.sub(lambda found: names.get(found[1], found[0]), text)
    return _CONFIGURED.sub(lambda found: names.get(found[1], found[0]), text)


def in_options(text: str) -> str:
    """A message of `captum_ext.models.adapt` with options in place of its arguments.

    What has no option is given by a function.
    """
    text = _OF_ADAPT.sub(lambda found: _OPTIONS.get(found[1], found[0]), text.replace("Pass adapt ", "Pass "))
    functions = " (Arguments as {} are given by a function: --model MODULE:FUNCTION may return what adapt makes.)"
    left = _OF_ADAPT.findall(text)
    return text + functions.format(f"{left[0]}=") if left else text


def _few_of_many(error: ArgumentError) -> str:
    """The message; of more names than one can read, as the layers of a network, those that are close."""
    known = error.expected.removeprefix("one of ").split(", ")
    if len(known) <= _MOST_KNOWN or not error.expected.startswith("one of "):
        return str(error)
    close = get_close_matches(error.received.strip("'\""), known, n=_CLOSE, cutoff=0.5) or known[-_CLOSE:]
    few = f"one of {len(known)} names, such as {', '.join(close)}"
    return str(ArgumentError(error.argument, few, error.received))


def _exit_code(command: Callable[[], int], names: Mapping[str, str]) -> int:
    try:
        with _warnings_as_messages():
            code = command()
        _flush()
        return code
    except OutputClosedError:
        _leave_output()
        return CLOSED
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        with suppress(OSError, OutputClosedError):
            _Output(stderr=True).print("Stopped.")
        return STOPPED
    except Exception as error:
        if os.environ.get("CAPTUM_EXT_TRACEBACK") and not isinstance(error, CaptumExtError | OSError):
            raise
        _mark("Error: ", "bold red", explained(error, names))
        return MISTAKE


class _Shell(TyperGroup):
    """The commands; mistakes in their options are told as all others are."""

    def main(
        self,
        args: Any = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that the arguments name, and end the process with its exit code."""
        how = {"windows_expand_args": windows_expand_args, **extra}
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **how)
        except OutputClosedError:
            _leave_output()
            code = CLOSED
        except typer.Abort:  # Ctrl-C before the command has begun, in older versions of click
            code = STOPPED
        except Exception as error:
            if not hasattr(error, "format_message"):  # of typer's own copy of click, whose classes are not public
                raise
            code = _told(error)
        if standalone_mode:
            sys.exit(code or 0)
        return code


Shell: type[TyperGroup] = _Shell  # with the signature of its host, whose keywords nobody else should see


def _told(error: Any) -> int:
    """Say what is wrong with the options; the exit code."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return int(error.exit_code)
    message = _sentence(error.format_message())
    file = file_of(getattr(getattr(error, "param", None), "name", None))
    message = message if file is None else f"{file}: {message}"
    commands = getattr(getattr(context, "command", None), "commands", None)
    if commands and "command" in message:
        message += f" There are: {', '.join(commands)}."
    if context is not None:
        with suppress(OSError, OutputClosedError):
            _print(_Output(stderr=True), Text(shown(context.get_usage())))
        message += f" See: {context.command_path} --help"
    _mark("Error: ", "bold red", message)
    return int(error.exit_code)


def _sentence(message: str) -> str:
    return message if message.endswith((".", "?")) else message + "."


@contextmanager
def _warnings_as_messages() -> Iterator[None]:
    """What is warned of as a line, without the place in the code, which a user of the shell has not written."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: warn(str(message))
        yield


def _mark(label: str, style: str, message: str) -> None:
    """A line with a word in front, to standard error; nothing where that is closed or full."""
    with suppress(OSError, OutputClosedError):
        console = _Output(stderr=True)
        text = fitted(label + message, _width(console))
        _print(console, Text.assemble((text[: len(label)], style), text[len(label) :]))


def fitted(message: str, width: int | None) -> str:
    """A message on one line; at a terminal of this width on several, between words and indented, as no other begins."""
    text = shown(message, _MOST)
    if width is None or len(text) <= width:
        return text
    lines = textwrap.wrap(
        text,
        max(width, 20),
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    return "\n".join(lines)


def _width(console: Console) -> int | None:
    return console.width if console.is_terminal else None


def _cell(text: str) -> Text:
    return Text(shown(text, _MOST))


def _print(console: Console, what: Text | Table) -> None:
    try:
        console.print(what, soft_wrap=isinstance(what, Text))
        if console.file is not None:
            console.file.flush()
    except OSError as error:
        raise _not_written(error) from error


def _flush() -> None:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        raise _not_written(error) from error


def _not_written(error: OSError) -> Exception:
    """What it means that standard output takes no more; for standard error nobody could be told."""
    if isinstance(error, BrokenPipeError):
        return OutputClosedError()
    _leave_output()
    return OSError(error.errno, error.strerror, "standard output")


def _leave_output() -> None:
    """Let what is still to be written to standard output go nowhere: Python flushes it at its end."""
    with suppress(OSError, ValueError, AttributeError):  # no file, or closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
