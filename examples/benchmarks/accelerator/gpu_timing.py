"""Seconds and device memory of a piece of work, of several in turn, and until when there is time for more."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

Work = Callable[[], object]


def seconds(work: Work) -> float:
    """Seconds of a piece of work, until the device has done it."""
    _finish()
    begin = time.perf_counter()
    work()
    _finish()
    return time.perf_counter() - begin


def in_turn(works: Sequence[Work], runs: int) -> list[float]:
    """Median seconds of each, after one round that does not count; every round has all of them in turn."""
    for work in works:
        seconds(work)
    rounds = [[seconds(work) for work in works] for _ in range(runs)]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def peak_megabytes(work: Work) -> float:
    """Memory of the device above what was allocated before, MB; zero without a GPU."""
    if not torch.cuda.is_available():
        work()
        return 0.0
    _finish()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    _finish()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Deadline:
    """Until when parts may be begun."""

    end: float

    @classmethod
    def after(cls, minutes: float) -> Deadline:
        """So many minutes from now."""
        return cls(time.perf_counter() + 60 * minutes)

    @property
    def passed(self) -> bool:
        """Whether nothing more is to be begun."""
        return time.perf_counter() > self.end
