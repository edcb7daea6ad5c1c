"""Seconds and peak memory of a block, of pairs in turn, and of commands in turn in fresh processes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def paired(work: Callable[[], object], against: Callable[[], object], runs: int) -> list[float]:
    """Median seconds of both, and the median ratio of pairs."""
    seconds(work), seconds(against)
    pairs = [(seconds(work), seconds(against)) for _ in range(runs)]
    first, second = (statistics.median(column) for column in zip(*pairs, strict=True))
    return [first, second, statistics.median(a / b for a, b in pairs)]


@dataclass
class Measured:
    """Seconds and growth of resident memory (MB, peak above the start) of a block."""

    seconds: float = 0.0
    megabytes: float = 0.0


@contextmanager
def measured(interval: float = 0.002) -> Iterator[Measured]:
    """Measure the block; a thread samples resident memory every `interval` seconds."""
    result, process, stop = Measured(), psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def sample() -> None:
        nonlocal peak
        while not stop.wait(interval):
            peak = max(peak, process.memory_info().rss)

    thread = threading.Thread(target=sample)
    thread.start()
    start = time.perf_counter()
    try:
        yield result
    finally:
        result.seconds = time.perf_counter() - start
        stop.set()
        thread.join()
        result.megabytes = (max(peak, process.memory_info().rss) - before) / 2**20


def in_turn(module: str, variants: Sequence[Sequence[str]], runs: int) -> list[list[dict[str, float]]]:
    """Run `python -m module VARIANT` in fresh processes, variants in turn; the JSON each prints, by variant and run."""
    results: list[list[dict[str, float]]] = [[] for _ in variants]
    for _ in range(runs):
        for variant, collected in zip(variants, results, strict=True):
            command = [sys.executable, "-m", module, *variant]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            collected.append(json.loads(output.splitlines()[-1]))
    return results
