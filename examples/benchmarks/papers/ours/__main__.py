"""Run the tuning of docs/own-method.md.

    python -m examples.benchmarks.papers.ours [--fast] [--network efficientnet-lite0] [--budget 25] [--all] [NAME ...]

Without names every candidate runs. Rows are kept in examples/benchmarks/results/own, and it goes on where it was
interrupted: remove those of a candidate to run it again. With --show nothing runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examples.benchmarks.engine.experiment import Options, lines_of, run
from examples.benchmarks.engine.kept_rows import rows_of
from examples.benchmarks.papers.ours.own_candidates import CANDIDATES
from examples.benchmarks.papers.ours.own_experiment import Tuning
from examples.benchmarks.papers.ours.own_summary import table

KEPT = Path(__file__).parents[2] / "results" / "own"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of candidates; default all")
    parser.add_argument("--network", choices=("efficientnet-lite0", "five-layers"), default="efficientnet-lite0")
    parser.add_argument("--budget", type=int, default=25, help="gradients for each map; default 25")
    parser.add_argument("--all", action="store_true", help="all images, not only some of them")
    parser.add_argument("--fast", action="store_true", help="two images, to see that everything works")
    parser.add_argument("--show", action="store_true", help="the table of the rows that are there")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(CANDIDATES)
    if unknown:
        parser.error(f"expected names of {', '.join(CANDIDATES)}, but got {', '.join(sorted(unknown))}")
    options = Options(Path("outputs/own-fast") if arguments.fast else KEPT, arguments.fast)
    names = tuple(arguments.names) or tuple(CANDIDATES)
    build = Tuning(arguments.network, arguments.budget, names, not arguments.all)
    failures = [] if arguments.show else run(build, options, arguments.workers)
    for rows in rows_of(build(options), options).values():
        print(table(rows))
    for line in lines_of(failures):
        print(f"failed: {line}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
