"""Where and with what a run was made."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from captum_ext.core.atomic import replaced
from examples.benchmarks.engine.experiment import THREADS, Experiment, Options, count_done
from examples.benchmarks.engine.store import current_commit, room_for

_PACKAGES = ("captum-ext", "captum", "grad-cam", "torch", "torchvision", "numpy", "scipy", "scikit-image", "pandas")


def environment(options: Options, workers: int) -> dict[str, Any]:
    """Versions, commit, seed and machine."""
    return {
        "versions": versions(),
        "commit": current_commit(),
        "seed": options.seed,
        "size": "fast" if options.fast else "full",
        "data": options.data or "offline",
        "network": options.network,
        "machine": machine(),
        "workers": f"{workers} at once, {THREADS} thread each",
    }


def versions() -> dict[str, str]:
    """Of Python and of the packages that numbers depend on."""
    return {name: _version(name) for name in ("python", *_PACKAGES)}


def machine() -> dict[str, Any]:
    """Processor, cores, memory and system."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GB",
        "system": platform.system(),
    }


@dataclass
class Memory:
    """The largest sum of memory of this process and of all that it started, in GB."""

    peak: float = 0.0


@contextmanager
def watched_memory(interval: float = 2.0) -> Iterator[Memory]:
    """Add up memory every `interval` seconds of the block, pages that processes share once, not once for each."""
    memory, stop, process = Memory(), threading.Event(), psutil.Process()

    def sample() -> None:
        sizes = [_own_share(one) for one in (process, *process.children(recursive=True))]
        memory.peak = max(memory.peak, sum(sizes) / 2**30)

    def watch() -> None:
        while not stop.wait(interval):
            sample()

    sample()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        stop.set()
        thread.join()
        sample()


def _own_share(process: psutil.Process) -> int:
    """Bytes of a process: its proportional set size, which only Linux has, else what it would free by ending."""
    try:
        memory = process.memory_full_info()
    except psutil.Error:  # it has ended
        return 0
    return int(getattr(memory, "pss", memory.uss))


@contextmanager
def recorded_cost(options: Options, experiments: Sequence[Experiment]) -> Iterator[None]:
    """Write down what the block cost beside what those before it did, also when it is interrupted."""
    path, start = options.output / "cost.json", time.perf_counter()
    before, done = _costs(options), count_done(experiments, options)
    with watched_memory() as memory:
        try:
            yield
        finally:
            spent = {"parts": count_done(experiments, options) - done, "minutes": (time.perf_counter() - start) / 60}
            if spent["parts"] or spent["minutes"] > 1:
                with room_for(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with replaced(path) as temporary:
                        temporary.write_text(json.dumps([*before, {**spent, "gigabytes": memory.peak}]))


def cost_of(options: Options, experiments: Sequence[Experiment]) -> str:
    """What all invocations into this folder cost together, and of how many parts that is not known."""
    costs, done = _costs(options), count_done(experiments, options)
    if not costs:
        return f"{done} parts, whose time and memory were not recorded" if done else "no parts were run"
    parts, minutes = (sum(one[name] for one in costs) for name in ("parts", "minutes"))
    times = f" in {len(costs)} invocations" if len(costs) > 1 else ""
    largest = max(one["gigabytes"] for one in costs)
    unknown = f"; of {done - parts} more nothing was recorded" if done > parts else ""
    return f"{parts} parts, {minutes:.0f} minutes{times}, at most {largest:.1f} GB of memory{unknown}"


def _costs(options: Options) -> list[dict[str, Any]]:
    try:
        costs: list[dict[str, Any]] = json.loads((options.output / "cost.json").read_text())
    except (OSError, ValueError):
        return []
    return costs


def _version(name: str) -> str:
    if name == "python":
        return platform.python_version()
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
