"""What the command line says: lines as they are, warnings, and errors as one line with an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from captum_ext.exceptions import CaptumExtError

MISTAKE = 2  # exit code: nothing could be done; 1: some images have no result


def say(message: str) -> None:
    """A line as it is: paths may hold what rich takes for markup."""
    Console().print(message, markup=False, emoji=False, highlight=False, soft_wrap=True)


def warn(message: str) -> None:
    """A line beside the output."""
    _mark("Warning: ", "bold yellow", message)


def with_messages(command: Callable[..., int]) -> Callable[..., None]:
    """Errors that a user can mend as one line, and the exit code."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            code = command(*arguments, **options)
        except (CaptumExtError, OSError) as error:
            _mark_error(str(error))
            code = MISTAKE
        except typer.Exit:
            raise
        except Exception as error:  # of the model, of torch, of Ray
            if os.environ.get("CAPTUM_EXT_TRACEBACK"):
                raise
            lines = [line for line in str(error).splitlines() if line.strip()] or [""]
            _mark_error(f"{type(error).__name__}: {lines[-1].strip()} (CAPTUM_EXT_TRACEBACK=1 shows where)")
            code = MISTAKE
        except KeyboardInterrupt:
            Console(stderr=True).print("Stopped.")
            code = 130
        sys.stdout.flush()
        raise typer.Exit(code)

    return run


def _mark_error(message: str) -> None:
    _mark("Error: ", "bold red", message)


def _mark(label: str, style: str, message: str) -> None:
    text = Text.assemble((label, style), " ".join(message.split("\n")))
    Console(stderr=True, soft_wrap=True).print(text)
