"""How many rows to have in flight on this machine, and what it is worth that freed memory is held: seconds a row.

    python -m examples.benchmarks.measurements.rows [--runs 3] [--rows 1 2 4 6 8 12 16 24]
        [--networks efficientnet resnet50 vit_b_16 small]

A process for each network and each of both (held, `CAPTUM_EXT_HOLD_MEMORY=0`); in it, numbers of rows in turn, one call
of Integrated Gradients (24 gradients of an image) and one of insertion (24 forwards) each. Medians over runs.
ResNet-50 and ViT-B/16 have random weights, on which costs do not depend.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict

import torch
from torch import Tensor, nn

from captum_ext.attr import IntegratedGradients
from captum_ext.core.chunks import RowLimit
from captum_ext.metrics import insertion
from examples import real_data
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.timing import seconds
from examples.benchmarks.measurements.bare_passes import small_network

N_PASSES = 24
NETWORKS = ("efficientnet", "resnet50", "vit_b_16", "small")
WORKS = ("gradients", "forwards")


def network(name: str) -> tuple[nn.Module, Tensor]:
    """A network and an image for it."""
    if name == "small":
        return small_network(), torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    image = real_data.photographs("chelsea")
    if name == "efficientnet":
        return real_data.efficientnet_lite0(), image
    import torchvision

    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None).eval(), image


def work(name: str, rows: list[int], runs: int) -> None:
    """Measure in this process, and print milliseconds a row by work and rows in flight."""
    model, image = network(name)
    with torch.no_grad():
        target = model(image).argmax(1)
    explain, order = IntegratedGradients(model), torch.randn_like(image)
    calls = {
        "gradients": lambda n: explain.attribute(image, target=target, n_steps=N_PASSES, internal_batch_size=n),
        "forwards": lambda n: insertion(
            model, image, order, target, baselines=0, n_steps=N_PASSES, internal_batch_size=n
        ),
    }
    taken = defaultdict(list)
    for run in range(runs + 1):
        for n in rows:
            for label, call in calls.items():
                spent = seconds(lambda call=call, n=n: call(n))
                if run:  # the first is for warming up
                    taken[f"{label}:{n}"].append(1000 * spent / N_PASSES)
    default = RowLimit(None, (image,)).rows
    print(json.dumps({"default": default, **{key: statistics.median(values) for key, values in taken.items()}}))


def measured_apart(name: str, rows: list[int], runs: int, held: bool) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "examples.benchmarks.measurements.rows", "--work", name, "--runs", str(runs)]
    environment = {**os.environ, "CAPTUM_EXT_HOLD_MEMORY": str(int(held))}
    found = subprocess.run(
        [*command, "--rows", *map(str, rows)], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    taken: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 2, 4, 6, 8, 12, 16, 24])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    if options.work:
        work(options.work, options.rows, options.runs)
        return
    if options.fast:
        options.runs, options.rows, options.networks = 1, [4, 6], ["small"]
    table: list[list[object]] = []
    for name in options.networks:
        by_held = {held: measured_apart(name, options.rows, options.runs, held) for held in (True, False)}
        for label in WORKS:
            for held, taken in by_held.items():
                row = [taken[f"{label}:{n}"] for n in options.rows]
                table.append([name, label, "held" if held else "given back", *row, int(taken["default"])])
    header = ["network", "passes", "freed memory is", *(f"{n} in flight" for n in options.rows), "default"]
    print_table(f"Milliseconds a row, one image, {N_PASSES} passes", header, table)


if __name__ == "__main__":
    main()
