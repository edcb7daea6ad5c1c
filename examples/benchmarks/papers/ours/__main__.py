"""Run the tuning of docs/own-method.md, or its report.

    python -m examples.benchmarks.papers.ours [--fast] [--network efficientnet-lite0] [--budget 25] [--all] [NAME ...]
    python -m examples.benchmarks.papers.ours --report NAME [--network ...] [--budget 25] [--fast]

Without names every candidate runs on the tuning images. With --report the method NAME and its rivals run on the
reporting images of the networks, all four of them without --network. Rows are kept in examples/benchmarks/results/own,
and it goes on where it was interrupted: remove those of a candidate to run it again. With --show nothing runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examples.benchmarks.engine.experiment import Options, lines_of, run
from examples.benchmarks.engine.kept_rows import rows_of
from examples.benchmarks.engine.networks import LITE
from examples.benchmarks.papers.ours.own_candidates import CANDIDATES
from examples.benchmarks.papers.ours.own_experiment import Asked
from examples.benchmarks.papers.ours.own_report import report
from examples.benchmarks.papers.ours.own_rivals import RIVALS
from examples.benchmarks.papers.ours.own_summary import table

KEPT = Path(__file__).parents[2] / "results" / "own"
NETWORKS = (*LITE, "five-layers")
TUNED = (LITE[0], "five-layers")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of candidates; default all")
    parser.add_argument("--report", metavar="NAME", choices=CANDIDATES, help="the method that is reported")
    parser.add_argument("--network", nargs="+", choices=NETWORKS, help=f"default {LITE[0]}, of the report all")
    parser.add_argument("--budget", type=int, default=25, help="gradients for each map; default 25")
    parser.add_argument("--all", action="store_true", help="all images, not only some of them")
    parser.add_argument("--fast", action="store_true", help="two images, to see that everything works")
    parser.add_argument("--show", action="store_true", help="the table of the rows that are there")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(CANDIDATES)
    if unknown:
        parser.error(f"expected names of {', '.join(CANDIDATES)}, but got {', '.join(sorted(unknown))}")
    if arguments.report is None and not set(arguments.network or ()) <= set(TUNED):
        parser.error(f"expected {' or '.join(TUNED)}, since nothing is tuned on the others")
    build = _asked(arguments)
    options = Options(Path("outputs/own-fast") if arguments.fast else KEPT, arguments.fast)
    failures = [] if arguments.show else run(build, options, arguments.workers)
    rows = rows_of(build(options), options)
    if arguments.report is not None:
        print(report({name.split("-")[2]: table for name, table in rows.items()}, arguments.report))
    for one in () if arguments.report is not None else rows.values():
        print(table(one))
    for line in lines_of(failures):
        print(f"failed: {line}", file=sys.stderr)
    return 1 if failures else 0


def _asked(arguments: argparse.Namespace) -> Asked:
    if arguments.report is not None:
        names = (arguments.report, *(name for name in RIVALS if name != arguments.report))
        return Asked(tuple(arguments.network or NETWORKS), arguments.budget, names, "report")
    names, images = tuple(arguments.names) or tuple(CANDIDATES), "all" if arguments.all else "some"
    return Asked(tuple(arguments.network or LITE[:1]), arguments.budget, names, images)


if __name__ == "__main__":
    sys.exit(main())
