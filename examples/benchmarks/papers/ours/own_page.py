"""Write docs/own-report.md from the kept rows of the report: both budgets, every condition, mean and test.

    python -m examples.benchmarks.papers.ours.own_page NAME

Nothing is computed anew.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from examples.benchmarks.engine.experiment import Options
from examples.benchmarks.engine.kept_rows import commits_of, rows_of
from examples.benchmarks.engine.networks import LITE
from examples.benchmarks.papers.ours.own_candidates import CANDIDATES
from examples.benchmarks.papers.ours.own_experiment import Asked
from examples.benchmarks.papers.ours.own_report import report
from examples.benchmarks.papers.ours.own_rivals import RIVALS

KEPT = Path(__file__).parents[2] / "results" / "own"
PAGE = Path(__file__).parents[4] / "docs" / "own-report.md"
HEAD = """# The report of our own method

Written by `python -m examples.benchmarks.papers.ours.own_page "{name}"` from rows that are in
the repository. What was asked, and what follows from it, is on [the page of the experiment](own-method.md). Higher is
better in insertion and DiffID, lower in deletion, ROAD and pixel flipping; "transferred" is the mean of what the other
two EfficientNet-Lites give. Cost is in gradients, a pass forwards counting 0.4. Time is measured apart from it, and is
one more condition of the plan.
"""
RERUN = """
```bash
python -m examples.benchmarks.papers.ours --report "{name}" --budget {budget} --workers 2
```

Rows made with commit{s} {commits}.
"""


def page(name: str, budgets: tuple[int, ...] = (25, 12)) -> str:
    """The page's text."""
    text = HEAD.format(name=name)
    names = (name, *(rival for rival in RIVALS if rival != name))
    for budget in budgets:
        options = Options(KEPT, fast=False)
        experiments = Asked((*LITE, "five-layers"), budget, names, "report")(options)
        rows = {folder.split("-")[2]: table for folder, table in rows_of(experiments, options).items()}
        commits = [f"`{commit[:7]}`" for commit in commits_of(experiments, options)]
        about = RERUN.format(
            name=name, budget=budget, s="s" if len(commits) > 1 else "", commits=", ".join(commits) or "unknown"
        )
        text += f"\n## {budget} gradients\n{about}\n{_with_headings(report(rows, name), budget)}\n"
    return text


def _with_headings(text: str, budget: int) -> str:
    """The report's tables, each below a heading of its own."""
    text = re.sub(
        r"^(.+), means over the images on which a number is defined:$",
        rf"### \1, {budget} gradients: means over the images on which a number is defined",
        text,
        flags=re.MULTILINE,
    )
    return re.sub(r"^(.+ against each, .+):$", rf"### Every test, {budget} gradients\n\n\1.", text, flags=re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=CANDIDATES, metavar="NAME", help="of the method that is reported")
    PAGE.write_text(page(parser.parse_args().name))


if __name__ == "__main__":
    main()
