"""Bars that count, and no bar at all where none is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm


@contextmanager
def counted(description: str, total: int | None, unit: str, show: bool) -> Iterator[Callable[[int], object]]:
    """The function to tell about units that are done.

    Even a bar that is not shown takes tqdm's lock, which processes share, and waits where one was killed that had it.
    """
    if not show:
        yield lambda _: None
        return
    with tqdm(total=total, desc=description, unit=unit) as bar:
        yield bar.update
