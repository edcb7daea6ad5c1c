"""Measure what the package costs, program after program, and write docs/performance.md from the rows.

    python -m examples.benchmarks.performance [--only speed tolerance ...] [--again]
    python -m examples.benchmarks.performance --page

Every program of `measurements` that the page has runs in a process of its own and leaves its tables in
examples/benchmarks/results/performance, with machine, versions, commit and load; one that is there from this commit is
not run again, so that an interrupted run goes on. --page writes the page from what is there. --fast runs everything
small, into --folder outputs/performance, which shows that it works and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from captum_ext.core.atomic import replaced
from examples.benchmarks.engine import reporting
from examples.benchmarks.engine.environment import machine, versions
from examples.benchmarks.engine.store import current_commit
from examples.benchmarks.performance.performance_page import page
from examples.benchmarks.performance.programs import PROGRAMS, Program

ROOT = Path(__file__).parents[3]
ROWS, PAGE = ROOT / "examples" / "benchmarks" / "results" / "performance", ROOT / "docs" / "performance.md"
SMALL = Path("outputs/performance")


def kept(folder: Path) -> dict[str, dict[str, Any]]:
    """What was measured, by program."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}


def is_done(found: Mapping[str, Any] | None, program: Program, commit: str) -> bool:
    """Whether rows are those of this command and commit."""
    return found is not None and (found["command"], found["commit"]) == (program.command, commit)


def commit_of_code() -> str:
    """The commit of this checkout; kept rows, and the page of them, are no changes of it."""
    commit = current_commit()
    written = [str(path.relative_to(ROOT)) for path in (ROWS.parent, PAGE)]
    others = ["git", "status", "--porcelain", "--", ".", *(f":(exclude){path}" for path in written)]
    try:
        changed = subprocess.run(others, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return commit
    return commit if changed else commit.partition(" ")[0]


def measure(program: Program, folder: Path, commit: str, fast: bool) -> bool:
    """Run a program in a process of its own, which writes its rows; whether it did."""
    command = [sys.executable, "-m", "examples.benchmarks.performance", "--work", program.name]
    command += ["--folder", str(folder), "--commit", commit, *(["--fast"] if fast else [])]
    print(f"\n== {program.command}{' --fast' if fast else ''}", flush=True)
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def work(program: Program, folder: Path, commit: str, fast: bool) -> None:
    """Run a program here and write the tables that it printed."""
    load, start = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan"), time.perf_counter()
    sys.argv = [program.name, *program.arguments, *(["--fast"] if fast else [])]
    runpy.run_module(f"examples.benchmarks.measurements.{program.name}", run_name="__main__", alter_sys=False)
    found = {
        "command": program.command,
        "measured": date.today().isoformat(),
        "commit": commit,
        "seconds": time.perf_counter() - start,
        "load": load,
        "machine": machine(),
        "versions": versions(),
        "tables": [asdict(table) for table in reporting.PRINTED],
    }
    _write(folder / f"{program.name}.json", json.dumps(found, indent=1, default=str) + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary:
        temporary.write_text(text)


def main() -> None:
    by_name = {program.name: program for program in PROGRAMS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=by_name, metavar="PROGRAM", help=", ".join(by_name))
    parser.add_argument("--again", action="store_true", help="also what is there from this commit")
    parser.add_argument("--page", action="store_true", help="write the page from the rows that are there")
    parser.add_argument("--folder", type=Path, help="of the rows")
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    parser.add_argument("--work", choices=by_name, help=argparse.SUPPRESS)
    parser.add_argument("--commit", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.folder or (SMALL if options.fast else ROWS)
    if options.work:
        work(by_name[options.work], folder, options.commit, options.fast)
        return
    failed, commit = [], commit_of_code()
    for program in () if options.page else PROGRAMS:
        chosen = program.name in (options.only or by_name)
        if chosen and (options.again or not is_done(kept(folder).get(program.name), program, commit)):
            failed += [] if measure(program, folder, commit, options.fast) else [program.name]
    _write(folder / "performance.md" if options.fast else PAGE, page(kept(folder)))
    if failed:
        sys.exit(f"These failed, and keep the rows that they had: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
