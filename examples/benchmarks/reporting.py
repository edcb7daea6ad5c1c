"""What the benchmarks share: versions, tables, peak memory, and commands timed in turn in fresh processes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
import torch
from torch import nn


def versions() -> str:
    """One line: the versions that a figure depends on."""
    from importlib.metadata import version

    packages = ", ".join(f"{name} {version(name)}" for name in ("captum-ext", "captum", "torch", "numpy"))
    return f"{packages}; Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a markdown table under a title and the versions."""
    print(f"\n{title}\n({versions()})\n")
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |")


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


@dataclass
class Passes:
    """Calls of a model, in order: how many rows, and whether with gradients."""

    calls: list[tuple[int, bool]] = field(default_factory=list)

    @property
    def gradients(self) -> int:
        """Rows that went through the model with gradients."""
        return sum(rows for rows, with_gradient in self.calls if with_gradient)

    @property
    def forwards(self) -> int:
        """Rows that went through it without."""
        return sum(rows for rows, with_gradient in self.calls if not with_gradient)


@contextmanager
def counted_passes(model: nn.Module) -> Iterator[Passes]:
    """Count the rows that go through the model inside the block."""
    passes = Passes()

    def count(module: nn.Module, arguments: tuple[Any, ...]) -> None:  # noqa: ARG001
        if isinstance(arguments[0], tuple):  # Captum's DeepLift gives inputs and baselines as tuples
            rows = sum(len(group[0]) for group in arguments if isinstance(group, tuple))
        else:
            rows = len(arguments[0])
        passes.calls.append((rows, torch.is_grad_enabled()))

    handle = model.register_forward_pre_hook(count)
    try:
        yield passes
    finally:
        handle.remove()
