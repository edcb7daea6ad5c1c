"""What the metrics cost beside their forward passes, and against Quantus's PixelFlipping at as many of them.

    python -m examples.benchmarks.measurements.metrics [--runs 5]

Pairs are timed in turn in one process; ratios are medians over pairs.
"""

from __future__ import annotations

import argparse
import importlib
import warnings

import numpy as np
import quantus
import torch
from torch import Tensor, nn

from captum_ext.core.passes import counted_passes
from captum_ext.metrics import deletion, diff_id, insertion
from captum_ext_integrations.quantus_metrics import Deletion
from examples import real_data
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.timing import paired
from examples.benchmarks.measurements.bare_passes import bare, small_network


def against_bare(model: nn.Module, x: Tensor, target: Tensor, maps: Tensor, runs: int) -> list[list[object]]:
    """Each metric against the same calls of the model."""
    rows: list[list[object]] = []
    for metric in (insertion, deletion, diff_id):
        with counted_passes(model) as passes:
            metric(model, x, maps, target)
        seconds, alone, ratio = paired(
            lambda metric=metric: metric(model, x, maps, target), bare(model, x, target, passes), runs
        )
        rows.append([metric.__name__, len(x), passes.forwards / len(x), seconds, alone, ratio])
    return rows


def against_quantus(name: str, model: nn.Module, x: Tensor, target: Tensor, step: int, runs: int) -> list[object]:
    """Quantus's PixelFlipping with `step` elements a step against Deletion with as many steps, which has one forward
    more, for the unchanged input."""
    inputs, labels = x.numpy(), target.numpy()
    maps = np.random.default_rng(0).random((len(x), 1, *x.shape[2:]), dtype=np.float32)
    theirs = quantus.PixelFlipping(
        features_in_step=step, perturb_baseline="black", normalise=False, disable_warnings=True
    )
    ours = Deletion(n_steps=x[0].numel() // step, return_auc_per_sample=False)  # channels count one by one there

    def run(metric: object) -> list[list[float]]:
        return metric(model, inputs, labels, maps, softmax=True)  # type: ignore[operator, no-any-return]

    passes = []
    for metric in (theirs, ours):
        with counted_passes(model) as counted:
            run(metric)
        passes.append(counted.forwards / len(x))
    seconds, our_seconds, ratio = paired(lambda: run(theirs), lambda: run(ours), runs)
    return [name, len(x), *passes, seconds, our_seconds, ratio]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    runs, n_images = (1, 2) if options.fast else (options.runs, 16)
    model, x = real_data.efficientnet_lite0(), real_data.imagenet_images()[0][:n_images]
    maps = torch.rand(x.shape[0], 1, 224, 224, generator=torch.Generator().manual_seed(0))
    lenet = importlib.import_module("quantus.helpers.model.models").LeNet().eval()
    small, digits = small_network(), torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        target, digit_target = model(x).argmax(1), small(digits).argmax(1)
    print_table(
        "EfficientNet-Lite0, 224 x 224: seconds against the same forward passes alone",
        ["metric", "images", "forwards for each", "seconds", "bare, seconds", "ratio"],
        against_bare(model, x, target, maps, runs),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = [
            against_quantus("Quantus's LeNet, 28 x 28", lenet, digits, lenet(digits).argmax(1), 28, runs),
            against_quantus("five layers, 28 x 28", small, digits, digit_target, 28, runs),
            against_quantus("EfficientNet-Lite0", model, x, target, 224 * 32, max(1, runs // 2)),
        ]
    print_table(
        "Quantus's PixelFlipping against our Deletion through Quantus",
        ["network", "images", "forwards, Quantus", "forwards, ours", "seconds, Quantus", "ours", "times ours"],
        rows,
    )


if __name__ == "__main__":
    main()
