"""What Weighted IG and SAMP cost beside the model's own passes, and against one-image loops.

    python -m examples.benchmarks.measurements.paths [--runs 5]

Pairs are timed in turn in one process; ratios are medians over pairs. "Bare" runs the passes that the method needs, and
nothing else: the same calls with as many rows each, same memory layout, no gradient for parameters. "Plain loop" is the
method written down in tensors for one image after another, as a user would; "oracle" is the literal version of the
tests, pixel by pixel in Python.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from captum_ext import SAMP, WeightedIntegratedGradients
from captum_ext.core.fills import corner_mean
from captum_ext.core.passes import counted_passes
from captum_ext.images import gaussian_blur
from captum_ext.references import standard_baselines
from examples import real_data
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.timing import in_turn, measured, paired
from examples.benchmarks.measurements.bare_passes import bare, small_network


def plain_samp(model: nn.Module, x: Tensor, target: Tensor, n_steps: int, momentum: float, bound: float) -> Tensor:
    """SAMP++ in both directions, written down for one image after another."""
    maps = []
    for image, label in zip(x.split(1), target, strict=True):
        both = []
        for start, end, sign in ((gaussian_blur(image), image, 1), (image, torch.zeros_like(image), -1)):
            point, velocity, total = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
            todo = ((end - start).abs().sum(1) > 0).flatten()
            size, eta = math.ceil(todo.numel() / n_steps), (end - start).abs().sum() / bound
            while todo.any():
                leaf = point.clone().requires_grad_()
                (slope,) = torch.autograd.grad(model(leaf)[0, label], leaf)
                velocity = momentum * velocity + (1 - momentum) * slope
                gain = sign * (velocity * (end - point)).sum(1).flatten()
                gain[~todo] = -torch.inf
                chosen = gain.argsort(descending=True)[: min(size, int(todo.sum()))]
                mask = torch.zeros_like(todo)
                mask[chosen] = True
                move = (end - point) * mask.reshape(1, 1, *x.shape[2:])
                if move.abs().sum() > eta:
                    move *= eta / move.abs().sum()
                    point = point + move
                else:
                    point = torch.where(mask.reshape(1, 1, *x.shape[2:]), end, point)
                    todo &= ~mask
                total += sign * slope * move
            both.append(total)
        maps.append((both[0] + both[1]) / 2)
    return torch.cat(maps)


def oracle_samp(model: nn.Module, x: Tensor, target: Tensor, n_steps: int, momentum: float, bound: float) -> Tensor:
    """The same from the tests, for one channel."""
    from tests import oracles

    maps = []
    for image, label in zip(x, target.tolist(), strict=True):
        both = [
            oracles.saliency_path(
                lambda p, label=label: model(p)[:, label], image, end, direction, n_steps, momentum, bound
            )[0]
            for direction, end in (("insertion", gaussian_blur(image[None])[0]), ("deletion", torch.zeros_like(image)))
        ]
        maps.append((both[0] + both[1]) / 2)
    return torch.stack(maps)


def plain_fitness(model: nn.Module, x: Tensor, target: Tensor, n_steps: int) -> Tensor:
    """Weighted IG with the standard baselines, midpoints and the logit above the fill's, one image after another."""
    maps = []
    for image, label in zip(x.split(1), target, strict=True):
        fill = corner_mean((image,)).values[0].expand_as(image)

        def score(changed: Tensor, label: Tensor = label) -> Tensor:
            with torch.no_grad():
                return model(changed)[0, label]

        lowest = score(fill)
        goal = (score(image) + lowest) / 2
        by_reference = []
        for reference in standard_baselines(image)[0].split(1):
            total = torch.zeros_like(image)
            for k in range(n_steps):
                leaf = (reference + (k + 0.5) / n_steps * (image - reference)).requires_grad_()
                total += torch.autograd.grad(model(leaf)[0, label], leaf)[0]
            attribution = total / n_steps * (image - reference)
            order = attribution.sum(1).flatten().argsort(descending=True)
            low, high = 0, len(order)
            while lowest <= goal and high - low > max(1, int(0.02 * high)):
                middle = (low + high) // 2
                changed = image.clone().flatten(2)
                changed[:, :, order[:middle]] = fill.flatten(2)[:, :, order[:middle]]
                low, high = (low, middle) if score(changed.reshape(image.shape)) <= goal else (middle, high)
            by_reference.append((1 / high, attribution))
        total_fitness = sum(fitness for fitness, _ in by_reference)
        maps.append(sum(fitness / total_fitness * attribution for fitness, attribution in by_reference))
    return torch.cat(maps)


