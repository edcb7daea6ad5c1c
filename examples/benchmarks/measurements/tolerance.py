"""How many gradients a small completeness gap costs: `tol=` of the adaptive rule against Captum's Gauss nodes.

    python -m examples.benchmarks.measurements.tolerance [--tolerances 0.05 0.02] [--converged 600] [--first 50 50]

EfficientNet-Lite0, 20 real images, zero baseline, `n_steps=200`. The adaptive rule stops every image by itself.
Captum's user has to choose one number of nodes for all images: beside it stands the smallest number (in steps of ten)
at which no image's gap is larger than the tolerance. "Gap" is |sum of attributions - difference of scores| over the
difference, "map error" the distance (L2, channels summed) from a map of many more Gauss nodes, over that map's norm: a
small gap does not make a map right. Seconds are of both calls on the same images, in turn.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass

import captum.attr
import torch
from torch import Tensor, nn

from captum_ext.attr import IntegratedGradients
from examples import real_data
from examples.benchmarks.engine.reporting import print_table

CAP = 200
STEP = 10
MOST_NODES = 1000
ROWS_AT_ONCE = 8  # of Captum's call: the fastest that it has here


@dataclass(frozen=True)
class Explained:
    """A map (1, C, H, W), its gap, what it cost in gradients and in seconds."""

    attributions: Tensor
    gap: float
    n_gradients: int
    seconds: float


class Images:
    """The images, their classes and the differences of scores that maps have to explain."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        self.model, self.images = model, images
        with torch.no_grad():
            scores = model(images)
            self.targets = scores.argmax(1)
            start = model(torch.zeros_like(images[:1]))[0, self.targets]
        self.differences = scores.gather(1, self.targets[:, None])[:, 0].double() - start.double()

    def by_tolerance(self, place: int, tol: float) -> Explained:
        """The adaptive rule, which stops by itself."""
        image, target = self.images[place : place + 1], self.targets[place : place + 1]
        begin = time.perf_counter()
        attributions, counts = IntegratedGradients(self.model).attribute(
            image, target=target, method="adaptive", tol=tol, n_steps=CAP, return_n_gradients=True
        )
        return self._explained(place, attributions, int(counts), time.perf_counter() - begin)

    def by_nodes(self, place: int, n_steps: int) -> Explained:
        """Captum's own call."""
        image, target = self.images[place : place + 1], self.targets[place : place + 1]
        begin = time.perf_counter()
        attributions = captum.attr.IntegratedGradients(self.model).attribute(
            image, target=target, n_steps=n_steps, internal_batch_size=ROWS_AT_ONCE
        )
        return self._explained(place, attributions, n_steps, time.perf_counter() - begin)

    def _explained(self, place: int, attributions: Tensor, n_gradients: int, seconds: float) -> Explained:
        difference = float(self.differences[place])
        gap = abs(float(attributions.double().sum()) - difference) / abs(difference)
        return Explained(attributions, gap, n_gradients, seconds)


def fewest_nodes(images: Images, tol: float, first: int) -> tuple[int, list[Explained]]:
    """The smallest number of nodes, from `first` on, at which no image's gap is larger, with its maps.

    The image that failed last is tried first: most numbers cost a single image.
    """
    order = list(range(len(images.images)))
    for n_steps in range(first, MOST_NODES + 1, STEP):
        explained: dict[int, Explained] = {}
        for place in list(order):
            explained[place] = images.by_nodes(place, n_steps)
            if explained[place].gap > tol:
                order.remove(place)
                order.insert(0, place)
                break
        else:
            return n_steps, [explained[place] for place in range(len(order))]
    raise RuntimeError(f"a gap above {tol} with {MOST_NODES} nodes")


def row(name: str, explained: list[Explained], converged: list[Tensor]) -> list[object]:
    """One row of the table."""
    counts, gaps = [one.n_gradients for one in explained], torch.tensor([one.gap for one in explained])
    errors = [
        float((one.attributions - reference).sum(1).norm() / reference.sum(1).norm())
        for one, reference in zip(explained, converged, strict=True)
    ]
    seconds = sum(one.seconds for one in explained)
    mean = sum(counts) / len(counts)
    return [
        name,
        mean,
        max(counts),
        float(gaps.max()),
        float(gaps.mean()),
        sum(errors) / len(errors),
        max(errors),
        seconds,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tolerances", nargs="+", type=float, default=[0.05, 0.02])
    parser.add_argument("--converged", type=int, default=600, help="Gauss nodes of the map taken as converged")
    parser.add_argument(
        "--first",
        nargs="+",
        type=int,
        default=[50],
        help="number of nodes from which the smallest is searched, by tolerance",
    )
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    model, pictures = real_data.efficientnet_lite0(), real_data.imagenet_images()[0]
    if options.fast:
        pictures, options.converged, options.tolerances, options.first = pictures[:1], 50, [0.5], [STEP]
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    images = Images(model, pictures)
    places = range(len(pictures))
    converged = [images.by_nodes(place, options.converged).attributions for place in places]
    rows = []
    for tol, first in zip(options.tolerances, itertools.cycle(options.first)):
        adaptive = [images.by_tolerance(place, tol) for place in places]
        rows.append(row(f'"adaptive", tol={tol}', adaptive, converged))
        print(rows[-1], flush=True)  # the search below takes a while
        n_steps, gauss = fewest_nodes(images, tol, first)
        rows.append(row(f"Captum, {n_steps} Gauss nodes", gauss, converged))
        print(rows[-1], flush=True)
    rows.append(
        row("Captum, 50 Gauss nodes (its default)", [images.by_nodes(place, 50) for place in places], converged)
    )
    header = ["rule", "gradients, mean", "most", "worst gap", "mean gap", "map error, mean", "largest", "seconds, all"]
    print_table(
        f"EfficientNet-Lite0, {len(pictures)} images; map error against {options.converged} nodes", header, rows
    )


if __name__ == "__main__":
    main()
