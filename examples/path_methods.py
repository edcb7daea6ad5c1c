"""Ten path methods on two photographs at equal numbers of gradients: table, maps and the score along each path.

    python -m examples.path_methods [--output outputs/path_methods.png]

Means over two photographs only: they show what the methods do, not which one is better.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from captum_ext import (
    SAMP,
    ExpectedGradients,
    LocalPathIntegration,
    ReferenceDistribution,
    WeightedIntegratedGradients,
)
from captum_ext.attr import ImportantDirectionIG, IntegratedGradients, PathScores
from captum_ext.core.atomic import replaced
from captum_ext.images import gaussian_blur
from captum_ext.metrics import deletion, diff_id, insertion
from captum_ext.references import standard_baselines
from captum_ext_integrations.cli.pictures import limit_of
from examples import real_data
from examples.benchmarks.engine.passes import counted_passes
from examples.benchmarks.measurements.reporting import print_table
from examples.benchmarks.measurements.timing import measured

PHOTOGRAPHS = ("chelsea", "coffee")
GRADIENTS = 48  # for every method, photograph and map

Curve = tuple[Tensor, Tensor]  # share of the way (S,), score (S,)


@dataclass
class Explained:
    """Maps, deltas and, on demand, the curves of the score along each photograph's paths."""

    maps: Tensor
    delta: Tensor
    curves: Callable[[], list[list[Curve]]]


Explain = Callable[[Tensor, Tensor], Explained]


def straight(model: nn.Module, image: Tensor, target: Tensor, references: Tensor, weights: Tensor) -> Curve:
    """Mean score (by weight) along the straight paths from references (K, ...) to one image (1, ...)."""
    shares = torch.linspace(0, 1, 9)
    with torch.no_grad():
        scores = [model(references + share * (image - references))[:, target].double() @ weights for share in shares]
    return shares, torch.stack(scores)


def manipulated(paths: dict[str, PathScores], row: int) -> list[Curve]:
    """SAMP's curves; the deletion path is turned round, so that every curve ends in the image."""
    curves = []
    for direction, path in paths.items():
        there = ~path.moved[row].isnan()
        moved, scores = path.moved[row, there], path.scores[row, there]
        curves.append((moved, scores) if direction == "insertion" else (1 - moved, scores))
    return curves


