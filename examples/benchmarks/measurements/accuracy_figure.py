"""The figure of gap and map error against gradients, from files that `accuracy` wrote.

    python -m examples.benchmarks.measurements.accuracy_figure docs/images/accuracy.png NETWORK FILE...

Points are means over the images, of the gap the median; both axes are logarithmic.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from captum_ext.visualize import save_figure

PANELS = {"gap": ("completeness gap, median", median), "map error": ("distance from the converged map, mean", mean)}
MARKERS = "osD^v"


def curves(rows: Sequence[Mapping[str, Any]], what: str) -> dict[str, list[tuple[float, float]]]:
    """By rule: mean gradients and the number of the panel; an adaptive rule with its tolerances is one curve."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        name = row["rule"].replace(", tol=", "|").partition("|")
        title = f"{name[0]}, by tolerance" if name[1] else name[0]
        found.setdefault(title, []).append((mean(row["gradients"]), PANELS[what][1](row[what])))
    return {name: sorted(set(points)) for name, points in found.items()}


def draw(network: str, rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Two panels side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    for axis, what in zip(figure.subplots(1, 2), PANELS, strict=True):
        for place, (name, points) in enumerate(curves(rows, what).items()):
            axis.plot(*zip(*points, strict=True), marker=MARKERS[place % len(MARKERS)], markersize=4, label=name)
        axis.set(xscale="log", yscale="log", xlabel="gradients for an image", ylabel=PANELS[what][0])
        axis.set_xticks([5, 10, 20, 50, 100, 200, 400], ["5", "10", "20", "50", "100", "200", "400"])
        axis.grid(visible=True, which="major", alpha=0.3)
    figure.axes[0].legend(fontsize=8)
    figure.suptitle(f"{network}, {len(rows[0]['gap'])} images, zero baseline")
    save_figure(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", type=Path)
    parser.add_argument("network")
    parser.add_argument("files", nargs="+", type=Path, help="of `accuracy`, from the same images and baseline")
    options = parser.parse_args()
    draw(
        options.network,
        [row for file in options.files for row in json.loads(file.read_text())[options.network]],
        options.figure,
    )


if __name__ == "__main__":
    main()
