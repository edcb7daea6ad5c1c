"""The figures that the command line writes; `captum_ext.visualize` draws them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captum_ext.visualize import Caption, save_figure, show_maps, show_scores
from captum_ext_integrations.cli.written import write

__all__ = ["Caption", "draw_maps", "draw_scores"]


def draw_maps(photograph: Any, maps: Mapping[str, Any], caption: Caption, path: Path, place: Any = None) -> None:
    """A photograph (H, W, C) beside maps (H, W) of one quantity, with one scale and one colour bar.

    `place` is a box or a mask of what is explained, see `show_maps`.
    """
    places = None if place is None else [place]
    _save(show_maps(dict(maps), photograph[None], caption=caption, places=places), path)


def draw_scores(scores: Mapping[str, Any], table: Any, metrics: Mapping[str, bool], path: Path) -> None:
    """For each metric a panel with every image's score, and each method's mean with its interval."""
    of_metrics, intervals = {}, {}
    for metric in metrics:
        rows = table[table["metric"] == metric].set_index("method")
        of_metrics[metric] = {name: values[metric].astype(float).to_numpy() for name, values in scores.items()}
        intervals[metric] = {name: tuple(rows.loc[name, ["mean", "ci_low", "ci_high"]]) for name in scores}
    caption = Caption(unit="", notes=("Each dot is an image, intervals are of 95 %",))
    _save(show_scores(of_metrics, intervals=intervals, higher_is_better=metrics, caption=caption), path)


def _save(figure: Any, path: Path) -> None:
    """Write a figure, drawn in memory first."""
    file = io.BytesIO()
    save_figure(figure, file)
    write(path, file.getvalue())
