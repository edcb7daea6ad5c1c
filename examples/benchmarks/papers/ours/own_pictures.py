"""The same maps by pixels and at the scale of segments, beside the photographs: which of both should be seen first?

    python -m examples.benchmarks.papers.ours.own_pictures NAME [--squares 4] [--out outputs/own.png]

The first squares of five photographs of scikit-image, on which nothing is reported.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from captum_ext.segmentation import Segmenter, spread_over_segments
from captum_ext.visualize import Caption, Look, save_figure, show_maps
from examples.benchmarks.engine.networks import LITE, load_network
from examples.benchmarks.papers.ours.own_candidates import CANDIDATES
from examples.benchmarks.papers.ours.own_images import tuning_samples

N_PHOTOGRAPHS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=CANDIDATES, metavar="NAME", help="of a candidate")
    parser.add_argument("--squares", type=int, choices=range(1, 6), default=4, help="of each photograph; default 4")
    parser.add_argument("--out", type=Path, default=Path("outputs/own.png"))
    arguments = parser.parse_args()
    network, samples = load_network(LITE[0], Path("outputs")), tuning_samples(LITE[0])
    places = [5 * photograph + square for photograph in range(N_PHOTOGRAPHS) for square in range(arguments.squares)]
    images, _ = samples.load(places)
    with torch.no_grad():
        classes = network.model(images).argmax(1).tolist()
    maps = torch.cat(
        [
            CANDIDATES[arguments.name](network, image[None], [target], 25, place).maps.sum(1, keepdim=True)
            for image, target, place in zip(images, classes, places, strict=True)
        ]
    )
    mean, std = network.preparation.mean, network.preparation.std
    labels = Segmenter("slic", 50, mean=mean, std=std).of_inputs(images)
    photographs = images * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    figure = show_maps(
        {"pixels": maps, "segments": spread_over_segments(maps, labels)},
        photographs.clamp(0, 1),
        titles=[f"class {target}" for target in classes],
        caption=Caption(arguments.name, "attribution of a pixel, in units of the logit"),
        look=Look(quantile=0.99),
        scale="map",
        columns=6,
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, arguments.out, dpi=70)


if __name__ == "__main__":
    main()
