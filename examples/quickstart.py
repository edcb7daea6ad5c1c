"""Explain two photographs with a pretrained network: Integrated Gradients, Expected Gradients, Local Path Integration.

    python -m examples.quickstart [--output outputs/quickstart.png]

Prints the predicted classes and a table, and writes a figure. Both are means over two photographs only: they show how
to use the package, not which method is better.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from captum_ext import ExpectedGradients, LocalPathIntegration, ReferenceDistribution
from captum_ext.attr import IntegratedGradients
from captum_ext.metrics import deletion, diff_id, insertion
from captum_ext.visualize import Caption, save_figure, show_maps
from examples import real_data
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.timing import measured

PHOTOGRAPHS = ("chelsea", "coffee")
N_STEPS = 50

Explain = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def methods(model: nn.Module) -> dict[str, Explain]:
    """Each method as a function from images and targets to attributions and convergence delta."""
    references, _ = real_data.imagenet_images()
    neighborhood = ReferenceDistribution.fit(model, references, n_neighborhoods=1, n_references=10)
    ig = IntegratedGradients(model)
    eg = ExpectedGradients(model, references=references)
    lpi = LocalPathIntegration(model, references=neighborhood)
    shared = {"n_steps": N_STEPS, "return_convergence_delta": True}

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    return {
        "IG (zero)": lambda x, t: ig.attribute(x, target=t, **shared),
        "IG (zero, adaptive)": lambda x, t: ig.attribute(x, target=t, method="adaptive", **shared),
        "IG (black)": lambda x, t: ig.attribute(x, baselines=real_data.BLACK, target=t, **shared),
        "EG (20 references)": lambda x, t: eg.attribute(x, target=t, generator=generator(), **shared),
        "LPI (10 of 20)": lambda x, t: lpi.attribute(x, target=t, generator=generator(), **shared),
    }


def evaluate(
    model: nn.Module, images: Tensor, targets: Tensor, name: str, explain: Explain
) -> tuple[list[object], Tensor]:
    """A row of the table, and the maps."""
    with measured() as used:
        maps, delta = explain(images, targets)
    curves = [
        insertion(model, images, maps, targets, normalize="input"),
        deletion(model, images, maps, targets, normalize="input"),
        diff_id(model, images, maps, targets),
    ]
    explained = maps.flatten(1).sum(1) - delta
    gap = float((delta / explained).abs().mean())
    areas = [float(curve.auc[curve.valid].mean()) for curve in curves]
    return [name, *areas, f"{100 * gap:.1f} %", used.seconds, round(used.megabytes)], maps


def draw(images: Tensor, titles: list[str], maps: dict[str, Tensor], path: Path) -> None:
    """Photographs and maps side by side; all maps of a photograph have one scale."""
    caption = Caption(unit="attribution of a pixel, in units of the score")
    figure = show_maps(maps, real_data.displayable(images), titles=titles, caption=caption, scale="image")
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs/quickstart.png"))
    path = parser.parse_args().output

    model = real_data.efficientnet_lite0()
    images = real_data.photographs(*PHOTOGRAPHS)
    with torch.no_grad():
        probability, targets = model(images).softmax(1).max(1)
    titles = [
        f"{photograph}: {real_data.CLASS_NAMES.get(int(target), f'class {int(target)}')} ({float(p):.0%})"
        for photograph, target, p in zip(PHOTOGRAPHS, targets, probability, strict=True)
    ]
    print("Predicted:", "; ".join(titles))

    rows, maps = [], {}
    for name, explain in methods(model).items():
        row, maps[name] = evaluate(model, images, targets, name, explain)
        rows.append(row)
    print_table(
        f"Means over {len(images)} photographs, logits, {N_STEPS} gradients each.\n"
        "Insertion and DiffID: higher is better; deletion: lower is better.\n"
        "Completeness gap: how far the attributions are from summing to the difference of scores.",
        ["method", "insertion", "deletion", "DiffID", "completeness gap", "seconds", "peak MB"],
        rows,
    )
    draw(images, titles, maps, path)
    print(f"\nFigure: {path.resolve()}")


if __name__ == "__main__":
    main()
