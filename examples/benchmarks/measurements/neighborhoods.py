"""Whether LPI's neighbourhoods are better than one: DiffID by their number, minus that of Expected Gradients.

    python -m examples.benchmarks.measurements.neighborhoods [--images 400] [--fits 3]

The five-layer network on scikit-learn's digits, target = predicted class, score = logit. References are fitted to the
1,397 digits that it was trained on, 20 for each neighbourhood; every map has 20 gradients, those of Expected Gradients
from references drawn of all these digits. A difference is paired by image and the mean over fits, which differ in the
seed of the clustering and of the random points; its standard error is over images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from captum_ext import ExpectedGradients, LocalPathIntegration, ReferenceDistribution
from captum_ext.metrics import diff_id
from examples.benchmarks.engine.networks import GREY, five_layers_on_digits
from examples.benchmarks.engine.reporting import print_table, with_error
from examples.benchmarks.engine.samples import load_samples

NUMBERS = (1, 2, 3, 4, 5, 7, 9, 10)  # 7 and 9 are the paper's, for ImageNet's 1,000 classes; 10 are as many as classes
GRADIENTS = REFERENCES = 20


def outputs_of(model: nn.Module, images: Tensor) -> Tensor:
    """The model's outputs, batch by batch."""
    with torch.no_grad():
        return torch.cat([model(part) for part in images.split(200)])


def areas(model: nn.Module, images: Tensor, targets: Tensor, pool: Tensor, seed: int) -> dict[str, Tensor]:
    """DiffID (N,) of Expected Gradients and of LPI by number of neighbourhoods; NaN where it is not valid."""
    outputs = outputs_of(model, pool)
    methods: dict[str, ExpectedGradients | LocalPathIntegration] = {"EG": ExpectedGradients(model, references=pool)}
    for n in NUMBERS:
        fitted = ReferenceDistribution.fit_outputs(outputs, lambda places: pool[places], n, REFERENCES, seed=seed)
        methods[f"{n}"] = LocalPathIntegration(model, references=fitted)
    found = {}
    for name, method in methods.items():
        generators = [torch.Generator().manual_seed(1_000_003 * seed + row) for row in range(len(images))]
        maps = method.attribute(images, target=targets, n_steps=GRADIENTS, generator=generators)
        curve = diff_id(model, images, maps, targets)
        found[name] = torch.where(curve.valid, curve.auc, torch.nan)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400, help="at most; there are 400")
    parser.add_argument("--fits", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path("outputs/benchmark/networks"), help="of the trained network")
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    n_images, n_fits = (20, 1) if options.fast else (options.images, options.fits)
    model, _ = five_layers_on_digits(options.cache)
    explained, trained = (load_samples(name, GREY) for name in ("digits", "digits-train"))
    images, _ = explained.load(range(min(n_images, len(explained))))
    pool, _ = trained.load(range(len(trained)))
    targets = outputs_of(model, images).argmax(1)
    fits = [areas(model, images, targets, pool, seed) for seed in tqdm(range(n_fits), disable=None)]
    means = {name: torch.stack([fit[name] for fit in fits]).mean(0) for name in fits[0]}
    valid = torch.stack(list(means.values())).isfinite().all(0)
    control = means.pop("EG")[valid]
    rows = [[n, float(scores[valid].mean()), with_error(scores[valid] - control)] for n, scores in means.items()]
    title = f"{int(valid.sum())} of {len(images)} digits count, {n_fits} fits; EG: DiffID {float(control.mean()):.3f}"
    print_table(title, ["neighbourhoods", "DiffID", "minus EG (standard error)"], rows)


if __name__ == "__main__":
    main()
