"""What USU costs: passes and seconds of each scorer against the bare passes, and redistribution against interpolation.

    python -m examples.benchmarks.measurements.upsampling [--runs 5]

EfficientNet-Lite0, 224 x 224. "Bare" are as many forward passes of the same rows at once as the scorer needs, timed in
turn with it.
"""

from __future__ import annotations

import argparse
import statistics

import torch
from torch import Tensor, nn
from torch.nn import functional

from captum_ext import USU, redistribute
from captum_ext.core.chunks import default_rows
from captum_ext.segmentation import Segmenter
from captum_ext.upsampling import CoalitionScorer
from examples import real_data
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.timing import paired, seconds


def bare_passes(model: nn.Module, images: Tensor, passes: int) -> None:
    limit = default_rows((images,))
    rows = images[:1].expand(limit, -1, -1, -1).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        for start in range(0, passes, limit):
            model(rows[: min(limit, passes - start)])


def cost(model: nn.Module, usu: USU, images: Tensor, runs: int) -> list[object]:
    """Passes, seconds, bare seconds and their median ratio for upsampling one 7 x 7 map of each image."""
    coarse, targets, counted = torch.rand(len(images), 7, 7), [282] * len(images), []
    hook = model.register_forward_hook(lambda _module, _given, output: counted.append(len(output)))
    usu(coarse, images, model, targets)
    passes = sum(counted)
    hook.remove()
    timed = paired(lambda: usu(coarse, images, model, targets), lambda: bare_passes(model, images, passes), runs)
    return [passes, *timed]


def redistribution_rows(runs: int) -> list[list[object]]:
    """Redistribution of 32 maps against bilinear interpolation, sizes that divide and that do not."""
    rows: list[list[object]] = []
    for grid, side in ((7, 224), (14, 224), (7, 225), (14, 230)):
        coarse, scores = torch.rand(32, grid, grid), torch.rand(32, side, side)
        size = (side, side)
        ours = [seconds(lambda: redistribute(coarse, scores, temperature=0.3)) for _ in range(20 * runs)]  # noqa: B023
        theirs = [seconds(lambda: functional.interpolate(coarse[:, None], size, mode="bilinear")) for _ in ours]  # noqa: B023
        milliseconds = [1000 * statistics.median(times) for times in (ours, theirs)]
        rows.append([f"32 x {grid} x {grid} to {side} x {side}", *milliseconds, milliseconds[0] / milliseconds[1]])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    runs = 1 if options.fast else options.runs

    header = ["32 maps", "redistribute, ms", "bilinear, ms", "ratio"]
    print_table("Redistribution alone, given the score map", header, redistribution_rows(runs))

    model, images = real_data.efficientnet_lite0(), real_data.imagenet_images()[0]
    normalisation = {"mean": [127 / 255] * 3, "std": [128 / 255] * 3}
    cases: list[tuple[str, USU, Tensor]] = [
        (str(scorer), USU(scorer=scorer, **normalisation), images[:1])
        for scorer in ("deletion+insertion", "deletion", "insertion")
    ]
    cases += [
        (f"coalition, {n} passes", USU(scorer=CoalitionScorer(n), **normalisation), images[:1]) for n in (32, 64, 96)
    ]
    if not options.fast:
        cases += [
            (f"deletion, {n} segments asked for", USU(scorer="deletion", segmenter=Segmenter("slic", n)), images[:1])
            for n in (16, 100, 200)
        ]
        cases += [
            ("deletion, batch of 4", USU(scorer="deletion", **normalisation), images[:4]),
            (
                "deletion, 320 x 320",
                USU(scorer="deletion"),
                functional.interpolate(images[:1], (320, 320), mode="bilinear"),
            ),
        ]
    rows = [[name, *cost(model, usu, inputs, runs)] for name, usu, inputs in cases]
    header = ["scorer", "passes", "seconds", "bare passes, seconds", "ratio"]
    print_table(f"USU, segmentation and redistribution included; medians of {runs} pairs", header, rows)


if __name__ == "__main__":
    main()
