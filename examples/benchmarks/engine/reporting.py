"""What a measurement prints: a markdown table under the versions that its figures depend on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Table:
    """What was printed: a title, and rows of cells under a header."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]

    def lines(self) -> list[str]:
        """The table in markdown, without its title; numbers with three significant digits."""
        body = ["| " + " | ".join(_shown(cell) for cell in row) + " |" for row in self.rows]
        return ["| " + " | ".join(self.header) + " |", "|" + " --- |" * len(self.header), *body]


#: The tables of this process, in order.
PRINTED: list[Table] = []


def versions() -> str:
    """One line: the versions that a figure depends on."""
    from importlib.metadata import version

    packages = ", ".join(f"{name} {version(name)}" for name in ("captum-ext", "captum", "torch", "numpy"))
    return f"{packages}; Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a markdown table under a title and the versions."""
    table = Table(title, header, rows)
    PRINTED.append(table)
    print(f"\n{title}\n({versions()})\n", *table.lines(), sep="\n")


def _shown(cell: object) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:,.0f}" if 999.5 <= abs(cell) < 1e9 else f"{cell:.3g}"


def with_error(values: Tensor) -> str:
    """The mean of values (N,), with its standard error in parentheses."""
    return f"{float(values.mean()):+.3f} ({float(values.std() / len(values) ** 0.5):.3f})"
