"""DiffID with removed pixels filled by each channel's mean, and by one mean for all channels as its authors' code has.

    python -m examples.benchmarks.measurements.fills [--images 20]

EfficientNet-Lite0, the ImageNet images inside foolbox, class predicted, logits over that of the image. "Kept" is the
area of the fractions of the score that are left when the most important pixels are removed; mean over the images, and
how many images have the larger DiffID with one mean.
"""

from __future__ import annotations

import argparse

import torch

from captum_ext import SAMP
from captum_ext.attr import IntegratedGradients
from captum_ext.metrics import deletion, diff_id
from examples import real_data
from examples.benchmarks.engine.reporting import print_table

FILLS = ("mean", "overall-mean")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20, help="how many")
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    model = real_data.efficientnet_lite0()
    images = real_data.imagenet_images()[0][: 2 if options.fast else options.images]
    with torch.no_grad():
        target = model(images).argmax(1)
    maps = {
        "random": torch.rand(images.shape, generator=torch.Generator().manual_seed(0)),
        "IG (zero), 20 gradients": IntegratedGradients(model).attribute(images, 0, target, n_steps=20),
        "SAMP++, 14 groups": SAMP(model).attribute(images, target=target),
    }
    rows: list[list[object]] = []
    for name, given in maps.items():
        found = [diff_id(model, images, given, target, baselines=fill) for fill in FILLS]
        kept = [deletion(model, images, given, target, baselines=fill, normalize="input").auc for fill in FILLS]
        valid = found[0].valid & found[1].valid
        more = f"{int((found[1].auc > found[0].auc)[valid].sum())} of {int(valid.sum())}"
        rows.append(
            [name, *(float(one.auc[valid].mean()) for one in found), *(float(one[valid].mean()) for one in kept), more]
        )
    header = ["map", *(f"{what}, {fill}" for what in ("DiffID", "kept") for fill in FILLS), "larger with one mean"]
    print_table(f"EfficientNet-Lite0, {len(images)} images", header, rows)


if __name__ == "__main__":
    main()
