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

from captum_ext.visualize import Caption, save_figure, show_curves

PANELS = {"gap": ("completeness gap, median", median), "map error": ("distance from the converged map, mean", mean)}


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
    panels = {PANELS[what][0]: pairs(curves(rows, what)) for what in PANELS}
    caption = Caption(f"{network}, {len(rows[0]['gap'])} images, zero baseline")
    save_figure(show_curves(panels, x_label="gradients for an image", logarithmic=True, caption=caption), path)


def pairs(found: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, tuple[list[float], list[float]]]:
    """Points of each curve as x and y."""
    return {name: ([x for x, _ in points], [y for _, y in points]) for name, points in found.items()}


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