def methods(model: nn.Module) -> dict[str, Explain]:
    """Each method by name."""
    images, _ = real_data.imagenet_images()
    fitted = ReferenceDistribution.fit(model, images, n_references=10)
    one = torch.ones(1, dtype=torch.float64)

    def from_baselines(
        explainer: IntegratedGradients | ImportantDirectionIG, names: tuple[str, ...], **options: object
    ) -> Explain:
        def explain(x: Tensor, target: Tensor) -> Explained:
            baselines = [gaussian_blur(x) if name == "blur" else torch.zeros_like(x) for name in names]
            found = [
                explainer.attribute(
                    x, b, target, n_steps=GRADIENTS // len(names), return_convergence_delta=True, **options
                )
                for b in baselines
            ]
            maps, deltas = zip(*found, strict=True)
            return Explained(
                torch.stack(maps).mean(0),
                torch.stack(deltas).mean(0),
                lambda: [
                    [straight(model, x[i : i + 1], target[i], b[i : i + 1], one) for b in baselines]
                    for i in range(len(x))
                ],
            )

        return explain

    def from_references(
        method: ExpectedGradients | LocalPathIntegration, references: Tensor, weights: Tensor
    ) -> Explain:
        def explain(x: Tensor, target: Tensor) -> Explained:
            maps, delta = method.attribute(
                x, target=target, n_steps=GRADIENTS, generator=seeded(), return_convergence_delta=True
            )
            return Explained(
                maps,
                delta,
                lambda: [[straight(model, x[i : i + 1], target[i], references, weights)] for i in range(len(x))],
            )

        return explain

    def weighted(keep: float | None) -> Explain:
        def own_references(x: Tensor) -> Tensor:
            return standard_baselines(x, (0, 255), mean=127, std=128)

        method = WeightedIntegratedGradients(model, references=own_references, keep=keep)

        def explain(x: Tensor, target: Tensor) -> Explained:
            def curves() -> list[list[Curve]]:
                weights = method.baseline_weights(x, target=target, n_steps=GRADIENTS, generator=seeded())
                references = own_references(x)
                return [[straight(model, x[i : i + 1], target[i], references[i], weights[i])] for i in range(len(x))]

            maps, delta = method.attribute(
                x, target=target, n_steps=GRADIENTS, generator=seeded(), return_convergence_delta=True
            )
            return Explained(maps, delta, curves)

        return explain

    def along_manipulations(n_steps: int, **settings: object) -> Explain:
        method = SAMP(model, **settings)

        def explain(x: Tensor, target: Tensor) -> Explained:
            maps, delta, paths = method.attribute(
                x, target=target, n_steps=n_steps, return_convergence_delta=True, return_path=True
            )
            return Explained(maps, delta, lambda: [manipulated(paths, i) for i in range(len(x))])

        return explain

    ig, idgi = IntegratedGradients(model), ImportantDirectionIG(model)
    eg = ExpectedGradients(model, references=images)
    lpi = LocalPathIntegration(model, references=fitted)
    return {
        "IG (zero)": from_baselines(ig, ("zero",)),
        "IG (zero, adaptive)": from_baselines(ig, ("zero",), method="adaptive"),
        "IG (blur + zero)": from_baselines(ig, ("blur", "zero")),
        "IDGI (zero)": from_baselines(idgi, ("zero",)),
        "EG": from_references(eg, images, torch.full((len(images),), 1 / len(images), dtype=torch.float64)),
        "LPI": from_references(lpi, fitted.references[0], fitted.density[0].double()),
        "WG": weighted(None),
        "WG filtered": weighted(0.25),
        "SAMP": along_manipulations(GRADIENTS // 2, momentum=0, step_bound=None),
        "SAMP++": along_manipulations(22),
    }


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def evaluate(
    model: nn.Module, x: Tensor, target: Tensor, name: str, explain: Explain
) -> tuple[list[object], Explained]:
    """A row of the table, and what was found."""
    with counted_passes(model) as passes, measured() as used:
        found = explain(x, target)
    areas = [
        insertion(model, x, found.maps, target, normalize="range"),
        deletion(model, x, found.maps, target, normalize="range"),
        diff_id(model, x, found.maps, target),
    ]
    explained = found.maps.flatten(1).sum(1) - found.delta
    gap = f"{100 * float((found.delta / explained).abs().mean()):.1f} %"
    numbers = [float(curve.auc[curve.valid].mean()) for curve in areas]
    count = f"{passes.gradients / len(x):g} + {passes.forwards / len(x):g}"
    return [name, *numbers, gap, count, used.seconds], found


def draw(x: Tensor, titles: list[str], found: dict[str, Explained], path: Path) -> None:
    """For each photograph its maps, on one scale (red: for the class), and the score along every path."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(21, 5.6 * len(x)), layout="constrained")
    grid = figure.add_gridspec(2 * len(x), 8)
    curves_of = {name: explained.curves() for name, explained in found.items()}
    for row, (title, photograph) in enumerate(zip(titles, real_data.displayable(x), strict=True)):
        axis = figure.add_subplot(grid[2 * row : 2 * row + 2, 0])
        axis.imshow(photograph)
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
        curves = figure.add_subplot(grid[2 * row : 2 * row + 2, 6:])
        limit = limit_of({name: explained.maps[row].sum(0) for name, explained in found.items()})
        for place, (name, explained) in enumerate(found.items()):
            axis = figure.add_subplot(grid[2 * row + place // 5, 1 + place % 5])
            axis.imshow(explained.maps[row].sum(0), cmap="RdBu_r", vmin=-limit, vmax=limit)
            axis.set_title(name, fontsize=10)
            axis.set_axis_off()
            color = pyplot.get_cmap("tab10")(place)
            for number, (share, score) in enumerate(curves_of[name][row]):
                style = "-" if number == 0 else "--"
                curves.plot(share, score, style, color=color, label=name if number == 0 else None)
        curves.set_xlabel("share of the way (dashed: from the second baseline)")
        curves.set_ylabel("score (logit)")
        curves.legend(fontsize=8, ncols=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary:
        figure.savefig(temporary, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs/path_methods.png"))
    options = parser.parse_args()
    model, x = real_data.efficientnet_lite0(), real_data.photographs(*PHOTOGRAPHS)
    with torch.no_grad():
        target = model(x).argmax(1)
    rows, found = [], {}
    for name, explain in methods(model).items():
        row, found[name] = evaluate(model, x, target, name, explain)
        rows.append(row)
    header = ["method", "insertion", "deletion", "DiffID", "gap", "gradients + forwards", "seconds"]
    print_table(f"{', '.join(PHOTOGRAPHS)}; {GRADIENTS} gradients a photograph, means", header, rows)
    titles = [real_data.CLASS_NAMES.get(int(index), f"class {int(index)}") for index in target]
    draw(x, titles, found, options.output)
    print(f"\n{options.output}")


if __name__ == "__main__":
    main()
