"""What the methods cost beside the model's own passes: LPI against IG, DiffID against bare forwards, importing.

    python -m examples.benchmarks.measurements.costs [--runs 7]

Pairs are timed in turn in one process (imports: in fresh processes); ratios are medians over pairs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

import torch

from captum_ext import LocalPathIntegration, ReferenceDistribution
from captum_ext.attr import IntegratedGradients
from captum_ext.core.chunks import default_rows
from captum_ext.metrics import diff_id
from examples import real_data
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.timing import paired


def import_seconds(statement: str) -> float:
    code = (
        f"import time; import torch, captum.attr; s = time.perf_counter(); {statement}; print(time.perf_counter() - s)"
    )
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    runs = 1 if options.fast else options.runs

    model, images = real_data.efficientnet_lite0(), real_data.imagenet_images()[0]
    image = real_data.photographs("chelsea")
    with torch.no_grad():
        target = model(image).argmax(1)
    fitted = ReferenceDistribution.fit(model, images, n_references=20)
    lpi, ig = LocalPathIntegration(model, references=fitted), IntegratedGradients(model)
    lpi_against_ig = paired(
        lambda: lpi.attribute(image, target=target, n_steps=20),
        lambda: ig.attribute(image, target=target, n_steps=20),
        runs,
    )

    ig.channels_last = True  # the layout in which paths from references run
    lpi_against_ig_alike = paired(
        lambda: lpi.attribute(image, target=target, n_steps=20),
        lambda: ig.attribute(image, target=target, n_steps=20),
        runs,
    )

    maps = ig.attribute(image, target=target, n_steps=8)
    limit = default_rows((image,))
    rows = image.repeat(19, 1, 1, 1).contiguous(memory_format=torch.channels_last)

    def bare() -> None:
        with torch.no_grad():
            for part in rows.split(limit):
                model(part)

    diff_id_against_bare = paired(lambda: diff_id(model, image, maps, target), bare, runs)
    imports = [import_seconds("import captum_ext") for _ in range(runs)]
    everything = [import_seconds("import captum_ext.attr, captum_ext.metrics") for _ in range(runs)]
    print_table(
        f"EfficientNet-Lite0, one 224 x 224 photograph, medians of {runs} pairs",
        ["what", "seconds", "against", "seconds", "ratio"],
        [
            ["LPI, 20 references, n_steps=20", lpi_against_ig[0], "IG, n_steps=20", *lpi_against_ig[1:]],
            ["the same", lpi_against_ig_alike[0], "IG, n_steps=20, channels-last", *lpi_against_ig_alike[1:]],
            ["DiffID, 9 fractions", diff_id_against_bare[0], "19 bare forwards", *diff_id_against_bare[1:]],
            ["import captum_ext", statistics.median(imports), "after torch and captum", "", ""],
            ["import captum_ext.attr and .metrics", statistics.median(everything), "after torch and captum", "", ""],
        ],
    )


if __name__ == "__main__":
    main()
