"""What a measurement prints: a markdown table under the versions that its figures depend on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

from torch import Tensor


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


def with_error(values: Tensor) -> str:
    """The mean of values (N,), with its standard error in parentheses."""
    return f"{float(values.mean()):+.3f} ({float(values.std() / len(values) ** 0.5):.3f})"
