"""Figures of scores: every sample, and each method's mean with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from captum_ext.core.checks import describe
from captum_ext.core.text import shown
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.visualize.inputs import Array, as_numbers
from captum_ext.visualize.lines import COLOURS
from captum_ext.visualize.looks import Caption, listed, name_of, new_figure, write_around

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Interval = tuple[float, float, float]


def show_scores(
    scores: Mapping[str, Mapping[str, Any]],
    *,
    intervals: Mapping[str, Mapping[str, Interval]] | None = None,
    higher_is_better: Mapping[str, bool] | None = None,
    caption: Caption = Caption(unit=""),
) -> Figure:
    """A panel for each metric, with a line for each method: all its scores, their mean and its interval.

    Args:
        scores: metric -> method -> scores (n,); those that are not finite are not drawn, and counted in the caption.
        intervals: metric -> method -> mean, low and high end, as `captum_ext.metrics.compare` finds them; None: the
            mean alone.
        higher_is_better: metric -> its direction, for the panel's title.
        caption: its unit stands below the panels.

    Raises:
        ArgumentTypeError, ArgumentError: no scores, metrics with other methods, intervals that are missing.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> from captum_ext.visualize import show_scores
        >>> scores = {"deletion": {"IG": [0.3, 0.2], "LPI": [0.1, 0.2]}}
        >>> figure = show_scores(scores, higher_is_better={"deletion": False})
        >>> figure.axes[0].get_title()
        'deletion (lower is better)'
    """
    read = _read(scores)
    methods = list(next(iter(read.values())))
    longest = max(len(name_of(name)) for name in methods)
    figure = new_figure(1.5 + 0.08 * min(longest, 30) + 3.2 * len(read), 1.7 + 0.5 * len(methods))
    axes = figure.subplots(1, len(read), squeeze=False)[0]
    for place, (axis, (metric, columns)) in enumerate(zip(axes, read.items(), strict=True)):
        for line, (method, values) in enumerate(columns.items()):
            _draw(axis, line, values, _interval(intervals, metric, method, values))
        axis.set_yticks(range(len(methods)), [name_of(name) if place == 0 else "" for name in methods])
        axis.set_ylim(len(methods) - 0.5, -0.5)
        axis.set_title(_title(metric, higher_is_better), fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    missing = {name: sum(int((~np.isfinite(one[name])).sum()) for one in read.values()) for name in methods}
    said = ["Grey dots: samples; disc: their mean" + ("; line: its interval" if intervals is not None else "")]
    if any(missing.values()):
        parts = listed({name: count for name, count in missing.items() if count})
        said.append(f"Not finite and left out: {parts}")
    if caption.unit:
        said.insert(0, shown(caption.unit, 200))
    return write_around(figure, caption, said)


def _read(scores: Any) -> dict[str, dict[str, Array]]:
    if not isinstance(scores, Mapping) or not scores or not all(isinstance(one, Mapping) for one in scores.values()):
        raise ArgumentTypeError("scores", "a dictionary of metric, method and scores", describe(scores))
    read = {
        str(metric): {
            str(method): as_numbers(f"scores[{metric!r}][{method!r}]", values) for method, values in one.items()
        }
        for metric, one in scores.items()
    }
    names = [list(one) for one in read.values()]
    if not names[0] or any(one != names[0] for one in names):
        raise ArgumentError("scores", "of the same methods for every metric", f"{names}")
    for metric, one in read.items():
        for method, values in one.items():
            if values.ndim != 1:
                raise ArgumentError(f"scores[{metric!r}][{method!r}]", "of shape (n,)", f"shape {values.shape}")
    return read


def _interval(intervals: Any, metric: str, method: str, values: Array) -> Interval:
    """Mean, and where its interval begins and ends; NaN where there is none."""
    if intervals is not None:
        try:
            mean, low, high = intervals[metric][method]
        except (KeyError, TypeError, ValueError) as error:
            expected = f"mean, low and high of {method!r} for {metric!r}"
            raise ArgumentError("intervals", expected, describe(intervals)) from error
        return float(mean), float(low), float(high)
    finite = values[np.isfinite(values)]
    return (float(finite.mean()) if len(finite) else np.nan), np.nan, np.nan


def _title(metric: str, higher_is_better: Mapping[str, bool] | None) -> str:
    if higher_is_better is None or metric not in higher_is_better:
        return name_of(metric)
    return f"{name_of(metric)} ({'higher' if higher_is_better[metric] else 'lower'} is better)"


def _draw(axis: Axes, place: int, values: Array, interval: Interval) -> None:
    """One line: samples, scattered upwards and downwards so that equal ones show, and their mean."""
    mean, low, high = interval
    heights = place + np.random.default_rng(0).uniform(-0.18, 0.18, len(values))
    axis.plot(values, heights, ".", color="0.7", markersize=5, zorder=1)
    axis.plot([low, high], [place, place], color=COLOURS[0], linewidth=2.5, zorder=2)
    axis.plot(mean, place, "o", color=COLOURS[0], markersize=7, zorder=3)
