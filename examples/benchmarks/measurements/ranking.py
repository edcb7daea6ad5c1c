"""Whether Weighted IG should rank pixels by the signed map or by its magnitude, as its authors' two scripts differ.

    python -m examples.benchmarks.measurements.ranking [--digits 200] [--images 10]

The five-layer network on scikit-learn's digits, and EfficientNet-Lite0 on the ImageNet images inside foolbox; target =
predicted class. Both rankings weigh the same maps: the seven standard baselines with three gradients each, and the
authors' six with one each, as in their evaluation (the real image is one that is not explained). Deletion and insertion
are areas of the class's probability, deletion to zero and, as the authors delete, to the mean colour of the corners;
insertion from the blurred image; DiffID is of the logit. Differences are absolute minus signed, paired by image.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from captum_ext import WeightedIntegratedGradients
from captum_ext.attr import BaselineFitness
from captum_ext.metrics import PerturbationCurve, deletion, diff_id, insertion
from captum_ext.references import standard_baselines, weighted_ig_baselines
from examples.benchmarks.engine.networks import Network, load_network
from examples.benchmarks.engine.reporting import print_table, with_error
from examples.benchmarks.engine.samples import load_samples

BATCH = 10


def areas(network: Network, images: Tensor, targets: Tensor, maps: Tensor) -> dict[str, Tensor]:
    """Area (N,) under each curve; NaN where it is not valid."""
    probability = nn.Sequential(network.model, nn.Softmax(1)).eval()
    curves: dict[str, PerturbationCurve] = {
        "deletion, to zero": deletion(probability, images, maps, targets),
        "deletion, to the corners": deletion(probability, images, maps, targets, baselines="corners"),
        "insertion": insertion(probability, images, maps, targets, baselines=network.blurred(images)),
        "DiffID": diff_id(network.model, images, maps, targets),
    }
    return {name: torch.where(curve.valid, curve.auc, torch.nan) for name, curve in curves.items()}


def explained(network: Network, images: Tensor, other: Tensor, authors: bool, ranking: str) -> BaselineFitness:
    """Weights and maps of one ranking."""
    prepared = network.preparation

    def references(x: Tensor) -> Tensor:
        if authors:
            return weighted_ig_baselines(x, (0, 1), image=other, mean=prepared.mean, std=prepared.std)
        return standard_baselines(x, (0, 1), mean=prepared.mean, std=prepared.std)

    method = WeightedIntegratedGradients(network.model, references=references, ranking=ranking)
    with torch.no_grad():
        targets = network.model(images).argmax(1)
    generators = [torch.Generator().manual_seed(row) for row in range(len(images))]
    return method.evaluate_baselines(images, target=targets, n_steps=6 if authors else 21, generator=generators)


def compared(network: Network, images: Tensor, other: Tensor, authors: bool) -> list[list[object]]:
    """A row for each metric: both rankings, and their difference."""
    columns: dict[str, dict[str, list[Tensor]]] = {}
    informative = dict.fromkeys(("signed", "absolute"), 0)
    for part in tqdm(images.split(BATCH), disable=None):
        with torch.no_grad():
            targets = network.model(part).argmax(1)
        for ranking in informative:
            found = explained(network, part, other, authors, ranking)
            informative[ranking] += int(found.informative.sum())
            for name, values in areas(network, part, targets, found.attributions).items():
                columns.setdefault(name, {}).setdefault(ranking, []).append(values)
    rows: list[list[object]] = []
    for name, by_ranking in columns.items():
        signed, absolute = (torch.cat(by_ranking[ranking]) for ranking in ("signed", "absolute"))
        valid = (signed + absolute).isfinite()
        means = [float(values[valid].mean()) for values in (signed, absolute)]
        rows.append([name, int(valid.sum()), *means, with_error((absolute - signed)[valid])])
    rows.append(["images whose weights say something", len(images), *informative.values(), ""])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=int, default=200)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--cache", type=Path, default=Path("outputs/benchmark/networks"), help="of the trained network")
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    counts = (3, 2) if options.fast else (options.digits, options.images)
    data = (("five-layers", "digits", "digits-train"), ("efficientnet-lite0", "imagenet20", "photographs"))
    for (name, shown, others), count in zip(data, counts, strict=True):
        network = load_network(name, options.cache)
        samples, rest = load_samples(shown, network.preparation, count), load_samples(others, network.preparation, 1)
        images, other = samples.load(range(len(samples)))[0], rest.load([0])[0]
        for authors in (False, True):
            baselines = "the authors' six baselines" if authors else "the seven standard baselines"
            print_table(
                f"{name}, {len(images)} images, {baselines}",
                ["metric", "n", "signed", "absolute", "absolute - signed (standard error)"],
                compared(network, images, other, authors),
            )


if __name__ == "__main__":
    main()
