"""Captum's IntegratedGradients against this package's, 50 gradients, one baseline: seconds and memory in fresh
processes.

    python -m examples.benchmarks.measurements.speed [--runs 5] [--cases efficientnet:1 efficientnet:8 resnet50:1]

Every process loads the network and the image, predicts once, and then times one call. Ratios are medians over rounds,
in each of which the variants follow each other. Captum's default call keeps all points of all images in flight: it is
left out where that would not fit into this machine's memory, which is estimated from the memory of its call for two
points.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import captum.attr
import psutil
import torch
from torch import Tensor, nn

import captum_ext.attr
from examples import real_data
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.timing import in_turn, measured

N_STEPS = 50
VARIANTS = ("captum", "captum ibs=8", "captum_ext", "captum_ext, channels-last")
OURS = VARIANTS.index("captum_ext")


def network(name: str) -> nn.Module:
    if name == "efficientnet":
        return real_data.efficientnet_lite0()
    import torchvision

    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None).eval()


def work(variant: str, case: str, folder: str) -> None:
    """One process: explain, save the map, print the measurements."""
    name, n_images = case.split(":")
    model, inputs = network(name), real_data.imagenet_images()[0][: int(n_images)]
    with torch.no_grad():
        target = model(inputs).argmax(1)
    method = (captum_ext.attr if variant.startswith("captum_ext") else captum.attr).IntegratedGradients(model)
    if variant == "captum_ext, channels-last":
        method.channels_last = True
    limit = 8 if variant == "captum ibs=8" else None
    if variant == "captum" and not fits(method, inputs, target):
        print(json.dumps({}))
        return
    with measured() as used:
        attributions = method.attribute(inputs, target=target, n_steps=N_STEPS, internal_batch_size=limit)
    torch.save(attributions, Path(folder) / f"{variant}.pt")
    print(json.dumps({"seconds": used.seconds, "megabytes": used.megabytes}))


def fits(method: captum.attr.IntegratedGradients, inputs: Tensor, target: Tensor) -> bool:
    """Whether Captum's call with all points in flight leaves memory to spare."""
    with measured() as two_points:
        method.attribute(inputs[:1], target=target[:1], n_steps=2)
    needed = two_points.megabytes / 2 * N_STEPS * len(inputs)
    return needed < 0.8 * psutil.virtual_memory().available / 2**20


def relative_difference(a: Tensor, b: Tensor) -> float:
    """Largest difference of two maps over the largest attribution of the second."""
    return float((a - b).abs().max() / b.abs().max())


def compare(case: str, runs: int) -> list[list[object]]:
    with tempfile.TemporaryDirectory() as folder:
        variants = [["--work", variant, case, folder] for variant in VARIANTS]
        results = in_turn("examples.benchmarks.measurements.speed", variants, runs)
        maps = {file.stem: torch.load(file) for file in Path(folder).glob("*.pt")}
    rows: list[list[object]] = []
    for variant, measurements in zip(VARIANTS, results, strict=True):
        if not measurements[0]:
            rows.append([case, variant, "does not fit into memory", "", "", "", ""])
            continue
        ratios = {
            key: statistics.median(one[key] / ours[key] for one, ours in zip(measurements, results[OURS], strict=True))
            for key in ("seconds", "megabytes")
        }
        rows.append(
            [
                case,
                variant,
                statistics.median(one["seconds"] for one in measurements),
                statistics.median(one["megabytes"] for one in measurements),
                ratios["seconds"],
                ratios["megabytes"],
                relative_difference(maps[variant], maps["captum ibs=8"]),
            ]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cases", nargs="+", default=["efficientnet:1", "efficientnet:8", "resnet50:1"])
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work)
        return
    if options.fast:
        options.runs, options.cases = 1, ["efficientnet:1"]
    rows = [row for case in options.cases for row in compare(case, options.runs)]
    header = ["network:images", "method", "seconds", "MB", "times ours", "memory of ours", "difference from Captum"]
    print_table(f"{N_STEPS} gradients, one baseline, {options.runs} rounds of fresh processes", header, rows)


if __name__ == "__main__":
    main()
