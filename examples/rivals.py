"""Methods of other papers beside Integrated Gradients and SAMP++ on two photographs.

    python -m examples.rivals [--output outputs/rivals.jpg]

Path methods have 20 gradients, RISE 50 and 1,000 masks. Each map is on its own scale: orange speaks for the class, blue
against it; maps without negative values begin at their smallest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from captum_ext.visualize import Caption, Look, save_figure, show_maps
from examples import real_data
from examples.benchmarks.engine.explanations import Asked, Methods, Setting, controls
from examples.benchmarks.engine.networks import Network
from examples.benchmarks.engine.rival_methods import rival_methods
from examples.benchmarks.papers.samp.samp_methods import samp_methods
from examples.benchmarks.papers.usu.usu_methods import usu_cams

PHOTOGRAPHS = ("chelsea", "coffee")
BESIDE = ("IG (zero)", "IG (blur + zero)", "SAMP++", "GradCAM (USU)")


def methods(network: Network, references: Tensor) -> Methods:
    """By name: what stands beside the rivals, and the rivals."""
    setting = Setting(network, references)
    beside = {**controls(setting), **samp_methods(setting), **usu_cams(setting)}
    return {name: beside[name] for name in BESIDE} | rival_methods(setting)


def draw(photographs: Tensor, maps: dict[str, Tensor], path: Path) -> None:
    """Each photograph with its maps (N, C, H, W), each map on its own scale."""
    shown = {name: of_pixels.sum(1) for name, of_pixels in maps.items()}
    shown = {name: one - one.amin((1, 2), keepdim=True).clamp(min=0) for name, one in shown.items()}
    caption = Caption(notes=("Of maps that are above zero everywhere, their smallest number is subtracted",))
    look = Look(quantile=0.99)
    figure = show_maps(shown, real_data.displayable(photographs), caption=caption, look=look, scale="map", columns=5)
    save_figure(figure, path, dpi=90)


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
