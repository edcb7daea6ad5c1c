"""`captum-ext diff`: whether explanations changed between two runs, as a table, a sentence and an exit code."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captum_ext.core.text import in_csv
from captum_ext.selection import Difference, DiffOptions, diff
from captum_ext.selection.similarity import MEASURES
from captum_ext_integrations.cli.messages import say, say_table
from captum_ext_integrations.cli.written import write

BEYOND = 1  # exit code
_COLUMNS = ("mean", "noise", "drop", "p", "differs", "limit")


@dataclass(frozen=True)
class DiffJob:
    """What is compared, and what is allowed, as it was asked for."""

    run_a: Path
    run_b: Path
    noise: tuple[Path, ...] = ()
    least_correlation: float | None = None
    least_overlap: float | None = None
    most_moved: float | None = None
    fail_on_difference: bool = False
    most: int = 10
    out: Path | None = None

    @property
    def limits(self) -> dict[str, float]:
        """By measure, where there is one."""
        given = {"correlation": self.least_correlation, "overlap": self.least_overlap, "moved": self.most_moved}
        return {name: limit for name, limit in given.items() if limit is not None}


def compare(job: DiffJob, options: DiffOptions) -> int:
    """The table, the images that changed most, the verdict, and files on request; 1 beyond what is allowed."""
    if job.out is not None:
        job.out.mkdir(parents=True, exist_ok=True)
    found = diff(job.run_a, job.run_b, noise=job.noise, limits=job.limits, options=options)
    columns = [name for name in _COLUMNS if job.noise or name in ("mean", "limit")]
    rows = [[str(name), *(_cell(row[column]) for column in columns)] for name, row in found.summary.iterrows()]
    say_table(["measure", *columns], rows)
    if job.most:
        shown = [name for name in ("index", "name", *MEASURES) if name in found.images]
        say("", "Changed most:")
        say_table(shown, [[_cell(row[name]) for name in shown] for _, row in found.images.head(job.most).iterrows()])
    say("", found.sentence, *found.notes)
    if job.out is not None:
        _write(found, job.out)
    return BEYOND if found.beyond or (job.fail_on_difference and found.differs) else 0


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _write(found: Difference, folder: Path) -> None:
    images = found.images.copy()
    if "name" in images:
        images["name"] = images["name"].map(in_csv)
    tables = {"summary.csv": (found.summary, True), "images.csv": (images, False)}
    for name, (table, with_index) in tables.items():
        text = io.StringIO()
        table.to_csv(text, index=with_index)
        write(folder / name, text.getvalue().encode())
    write(folder / "answer.txt", "\n".join([found.sentence, *found.notes, ""]).encode())
    say("Written: " + ", ".join(str(folder / name) for name in ("answer.txt", *tables)))
