"""SAMP's two readings of momentum, its steps, and how near its path comes to the best one.

    python -m examples.benchmarks.measurements.samp [--images 20]

Credits: the benchmark's five layers on digits that it was not trained on, and EfficientNet-Lite0 on the ImageNet images
inside foolbox; class predicted, score = logit. "Relative gap" is |sum of attributions - explained difference| over that
difference, per image; the games are `metrics.insertion` and `deletion` ("range") and `metrics.diff_id`, over the rows
where they are valid.

Shares: 40 random functions of six features each: smooth networks and quadratic forms with random weights, and
"saturating" ones, the hyperbolic tangent of a sum with positive weights; from zero to a random point (a positive one
for the last), of a sign that makes the score rise; one feature at a time. Of all 720 orders, the best path is that with
the largest variance of attributions. Attributions are the gradient where a move starts times the move, as SAMP's, or
the changes of the score by each move, which are the integrals of equation 2 and whose sum is the same for all paths, as
the paper's remark on definition 1 has it. The share is the variance of SAMP's path over that of the best.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from captum_ext import SAMP
from captum_ext.metrics import attribution_variance, deletion, diff_id, insertion
from examples.benchmarks.engine.networks import load_network
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.samples import load_samples

FEATURES = 6
FUNCTIONS = 40  # of each kind
KINDS = ("networks", "quadratic forms", "saturating")

Score = Callable[[Tensor], Tensor]


def readings(model: nn.Module, images: Tensor, steps: dict[str, dict[str, int]]) -> list[list[object]]:
    """One row for each number of steps and each reading."""
    with torch.no_grad():
        target = torch.cat([model(part).argmax(1) for part in images.split(20)])
    rows: list[list[object]] = []
    for name, given in steps.items():
        for credit in ("gradient", "velocity"):
            maps, delta = SAMP(model, credit=credit).attribute(
                images, target=target, return_convergence_delta=True, **given
            )
            gap = (delta / (maps.flatten(1).sum(1) - delta)).abs()
            curves = (
                insertion(model, images, maps, target, normalize="range"),
                deletion(model, images, maps, target, normalize="range"),
                diff_id(model, images, maps, target),
            )
            concentration = attribution_variance(maps, normalize="mean").mean()
            areas = [float(curve.auc[curve.valid].mean()) for curve in curves]
            rows.append([name, credit, float(gap.median()), *areas, float(concentration)])
    return rows


def random_function(kind: str, seed: int) -> tuple[Score, Tensor]:
    """A function of six features and a point (1, 6) at which it is larger than at zero."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    end, linear, square = normal(1, FEATURES), normal(FEATURES), normal(FEATURES, FEATURES)
    inner, outer = normal(FEATURES, 8), normal(8)
    if kind == "saturating":
        return (lambda x: (x @ linear.abs()).tanh()), end.abs()

    def score(x: Tensor) -> Tensor:
        return (x @ inner).tanh() @ outer if kind == "networks" else x @ linear + ((x @ square) * x).sum(1)

    sign = (score(end) - score(torch.zeros_like(end))).sign()
    return (lambda x: sign * score(x)), end


def of_order(score: Score, end: Tensor, order: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Attributions (1, d) of moving one feature after another from zero to `end`: by gradients, and by changes."""
    point, by_gradients, by_changes = torch.zeros_like(end), torch.zeros_like(end), torch.zeros_like(end)
    before = score(point)
    for feature in order:
        leaf = point.clone().requires_grad_()
        (slope,) = torch.autograd.grad(score(leaf).sum(), leaf)
        by_gradients[:, feature] = slope[:, feature] * end[:, feature]
        point[:, feature] = end[:, feature]
        by_changes[:, feature] = score(point) - before
        before = score(point)
    return by_gradients, by_changes


def order_of(score: Score, end: Tensor, momentum: float) -> tuple[int, ...]:
    """The order in which SAMP moves the features: of all orders, the one whose attributions it gives."""
    samp = SAMP(score, direction="insertion", momentum=momentum, step_bound=None)
    _, paths = samp.attribute(end, 0, pixels_in_step=1, return_path=True)
    moved = paths["insertion"].moved[0] * end.abs().sum()
    return tuple(int((end[0].abs() - step).abs().argmin()) for step in moved.diff())


def shares(n_functions: int) -> list[list[object]]:
    """Variances over the largest of all orders, means over the functions of a kind."""
    table: list[list[object]] = []
    for kind in KINDS:
        found: dict[str, list[Tensor]] = {"SAMP": [], "SAMP, momentum 0.5": [], "a random order": []}
        for seed in range(n_functions):
            score, end = random_function(kind, seed)
            orders = list(itertools.permutations(range(FEATURES)))
            variances = torch.stack(
                [torch.cat([attribution_variance(maps) for maps in of_order(score, end, order)]) for order in orders]
            )
            best = variances.amax(0)
            for name, momentum in (("SAMP", 0.0), ("SAMP, momentum 0.5", 0.5)):
                found[name].append(variances[orders.index(order_of(score, end, momentum))] / best)
            found["a random order"].append(variances.mean(0) / best)
        for name, values in found.items():
            share = torch.stack(values)
            row = [*share.mean(0).tolist(), *share.amin(0).tolist(), *(share > 1 - 1e-9).double().mean(0).tolist()]
            table.append([kind, name, *row])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cache", type=Path, default=Path("outputs/benchmarks/networks"), help="of the trained network"
    )
    parser.add_argument("--images", type=int, default=20, help="how many ImageNet images")
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    columns = ("mean share", "smallest", "is the best path")
    header = [
        "functions",
        "path",
        *(f"{column}, by {which}" for column in columns for which in ("gradients", "changes")),
    ]
    n_functions = 2 if options.fast else FUNCTIONS
    title = f"Var(A) over that of the best of 720 paths, {n_functions} functions of each kind"
    print_table(title, header, shares(n_functions))
    header = ["steps", "credit", "median relative gap", "insertion", "deletion", "DiffID", "Var(A), by the mean"]
    cases: dict[str, tuple[str, str, int, dict[str, dict[str, int]]]] = {
        "digits": ("five-layers", "digits", 40, {"14 groups": {"n_steps": 14}, "10 pixels": {"pixels_in_step": 10}}),
        "ImageNet": ("efficientnet-lite0", "imagenet20", options.images, {"14 groups": {"n_steps": 14}}),
    }
    for title, (network, data, limit, steps) in cases.items():
        loaded = load_network(network, options.cache)
        samples = load_samples(data, loaded.preparation, 2 if options.fast else limit)
        images, _ = samples.load(range(len(samples)))
        print_table(f"{title}, {len(images)} images", header, readings(loaded.model, images, steps))


if __name__ == "__main__":
    main()
