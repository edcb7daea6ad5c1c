"""What computes is imported with the first command: torch takes seconds, in which Ctrl-C ends the program quietly."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType

STOPPED = 130  # exit code after Ctrl-C, as of every program of a shell
_PACKAGE = "captum_ext_integrations.cli"
_LAST = f"{_PACKAGE}.commands"  # imports all others
_SAID = "Loading torch ..."


def computing(module: str) -> ModuleType:
    """A module of the command line that computes; the first call imports all of them."""
    if _LAST not in sys.modules:
        with ended_quietly(), _said():
            importlib.import_module(_LAST)
    return importlib.import_module(f"{_PACKAGE}.{module}")


@contextmanager
def ended_quietly() -> Iterator[None]:
    """Ctrl-C ends the process at once in the block, which has written nothing yet.

    An exception would not do: extension modules turn it into errors of their own while they are imported.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # where no handler can be set
        return
    before = signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(_number: int, _frame: FrameType | None) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        print(file=sys.stderr, flush=True)  # so that the prompt does not stand in the line that is there
    os._exit(STOPPED)


@contextmanager
def _said() -> Iterator[None]:
    """A word to whoever waits at a terminal, gone when the block ends."""
    at_terminal = sys.stderr is not None and sys.stderr.isatty()
    if at_terminal:
        print(_SAID, end="\r", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if at_terminal:
            print(" " * len(_SAID), end="\r", file=sys.stderr, flush=True)
