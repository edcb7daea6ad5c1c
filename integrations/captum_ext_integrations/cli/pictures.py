"""Figures of the command line; maps that stand beside each other have one scale."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.optional import require
from captum_ext.core.text import in_figure
from captum_ext_integrations.cli.written import write

_QUANTILE = 0.995  # of the sizes of all pixels: where the colours end
_PANEL = 3.2  # inches
_CHARACTERS = 17  # of a caption, in an inch
_OF_TITLE = 13  # of a title, in an inch
_MOST = 40  # of a name


@dataclass(frozen=True)
class Caption:
    """What is written around maps.

    Attributes:
        title: above all.
        unit: of the numbers, beside the colour bar.
        notes: below, before what the colours mean.
        box: x0, y0, x1, y1 of what is explained, drawn into each panel.
        mask: (H, W) of what is explained, whose outline is drawn into each panel.
    """

    title: str
    unit: str
    notes: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: Any = None


def draw_maps(photograph: Any, maps: Mapping[str, Any], caption: Caption, path: Path) -> None:
    """A photograph (H, W, 3) beside maps (H, W) of one quantity, with one scale and one colour bar."""
    pyplot = _pyplot()
    width = _PANEL * (len(maps) + 1)
    figure, axes = pyplot.subplots(1, len(maps) + 1, figsize=(width, _PANEL + 0.7), layout="constrained")
    axes[0].imshow(photograph)
    limit = limit_of(maps)
    signed = any(np.min(values) < 0 for values in maps.values())
    colours = (
        {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit} if signed else {"cmap": "magma", "vmin": 0, "vmax": limit}
    )
    for axis, (name, values) in zip(axes[1:], maps.items(), strict=True):
        drawn = axis.imshow(values, **colours)
        axis.set_title(in_figure(name, _MOST), fontsize=9)  # fits a panel
    for axis in axes:
        axis.set_axis_off()
        _draw_place(axis, caption)
    bar = figure.colorbar(drawn, ax=axes[1:], shrink=0.85, pad=0.02, extend="both" if signed else "max")
    bar.set_label(in_figure(caption.unit, 2 * _MOST - 20), fontsize=8)
    bar.ax.tick_params(labelsize=7)
    figure.suptitle(in_figure(caption.title, int(_OF_TITLE * width)), fontsize=10)
    text = ". ".join([*caption.notes, meaning(maps, limit, signed)])
    figure.supxlabel(_lines(text, width), fontsize=8)
    _save(figure, path)


def _draw_place(axis: Any, caption: Caption) -> None:
    """The outline of what is explained."""
    if caption.box is not None:
        x0, y0, x1, y1 = (edge - 0.5 for edge in caption.box)  # a pixel is drawn around its number
        axis.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color="white", linewidth=2.2)
        axis.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color="black", linewidth=1.0)
    if caption.mask is not None and 0 < np.mean(caption.mask) < 1:
        for colour, width in (("white", 2.2), ("black", 1.0)):
            axis.contour(np.asarray(caption.mask, dtype=float), [0.5], colors=colour, linewidths=width)


def limit_of(maps: Mapping[str, Any]) -> float:
    """Where the colours end: a quantile of all pixels of all maps, or the largest where most pixels are zero."""
    sizes = np.concatenate([np.abs(np.asarray(values, dtype=np.float64)).ravel() for values in maps.values()])
    return float(np.quantile(sizes, _QUANTILE)) or float(sizes.max()) or 1.0


def meaning(maps: Mapping[str, Any], limit: float, signed: bool) -> str:
    """What the colours say, and of how many pixels they say too little."""
    colours = "Red: for the class, blue: against it" if signed else "Bright: important for the class"
    beyond = {name: f"{100 * share:.2g} %" for name, values in maps.items() if (share := share_beyond(values, limit))}
    if not beyond:
        return f"{colours}. No pixel is beyond the scale"
    shares = ", ".join(f"{name} {share}".strip() for name, share in beyond.items())
    return f"{colours}. Beyond the scale, drawn as its end: {shares} of the pixels"


def share_beyond(values: Any, limit: float) -> float:
    """Share of the pixels whose size is beyond the end of the colours."""
    return float(np.mean(np.abs(np.asarray(values, dtype=np.float64)) > limit))


def draw_scores(scores: Mapping[str, Any], table: Any, metrics: Mapping[str, bool], path: Path) -> None:
    """For each metric a panel with every image's score, and each method's mean with its interval."""
    pyplot = _pyplot()
    names = [in_figure(name, _MOST) for name in scores]
    figure, axes = pyplot.subplots(
        1,
        len(metrics),
        figsize=(1.5 + 0.1 * max(map(len, names)) + 3.2 * len(metrics), 1.7 + 0.55 * len(scores)),
        layout="constrained",
        squeeze=False,
    )
    for place, (axis, metric) in enumerate(zip(axes[0], metrics, strict=True)):
        _draw_metric(axis, {name: values[metric] for name, values in scores.items()}, table, metric)
        axis.set_yticks(range(len(scores)), names if place == 0 else [""] * len(names))
        axis.set_ylim(len(scores) - 0.5, -0.5)
        axis.set_title(f"{in_figure(metric)} ({'higher' if metrics[metric] else 'lower'} is better)", fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    figure.supxlabel("grey: one image; blue: mean and its 95 % interval", fontsize=8)
    _save(figure, path)


def _draw_metric(axis: Any, columns: Mapping[str, Any], table: Any, metric: str) -> None:
    random = np.random.default_rng(0)
    rows = table[table["metric"] == metric].set_index("method")
    for place, (name, values) in enumerate(columns.items()):
        points: NDArray[np.float64] = values.astype(float).to_numpy()
        heights = place + random.uniform(-0.18, 0.18, len(points))
        axis.plot(points, heights, ".", color="0.7", markersize=5, zorder=1)
        mean, low, high = (float(rows.loc[name, column]) for column in ("mean", "ci_low", "ci_high"))
        axis.plot([low, high], [place, place], color="C0", linewidth=2.5, zorder=2)
        axis.plot(mean, place, "o", color="C0", markersize=7, zorder=3)


def _lines(text: str, inches: float) -> str:
    return "\n".join(textwrap.wrap(in_figure(text, 15 * _MOST), int(_CHARACTERS * inches)))


def _save(figure: Any, path: Path) -> None:
    """Write a figure, drawn in memory first."""
    file = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")  # names in letters that no font here has
            figure.savefig(file, format="png", dpi=120)
    finally:
        _pyplot().close(figure)
    write(path, file.getvalue())


def _pyplot() -> Any:
    require("matplotlib", "cli").use("Agg")
    return require("matplotlib.pyplot", "cli")
