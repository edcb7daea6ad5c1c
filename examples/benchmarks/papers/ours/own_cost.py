"""What a candidate's map costs beside the bare passes of its network: the plan asks for 1.05 of their time at most.

    python -m examples.benchmarks.papers.ours.own_cost NAME [--network efficientnet-lite0 ...] [--runs 9]

Pairs in turn, for an otherwise idle machine: the map of one image, and as many gradients and passes forwards of single
images. Seconds are medians, and the ratio is the median of pairs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from captum_ext.core.passes import counted_passes
from examples.benchmarks.engine.networks import LITE, Network, load_network
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.timing import paired
from examples.benchmarks.papers.ours.own_candidates import CANDIDATES
from examples.benchmarks.papers.ours.own_images import tuning_samples


def beside_passes(name: str, network: Network, budget: int, runs: int) -> list[object]:
    """Gradients, passes forwards, seconds of the map and of the bare passes, and their ratio."""
    samples = tuning_samples("five-layers" if network.name == "five-layers" else LITE[0])
    image, _ = samples.load([0])
    with torch.no_grad():
        target = int(network.model(image).argmax(1))

    def explain() -> object:
        return CANDIDATES[name](network, image, [target], budget, 0)

    explain()  # a rival's steps are fitted in its first call
    with counted_passes(network.model) as passes:
        explain()

    def bare() -> None:
        for _ in range(passes.gradients):
            leaf = image.clone().requires_grad_()
            torch.autograd.grad(network.model(leaf)[0, target], leaf)
        with torch.no_grad():
            for _ in range(passes.forwards):
                network.model(image)

    return [network.name, passes.gradients, passes.forwards, *paired(explain, bare, runs)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=CANDIDATES, metavar="NAME", help="of a candidate")
    parser.add_argument("--network", nargs="+", choices=(*LITE, "five-layers"), default=[*LITE, "five-layers"])
    parser.add_argument("--budget", type=int, default=25)
    parser.add_argument("--runs", type=int, default=9, help="pairs")
    asked = parser.parse_args()
    networks = [load_network(name, Path("outputs")) for name in asked.network]
    rows = [beside_passes(asked.name, network, asked.budget, asked.runs) for network in networks]
    header = ["network", "gradients", "forwards", "the map (s)", "bare passes (s)", "ratio of pairs"]
    print_table(f"{asked.name}, {asked.budget} gradients, {asked.runs} pairs", header, rows)


if __name__ == "__main__":
    main()
