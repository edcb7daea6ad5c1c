"""How many rows to have in flight on this machine: seconds and memory of one call, in fresh processes.

python -m examples.benchmarks.measurements.rows [--runs 3] [--rows 2 4 6 8 12 16]
"""

from __future__ import annotations

import argparse
import json
import statistics

import torch

from captum_ext.attr import IntegratedGradients
from examples import real_data
from examples.benchmarks.measurements.reporting import print_table
from examples.benchmarks.measurements.timing import in_turn, measured


def work(rows: int) -> None:
    model, image = real_data.efficientnet_lite0(), real_data.photographs("chelsea")
    with torch.no_grad():
        target = model(image).argmax(1)
    with measured() as used:
        IntegratedGradients(model).attribute(image, target=target, internal_batch_size=rows)
    print(json.dumps({"seconds": used.seconds, "megabytes": used.megabytes}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="+", default=[2, 4, 6, 8, 12, 16])
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return
    if options.fast:
        options.runs, options.rows = 1, [4, 6]
    results = in_turn(
        "examples.benchmarks.measurements.rows", [["--work", str(rows)] for rows in options.rows], options.runs
    )
    table = [
        [rows, *(statistics.median(one[key] for one in measurements) for key in ("seconds", "megabytes"))]
        for rows, measurements in zip(options.rows, results, strict=True)
    ]
    print_table("EfficientNet-Lite0, one photograph, 50 gradients", ["rows in flight", "seconds", "MB"], table)


if __name__ == "__main__":
    main()
