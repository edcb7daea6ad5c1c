"""Figures of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from captum_ext.core.optional import require


def draw_maps(photograph: Any, maps: Mapping[str, Any], title: str, path: Path) -> None:
    """A photograph (H, W, 3) beside maps (H, W): red speaks for the class, blue against it."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(1, len(maps) + 1, figsize=(3.2 * (len(maps) + 1), 3.6), layout="constrained")
    axes[0].imshow(photograph)
    for axis, (name, values) in zip(axes[1:], maps.items(), strict=True):
        limit = float(np.quantile(np.abs(values), 0.995)) or 1.0
        if values.min() >= 0:
            shown = axis.imshow(values, cmap="magma", vmin=0, vmax=limit)
        else:
            shown = axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(name, fontsize=9)
        figure.colorbar(shown, ax=axis, shrink=0.8).ax.tick_params(labelsize=7)
    for axis in axes:
        axis.set_axis_off()
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def draw_scores(scores: Mapping[str, Any], table: Any, metrics: Mapping[str, bool], path: Path) -> None:
    """For each metric a panel with every image's score, and each method's mean with its interval."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(
        1,
        len(metrics),
        figsize=(1.5 + 3.2 * len(metrics), 1.2 + 0.55 * len(scores)),
        layout="constrained",
        squeeze=False,
    )
    random = np.random.default_rng(0)
    for axis, (metric, higher) in zip(axes[0], metrics.items(), strict=True):
        rows = table[table["metric"] == metric].set_index("method")
        for place, (name, values) in enumerate(scores.items()):
            points = values[metric].astype(float).to_numpy()
            axis.plot(
                points, place + random.uniform(-0.18, 0.18, len(points)), ".", color="0.7", markersize=5, zorder=1
            )
            mean, low, high = (float(rows.loc[name, column]) for column in ("mean", "ci_low", "ci_high"))
            axis.plot([low, high], [place, place], color="C0", linewidth=2.5, zorder=2)
            axis.plot(mean, place, "o", color="C0", markersize=7, zorder=3)
        axis.set_yticks(range(len(scores)), list(scores))
        axis.set_ylim(len(scores) - 0.5, -0.5)
        axis.set_title(f"{metric} ({'higher' if higher else 'lower'} is better)", fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _pyplot() -> Any:
    require("matplotlib", "cli").use("Agg")
    return require("matplotlib.pyplot", "cli")
