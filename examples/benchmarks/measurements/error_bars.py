"""Whether a band of 1.96 standard errors covers the exact map in 95 %, and what asking for the errors costs.

    python -m examples.benchmarks.measurements.error_bars [--images 2] [--repeats 200] [--cost 3]

The five-layer network of the benchmark (ReLU, maximum pooling) and a smooth one (GELU) on scikit-learn's digits, both
trained; references are other digits. Exact is the middle rule with 1,000 points on every path: where gradients jump, as
those of ReLU do, 200 Gauss-Legendre nodes are hardly better than 200 random points. Coverage is over pixels that are
not zero in all repeats, images and repeats. "variance" is the mean square of the standard errors over the variance of
the repeats. `--cost` measures pairs of calls with and without errors on EfficientNet-Lite0, for an otherwise idle
machine.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from captum_ext import ExpectedGradients
from examples.benchmarks.engine.networks import GREY, load_network
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.samples import load_samples
from examples.benchmarks.engine.timing import paired
from examples.benchmarks.engine.training import fit_classifier

# References and gradients of a call: several points on each path, two and three, one, and all on one path.
SETTINGS = ((5, 50), (10, 50), (10, 100), (20, 50), (20, 100), (50, 50), (1, 50), (1, 100))
EXACT = 1000


def smooth_network() -> nn.Sequential:
    """Three layers with GELU, trained on the digits that are not explained."""
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(784, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10)]
    samples = load_samples("digits-train", GREY)
    images, labels = samples.load(range(len(samples)))
    network = nn.Sequential(*layers)
    fit_classifier(network, images, torch.tensor(labels), epochs=15, title="smooth network on digits")
    return network.eval()


def covered(network: nn.Module, images: Tensor, references: Tensor, n_steps: int, repeats: int) -> tuple[float, float]:
    """Share of pixels inside their band, and the mean squared error over the variance."""
    with torch.no_grad():
        targets = network(images).argmax(1)
    method = ExpectedGradients(network, references=references)
    exact = method.attribute(images, target=targets, n_steps=EXACT, method="riemann_middle").double()
    maps, errors = [], []
    for seed in tqdm(range(repeats), leave=False):
        one, error = method.attribute(
            images,
            target=targets,
            n_steps=n_steps,
            method="stratified",
            generator=torch.Generator().manual_seed(seed),
            return_standard_error=True,
        )
        maps.append(one.double())
        errors.append(error.double())
    every, bands = torch.stack(maps), torch.stack(errors)
    used = every.var(0) > 0
    inside = ((every - exact).abs() <= 1.96 * bands)[:, used]
    return float(inside.double().mean()), float(bands.square().mean(0)[used].sum() / every.var(0)[used].sum())


def cost(pairs: int) -> list[object]:
    """Seconds of a call with errors and without, and the ratio of pairs."""
    network = load_network("efficientnet-lite0", Path("outputs/networks"))
    images, _ = load_samples("imagenet20", network.preparation).load(range(11))
    method = ExpectedGradients(network.model, references=images[1:])

    def call(errors: bool) -> object:
        source = torch.Generator().manual_seed(0)
        if errors:
            return method.attribute(images[:1], target=0, generator=source, return_standard_error=True)
        return method.attribute(images[:1], target=0, generator=source)

    return ["EfficientNet-Lite0", *paired(lambda: call(True), lambda: call(False), pairs)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--cost", type=int, default=0, help="pairs of calls")
    parser.add_argument("--cache", type=Path, default=Path("outputs/networks"))
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    arguments = parser.parse_args()
    if arguments.fast:
        arguments.images, arguments.repeats, arguments.cost = 1, 4, min(arguments.cost, 1)
    warnings.simplefilter("ignore", UserWarning)  # one point a path: an upper bound, as the table shows
    if arguments.repeats:
        networks = {"five layers, ReLU": load_network("five-layers", arguments.cache).model, "GELU": smooth_network()}
        digits, _ = load_samples("digits", GREY).load(range(arguments.images))
        others, _ = load_samples("digits-train", GREY).load(range(50))
        rows = [
            [name, count, n_steps, *covered(network, digits, others[:count], n_steps, arguments.repeats)]
            for name, network in networks.items()
            for count, n_steps in SETTINGS
        ]
        header = ("network", "references", "gradients", "covered by 1.96 errors", "variance")
        print_table("Expected Gradients with errors", header, rows)
    if arguments.cost:
        header = ("network", "with errors (s)", "without (s)", "ratio of pairs")
        print_table("What errors cost", header, [cost(arguments.cost)])


if __name__ == "__main__":
    main()
