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
from captum_ext.core.passes import counted_passes
from captum_ext.images import gaussian_blur
from captum_ext.metrics import deletion, diff_id, insertion
from captum_ext.references import standard_baselines
from captum_ext.visualize import Caption, save_figure, show_curves, show_maps
from examples import real_data
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.timing import measured

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


def draw(x: Tensor, titles: list[str], found: dict[str, Explained], path: Path) -> list[Path]:
    """The maps on one scale for each photograph, and for each a figure of the score along every path."""
    maps = {name: explained.maps for name, explained in found.items()}
    caption = Caption(unit="attribution of a pixel, in units of the logit")
    figure = show_maps(
        maps, real_data.displayable(x), titles=titles, caption=caption, scale="image", columns=1 + -(-len(maps) // 2)
    )
    save_figure(figure, path, dpi=80)
    written = [path]
    curves_of = {name: explained.curves() for name, explained in found.items()}
    for row, (photograph, title) in enumerate(zip(PHOTOGRAPHS, titles, strict=True)):
        curves = {name: of_photographs[row] for name, of_photographs in curves_of.items()}
        caption = Caption(title, "score (logit)", ("Dashed: from the second baseline",))
        written.append(path.with_stem(f"{path.stem}_{photograph}"))
        save_figure(show_curves(curves, x_label="share of the way", caption=caption), written[-1])
    return written


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
    print("", *draw(x, titles, found, options.output), sep="\n")


if __name__ == "__main__":
    main()
