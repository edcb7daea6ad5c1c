"""Where and with what a run was made."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from examples.benchmarks.core.experiment import THREADS, Options
from examples.benchmarks.core.store import current_commit

_PACKAGES = ("captum-ext", "captum", "grad-cam", "torch", "torchvision", "numpy", "scipy", "scikit-image", "pandas")


def environment(options: Options, workers: int) -> dict[str, Any]:
    """Versions, commit, seed and machine."""
    return {
        "versions": {name: _version(name) for name in ("python", *_PACKAGES)},
        "commit": current_commit(),
        "seed": options.seed,
        "size": "fast" if options.fast else "full",
        "data": options.data or "offline",
        "network": options.network,
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GB",
            "system": platform.system(),
        },
        "workers": f"{workers} at once, {THREADS} thread each",
    }


def record_cost(options: Options, parts: int, minutes: float, gigabytes: float) -> str:
    """Add what an invocation cost to those before it, and say what all of them cost together."""
    path = options.output / "cost.json"
    try:
        before = json.loads(path.read_text())
    except (OSError, ValueError):
        before = []
    if parts:
        before.append({"parts": parts, "minutes": minutes, "gigabytes": gigabytes})
        path.write_text(json.dumps(before))
    if not before:
        return "no parts were run"
    minutes, largest = sum(one["minutes"] for one in before), max(one["gigabytes"] for one in before)
    times = f" in {len(before)} invocations" if len(before) > 1 else ""
    return f"{sum(one['parts'] for one in before)} parts, {minutes:.0f} minutes{times}, at most {largest:.1f} GB"


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
