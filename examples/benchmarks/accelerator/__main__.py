"""Throughput, memory and uses on the GPU of this machine; needs PyTorch 2.11 or newer and downloads nothing.

    python -m examples.benchmarks.accelerator --out gpu.json [--minutes 5]
    python -m examples.benchmarks.accelerator --page docs/gpu.md examples/benchmarks/results/gpu-*.json

The first writes what it measured after every part, with the name of the card and the versions. Without a GPU it runs
the same code once on a small network on the CPU, which shows that the code works and measures nothing. The second
writes the page of the documentation from such files: no number on it is typed.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterable
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch

import captum_ext
from captum_ext.core.atomic import replaced
from examples.benchmarks.accelerator import throughput, uses
from examples.benchmarks.accelerator.gpu_page import page
from examples.benchmarks.accelerator.gpu_timing import Deadline


def card() -> str:
    """The name of the GPU, or what stands for one."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: a small run on the CPU"


def environment() -> dict[str, str]:
    """What the figures depend on."""
    versions = {name: version(name) for name in ("torch", "torchvision", "captum")}
    versions |= {"CUDA": str(torch.version.cuda), "cuDNN": str(torch.backends.cudnn.version())}
    versions |= {"captum-ext": captum_ext.__version__, "Python": platform.python_version()}
    return {"card": card(), "measured": date.today().isoformat(), **versions}


def measure(out: Path, minutes: float, runs: int) -> None:
    """Measure part after part, and write after each what there is."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    small, deadline = device.type == "cpu", Deadline.after(minutes)
    parts: dict[str, Iterable[dict[str, object]]] = {
        "throughput": throughput.measure(device, deadline, runs, small),
        "completeness": () if small else uses.completeness(device, runs),
        "scoring": uses.scoring(device, runs, small),
        "data set": (uses.data_set(device, small) for _ in range(1)),
        "graphs": throughput.graphs(device, runs),
    }
    found: dict[str, object] = {"environment": environment(), "runs": runs}
    for title, rows in parts.items():
        collected = []
        for row in rows:
            collected.append(row)
            found[title] = collected
            print(title, json.dumps(row), flush=True)
            _write(out, json.dumps(found, indent=1))
    _write(out, json.dumps(found, indent=1))


def _write(path: Path, text: str) -> None:
    with replaced(path) as temporary:
        temporary.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file for the figures")
    parser.add_argument(
        "--minutes",
        type=float,
        default=5,
        help="of the first part; the others take one more",
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--page", nargs="+", type=Path, metavar=("PAGE", "FIGURES"), help="write a page from figures")
    options = parser.parse_args()
    if options.page:
        target, *files = options.page
        _write(target, page([json.loads(file.read_text()) for file in files]))
    elif options.out:
        measure(options.out, options.minutes, options.runs)
    else:
        sys.exit(parser.format_usage().strip())


if __name__ == "__main__":
    main()
