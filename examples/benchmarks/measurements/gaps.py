"""How far SAMP's sums are from the score difference, and what momentum, bound and rule change; IG beside it.

    python -m examples.benchmarks.measurements.gaps

EfficientNet-Lite0, the 20 ImageNet images inside foolbox, target = predicted class, score = logit. "Gap" is
|sum of attributions - difference of scores|, for one direction alone: insertion from the blurred input, deletion to
zero. IG runs from the same baseline with the same number of gradients as the row "SAMP".
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from captum_ext import SAMP
from captum_ext.attr import IntegratedGradients
from captum_ext.core.passes import counted_passes
from captum_ext.images import gaussian_blur
from examples import real_data
from examples.benchmarks.engine.reporting import print_table

N_STEPS = 14

Explain = Callable[[Tensor, Tensor, str], tuple[Tensor, Tensor]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    model, images = real_data.efficientnet_lite0(), real_data.imagenet_images()[0]
    images = images[:2] if options.fast else images
    with torch.no_grad():
        targets = model(images).argmax(1)

    def samp(n_steps: int = N_STEPS, method: str | None = None, **settings: object) -> Explain:
        def explain(x: Tensor, target: Tensor, direction: str) -> tuple[Tensor, Tensor]:
            walker = SAMP(model, direction=direction, **settings)
            return walker.attribute(x, target=target, n_steps=n_steps, method=method, return_convergence_delta=True)

        return explain

    def ig(method: str) -> Explain:
        def explain(x: Tensor, target: Tensor, direction: str) -> tuple[Tensor, Tensor]:
            baseline = gaussian_blur(x) if direction == "insertion" else torch.zeros_like(x)
            explainer = IntegratedGradients(model)
            return explainer.attribute(
                x, baseline, target, n_steps=N_STEPS, method=method, return_convergence_delta=True
            )

        return explain

    variants = {
        "IG, midpoints": ig("riemann_middle"),
        "IG, adaptive": ig("adaptive"),
        "SAMP": samp(momentum=0, step_bound=None),
        "SAMP + momentum": samp(step_bound=None),
        "SAMP + bound": samp(momentum=0),
        "SAMP++": samp(),
        "SAMP++, R = 50": samp(step_bound=50),
        "SAMP++, 56 groups": samp(n_steps=56),
        "SAMP++, trapezoid": samp(method="riemann_trapezoid"),
        "SAMP, trapezoid": samp(method="riemann_trapezoid", momentum=0, step_bound=None),
    }
    rows = []
    for name, explain in tqdm(variants.items(), disable=None):
        row: list[object] = [name]
        for direction in ("insertion", "deletion"):
            with counted_passes(model) as passes:
                maps, delta = explain(images, targets, direction)
            explained = maps.flatten(1).sum(1) - delta
            ratio = (delta / explained).abs()
            row += [passes.gradients / len(images), float(delta.abs().mean()), float(explained.mean())]
            row += [float(ratio.median())]
        rows.append(row)
    columns = ["gradients", "mean gap", "mean difference", "median gap / difference"]
    header = ["method", *(f"{direction}: {c}" for direction in ("insertion", "deletion") for c in columns)]
    print_table(f"EfficientNet-Lite0, {len(images)} images", header, rows)


if __name__ == "__main__":
    main()
