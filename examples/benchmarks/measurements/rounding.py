"""How far maps move by rounding alone: Captum and this package, float32 and float64, two memory layouts.

    python -m examples.benchmarks.measurements.rounding [--images 4]

For SAMP, whose path is a chain of choices, the second table has correlations between maps.

A network with kinks (ReLU6) has a piecewise constant gradient: another order of the same sums moves some points of the
path across a kink. In float64 that does not happen, and the maps agree.
"""

from __future__ import annotations

import argparse

import captum.attr
import torch
from torch import Tensor, nn

import captum_ext.attr
from examples import real_data
from examples.benchmarks.engine.reporting import print_table


def maps_of(library: object, model: nn.Module, image: Tensor, target: Tensor, channels_last: bool = False) -> Tensor:
    method = library.IntegratedGradients(model)  # type: ignore[attr-defined]
    if library is captum_ext.attr:
        method.channels_last = channels_last
    return method.attribute(image, target=target, internal_batch_size=5).double()


def samp_map(model: nn.Module, image: Tensor, target: Tensor, channels_last: bool, rows: int) -> Tensor:
    method = captum_ext.attr.SAMP(model)
    method.channels_last = channels_last
    maps = method.attribute(image, target=target, internal_batch_size=rows)
    return maps.sum(1).flatten().double()


def correlations_of_samp(model: nn.Module, double: nn.Module, image: Tensor, target: Tensor) -> dict[str, float]:
    """Correlation of SAMP++'s pixel maps that differ by rounding alone, or not even by that."""
    exact = samp_map(double, image.double(), target, True, 2)
    default, other_layout = samp_map(model, image, target, True, 2), samp_map(model, image, target, False, 2)
    pairs = {
        "float64: two layouts": (samp_map(double, image.double(), target, False, 1), exact),
        "float32: two layouts": (default, other_layout),
        "float32: one or two rows at once": (samp_map(model, image, target, False, 1), other_layout),
        "float32 channels-last against float64": (default, exact),
        "float32 caller's layout against float64": (other_layout, exact),
    }
    return {name: float(torch.corrcoef(torch.stack(pair))[0, 1]) for name, pair in pairs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    model, double = real_data.efficientnet_lite0(), real_data.efficientnet_lite0().double()
    images = real_data.imagenet_images()[0][: 1 if options.fast else options.images]
    with torch.no_grad():
        targets = model(images).argmax(1)
    differences: dict[str, list[float]] = {}
    correlations: dict[str, list[float]] = {}
    for i in range(len(images)):
        image, target = images[i : i + 1], targets[i : i + 1]
        reference = maps_of(captum.attr, model, image, target)
        exact = maps_of(captum.attr, double, image.double(), target)
        pairs = {
            "float32: ours, caller's layout, against Captum": (
                maps_of(captum_ext.attr, model, image, target),
                reference,
            ),
            "float32: ours, channels-last, against Captum": (
                maps_of(captum_ext.attr, model, image, target, channels_last=True),
                reference,
            ),
            "float32 against float64: Captum against itself": (reference, exact),
            "float64: ours, channels-last, against Captum": (
                maps_of(captum_ext.attr, double, image.double(), target, channels_last=True),
                exact,
            ),
        }
        for name, (one, other) in pairs.items():
            differences.setdefault(name, []).append(float((one - other).abs().max() / other.abs().max()))
        for name, value in correlations_of_samp(model, double, image, target).items():
            correlations.setdefault(name, []).append(value)
    print_table(
        f"EfficientNet-Lite0, {len(images)} images, 50 gradients: largest difference over the largest attribution",
        ["maps", "mean", "largest"],
        [[name, sum(values) / len(values), max(values)] for name, values in differences.items()],
    )
    print_table(
        "SAMP++, the same images: correlation between maps",
        ["maps", "mean", "smallest"],
        [[name, sum(values) / len(values), min(values)] for name, values in correlations.items()],
    )


if __name__ == "__main__":
    main()
