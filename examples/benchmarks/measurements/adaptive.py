"""How complete Integrated Gradients is at equal cost: Captum's default rule against the adaptive one.

    python -m examples.benchmarks.measurements.adaptive [--n-steps 50] [--converged 400] [--tuning]

Cost is counted in gradients; the adaptive rule uses no pass beside them, since a gradient's own pass gives the score. A
forward-only scan counts 0.4 of a gradient a point. "Gap" is |sum of attributions - difference of scores| over the
difference, "map error" the distance (L2, channels summed) from a map of many more Gauss nodes, over that map's norm.

The rule's settings were chosen on crops of scikit-image's photographs (--tuning), which are not among the images
reported.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from captum_ext.attr import IntegratedGradients
from examples import real_data
from examples.benchmarks.engine.reporting import print_table

SCAN_COST = 0.4
Rule = Callable[[Tensor, Tensor], Tensor]


def by_captum_rule(model: nn.Module, image: Tensor, target: Tensor, method: str, n_steps: int) -> Tensor:
    return IntegratedGradients(model).attribute(image, target=target, method=method, n_steps=n_steps)


def by_quantiles(model: nn.Module, image: Tensor, target: Tensor, n_steps: int, n_scan: int = 9) -> Tensor:
    """A scan of forwards, then two Gauss nodes in each of the intervals in which F changes equally (floor 10 %)."""
    grid = torch.linspace(0, 1, n_scan, dtype=torch.float64)
    with torch.no_grad():
        scores = model(image * grid.float().reshape(-1, 1, 1, 1))[:, int(target)].double()
    change = scores.diff().abs()
    cumulative = torch.cat([torch.zeros(1), (change + 0.1 * change.mean()).cumsum(0)]) / (1.1 * change.sum())
    n_intervals = int(n_steps - SCAN_COST * n_scan) // 2
    quantiles = torch.linspace(0, 1, n_intervals + 1, dtype=torch.float64)
    cell = torch.searchsorted(cumulative, quantiles, right=True).clamp(1, n_scan - 1)
    share = (quantiles - cumulative[cell - 1]) / (cumulative[cell] - cumulative[cell - 1])
    ends = grid[cell - 1] + share.clamp(0, 1) * (grid[cell] - grid[cell - 1])
    total = torch.zeros_like(image)
    for left, right in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        nodes = [left + (right - left) * (0.5 + offset) for offset in (-0.5 / 3**0.5, 0.5 / 3**0.5)]
        points = torch.cat([node * image for node in nodes]).requires_grad_()
        gradients = torch.autograd.grad(model(points)[:, int(target)].sum(), points)[0]
        total += (right - left) / 2 * gradients.sum(0)
    return total * image


def images_to_report(tuning: bool) -> Tensor:
    if not tuning:
        return real_data.imagenet_images()[0]
    names = ("chelsea", "coffee", "astronaut", "rocket", "retina")
    return real_data.photographs(*names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-steps", type=int, default=50)
    parser.add_argument("--converged", type=int, default=400, help="Gauss nodes of the map taken as converged")
    parser.add_argument("--tuning", action="store_true", help="the photographs on which settings were chosen")
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()

    model, images, n = real_data.efficientnet_lite0(), images_to_report(options.tuning), options.n_steps
    if options.fast:
        images, options.converged = images[:2], 100
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        targets = model(images).argmax(1)
        ends = model(images)
        start = model(torch.zeros_like(images[:1]))[0]
    rules: dict[str, Callable[..., Tensor]] = {
        "gausslegendre (Captum's default)": partial(by_captum_rule, method="gausslegendre", n_steps=n),
        "riemann_middle": partial(by_captum_rule, method="riemann_middle", n_steps=n),
        "quantiles of a forward scan": partial(by_quantiles, n_steps=n),
        "adaptive": partial(by_captum_rule, method="adaptive", n_steps=n),
    }
    gaps: dict[str, list[float]] = {name: [] for name in rules}
    errors: dict[str, list[float]] = {name: [] for name in rules}
    for i in range(len(images)):
        image, target = images[i : i + 1], targets[i : i + 1]
        difference = float(ends[i, target] - start[target])
        converged = by_captum_rule(model, image, target, "gausslegendre", options.converged).sum(1)
        for name, rule in rules.items():
            attributions = rule(model, image, target)
            gaps[name].append(abs(float(attributions.sum()) - difference) / abs(difference))
            errors[name].append(float((attributions.sum(1) - converged).norm() / converged.norm()))
    default = torch.tensor(next(iter(gaps.values())))
    rows = []
    for name in rules:
        gap, error = torch.tensor(gaps[name]), torch.tensor(errors[name])
        better = int((gap < default).sum())
        ratio = float(gap.mean() / default.mean())
        rows.append([name, float(gap.mean()), float(gap.median()), ratio, f"{better}/{len(gap)}", float(error.mean())])
    print_table(
        f"EfficientNet-Lite0, {len(images)} images, zero baseline, cost of {n} gradients each; "
        f"map error against {options.converged} Gauss nodes",
        ["rule", "mean gap", "median gap", "mean gap over default", "images with smaller gap", "map error"],
        rows,
    )


if __name__ == "__main__":
    main()