def costs_of_weighted(model: nn.Module, x: Tensor, target: Tensor, runs: int, name: str) -> list[object]:
    """Passes and ratio of Weighted IG with the seven standard baselines."""

    def own_references(images: Tensor) -> Tensor:
        return standard_baselines(images, (-1, 1))

    wg = WeightedIntegratedGradients(
        model, references=lambda images: standard_baselines(images, (-1, 1)), score="logit"
    )

    def work() -> None:
        wg.attribute(x, target=target, n_steps=50, generator=torch.Generator().manual_seed(0))

    with counted_passes(model) as passes:
        work()
    n_pixels = x[0, 0].numel()
    allowed = 7 * (math.ceil(math.log2(n_pixels)) + 2) + 2
    seconds, _, ratio = paired(work, bare(model, x, target, passes), runs)
    per_input = [passes.gradients / len(x), passes.forwards / len(x)]
    return [f"WG, 7 baselines, {name}", len(x), *per_input, f"<= {allowed} forwards", seconds, ratio]


def costs_of_samp(model: nn.Module, x: Tensor, target: Tensor, runs: int, name: str) -> list[object]:
    """Passes and ratio of SAMP++."""
    samp = SAMP(model)
    with counted_passes(model) as passes:
        samp.attribute(x, target=target, n_steps=14)
    seconds, _, ratio = paired(
        lambda: samp.attribute(x, target=target, n_steps=14), bare(model, x, target, passes), runs
    )
    return [f"SAMP++, {name}", len(x), passes.gradients / len(x), 0, "<= 48 gradients", seconds, ratio]


def against_loops(model: nn.Module, x: Tensor, target: Tensor, runs: int, name: str) -> list[list[object]]:
    """Ratios of the loops' seconds to ours, with the passes of both and how far their maps are apart."""
    samp, wg = SAMP(model), WeightedIntegratedGradients(model, score="logit")
    rows: list[list[object]] = []

    def ours() -> Tensor:
        return samp.attribute(x, target=target, n_steps=14)

    def ours_weighted() -> Tensor:
        return wg.attribute(x, target=target, n_steps=7, method="riemann_middle")

    pairs: list[tuple[str, Callable[[], Tensor], Callable[[], Tensor]]] = [
        ("SAMP++, plain loop", lambda: plain_samp(model, x, target, 14, 0.5, 10), ours),
        ("WG, plain loop", lambda: plain_fitness(model, x, target, 7), ours_weighted),
    ]
    if x.shape[1] == 1:
        pairs.append(("SAMP++, oracle", lambda: oracle_samp(model, x, target, 14, 0.5, 10), ours))
    for label, loop, fast in pairs:
        maps, passes = [], []
        for work in (loop, fast):
            with counted_passes(model) as counted:
                maps.append(work())
            passes.append(f"{counted.gradients / len(x):g} + {counted.forwards / len(x):g}")
        apart = float((maps[0] - maps[1]).abs().max() / maps[1].abs().max())
        seconds, our_seconds, ratio = paired(loop, fast, max(1, runs // 2))
        rows.append([f"{label}, {name}", len(x), *passes, apart, seconds, our_seconds, ratio])
    return rows


def memory(n_steps: int) -> None:
    """Run in a fresh process: growth of memory for so many steps."""
    model, x = real_data.efficientnet_lite0(), real_data.imagenet_images()[0][:2]
    with torch.no_grad():
        target = model(x).argmax(1)
    with measured() as used:
        SAMP(model, direction="insertion", step_bound=None).attribute(x, target=target, n_steps=n_steps)
    print(json.dumps({"megabytes": used.megabytes}))


def main() -> None:
    if sys.argv[1:2] == ["--memory-of"]:
        memory(int(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    runs, n_images = (1, 1) if options.fast else (options.runs, 8)
    real, images = real_data.efficientnet_lite0(), real_data.imagenet_images()[0][:n_images]
    small, digits = small_network(), torch.rand(n_images, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    networks = [("EfficientNet-Lite0", real, images), ("five layers, 28 x 28", small, digits)]
    costs, loops = [], []
    for name, model, x in networks:
        with torch.no_grad():
            target = model(x).argmax(1)
        costs.append(costs_of_weighted(model, x, target, runs, name))
        costs.append(costs_of_samp(model, x, target, runs, name))
        loops += against_loops(model, x, target, runs, name)
    print_table(
        "Passes for each input, and seconds against the bare passes",
        ["method", "inputs", "gradients", "forwards", "allowed", "seconds", "ratio"],
        costs,
    )
    print_table(
        "One image after another against ours; passes for each input",
        ["loop", "inputs", "passes", "our passes", "maps apart", "seconds", "ours, seconds", "times ours"],
        loops,
    )
    steps = ("14", "28") if options.fast else ("14", "112")
    runs_by_steps = in_turn(
        "examples.benchmarks.measurements.paths", [("--memory-of", n) for n in steps], 1 if options.fast else 3
    )
    grown = [round(sorted(run["megabytes"] for run in variant)[len(variant) // 2]) for variant in runs_by_steps]
    print_table("Memory of SAMP, two images", ["steps", "MB"], list(zip(steps, grown, strict=True)))


if __name__ == "__main__":
    main()
