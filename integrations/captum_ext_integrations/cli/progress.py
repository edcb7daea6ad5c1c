"""The bar of a run over a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from captum_ext.core.text import shown


@contextmanager
def bar(description: str) -> Iterator[Callable[[int, int], object]]:
    """A bar on standard error, as the function that is told how many samples of how many are done."""
    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(shown(description, 60), total=None)
        yield partial(_update, progress, task)


def _update(progress: Progress, task: Any, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)
