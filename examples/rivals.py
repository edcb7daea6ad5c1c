"""Methods of other papers beside Integrated Gradients and SAMP++ on two photographs.

    python -m examples.rivals [--output outputs/rivals.jpg]

Path methods have 20 gradients, RISE 50 and 1,000 masks. Each map is on its own scale: red speaks for the class, blue
against it; maps without negative values begin at their smallest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from captum_ext.core.atomic import replaced
from examples import real_data
from examples.benchmarks.engine.explanations import Asked, Methods, Setting, controls
from examples.benchmarks.engine.networks import Network
from examples.benchmarks.engine.rival_methods import rival_methods
from examples.benchmarks.papers.samp.samp_methods import samp_methods
from examples.benchmarks.papers.usu.usu_methods import usu_cams

PHOTOGRAPHS = ("chelsea", "coffee")
BESIDE = ("IG (zero)", "IG (blur + zero)", "SAMP++", "GradCAM (USU)")
_COLUMNS = 8


def methods(network: Network, references: Tensor) -> Methods:
    """By name: what stands beside the rivals, and the rivals."""
    setting = Setting(network, references)
    beside = {**controls(setting), **samp_methods(setting), **usu_cams(setting)}
    return {name: beside[name] for name in BESIDE} | rival_methods(setting)


def draw(photographs: Tensor, maps: dict[str, Tensor], path: Path) -> None:
    """Each photograph with its maps (N, C, H, W), each map on its own scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = -(-(len(maps) + 1) // _COLUMNS)
    figure, axes = pyplot.subplots(
        rows * len(photographs), _COLUMNS, figsize=(2.2 * _COLUMNS, 2.4 * rows * len(photographs)), layout="constrained"
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for place, photograph in enumerate(real_data.displayable(photographs)):
        cells = axes[rows * place : rows * (place + 1)].flat
        next(cells).imshow(photograph)
        for axis, (name, found) in zip(cells, maps.items(), strict=False):
            shown = found[place].sum(0)
            limit = float(shown.abs().flatten().quantile(0.99)) or 1.0
            signed = bool((shown < 0).any())
            lowest = -limit if signed else float(shown.min())
            axis.imshow(shown, cmap="RdBu_r" if signed else "Reds", vmin=lowest, vmax=limit)
            axis.set_title(name, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary:
        figure.savefig(temporary, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs/rivals.jpg"))
    options = parser.parse_args()
    model, images = real_data.efficientnet_lite0(), real_data.photographs(*PHOTOGRAPHS)
    network = Network("efficientnet-lite0", model, real_data.preprocess, model._bn1, 1000)
    with torch.no_grad():
        target = model(images).argmax(1).tolist()
    asked = Asked(images, target, seeds=range(len(images)))
    found = {name: explain(asked).maps.detach() for name, explain in methods(network, images).items()}
    draw(images, found, options.output)
    print(options.output)


if __name__ == "__main__":
    main()
