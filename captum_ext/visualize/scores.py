"""Figures of scores: every sample, and each method's mean with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from captum_ext.core.checks import check_positive_int, describe
from captum_ext.core.text import shown
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.visualize.inputs import Array, as_numbers
from captum_ext.visualize.lines import COLOURS, draw_curves
from captum_ext.visualize.looks import Caption, check_words, listed, name_of, new_figure, write_around

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Interval = tuple[float, float, float]


@runtime_checkable
class Compared(Protocol):
    """What `captum_ext.metrics.compare` found, which draws itself by this module and is not imported here."""

    @property
    def table(self) -> Any:
        """A row for each method."""

    @property
    def scores(self) -> dict[str, Array]:
        """Scores (n,) of each method."""

    @property
    def control(self) -> str:
        """The method that the others are compared with."""

    @property
    def higher_is_better(self) -> bool:
        """The direction."""

    @property
    def curves(self) -> dict[str, tuple[Array, Array]]:
        """Fractions and mean scores of each method, where there are curves."""


@dataclass(frozen=True)
class _Panel:
    """A metric: of each method its scores (n,), and their mean with both ends of its interval; or its mean curve."""

    title: str
    scores: dict[str, Array]
    intervals: dict[str, Interval]
    curves: Mapping[str, tuple[Array, Array]] | None = None


def show_scores(
    scores: Mapping[str, Mapping[str, Any] | Compared],
    *,
    intervals: Mapping[str, Mapping[str, Interval]] | None = None,
    higher_is_better: Mapping[str, bool] | None = None,
    caption: Caption = Caption(unit=""),
    columns: int = 4,
) -> Figure:
    """A panel for each metric, with a line for each method: all its scores, their mean and its interval.

    Args:
        scores: metric -> what `captum_ext.metrics.compare` found, which has intervals and a direction, and gets another
            panel with the differences from the control, sample by sample, and one with mean curves, where it is of
            curves; or metric -> method -> scores (n,). Scores that are not finite are not drawn, and counted in the
            caption; a method may have no scores.
        intervals: metric -> method -> mean, low and high end; None: the mean alone. Not of a `Comparison`.
        higher_is_better: metric -> its direction, for the panel's title.
        caption: its unit stands below the panels.
        columns: panels in a row.

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
    check_words(caption)
    if higher_is_better is not None and not isinstance(higher_is_better, Mapping):
        raise ArgumentTypeError("higher_is_better", "None or a dictionary of metrics", describe(higher_is_better))
    panels = _panels(scores, intervals, higher_is_better or {})
    methods = list(panels[0].scores)
    longest = max(len(name_of(name)) for name in methods)
    columns = min(check_positive_int("columns", columns), len(panels))
    rows = -(-len(panels) // columns)
    width = 1.5 + 0.08 * min(longest, 30) + 3.2 * columns
    least = 3 if any(panel.curves for panel in panels) else 0
    figure = new_figure(width, 0.7 + max(1 + 0.5 * len(methods), least) * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    is_first = True  # of its row, or behind curves
    for place, (axis, panel) in enumerate(zip(axes, panels, strict=False)):
        axis.set_title(panel.title, fontsize=10)
        if panel.curves:
            draw_curves(axis, panel.curves, "share of the pixels", "mean score")
        else:
            _draw_panel(axis, panel, is_first or place % columns == 0)
        is_first = bool(panel.curves)
    return write_around(figure, caption, _about(panels, caption.unit))


def _panels(scores: Any, intervals: Any, higher: Mapping[str, bool]) -> list[_Panel]:
    """What is in each panel, of the same methods everywhere."""
    if intervals is not None and not isinstance(intervals, Mapping):
        raise ArgumentTypeError("intervals", "None or a dictionary of metric and method", describe(intervals))
    expected = "a dictionary of metric, method and scores, or of metric and Comparison"
    if not isinstance(scores, Mapping) or not scores:
        raise ArgumentTypeError("scores", expected, describe(scores))
    panels = []
    for metric, one in scores.items():
        if isinstance(one, Compared):
            panels += _compared(str(metric), one)
        elif isinstance(one, Mapping):
            read = {str(method): _column(metric, method, values) for method, values in one.items()}
            ends = {method: _interval(intervals, metric, method, values) for method, values in read.items()}
            panels.append(_Panel(_title(metric, higher.get(metric)), read, ends))
        else:
            raise ArgumentTypeError("scores", expected, describe(one))
    names = [list(panel.scores) for panel in panels]
    if not names[0] or any(one != names[0] for one in names):
        raise ArgumentError("scores", "of the same methods for every metric", f"{names}")
    return panels


def _compared(metric: str, comparison: Compared) -> list[_Panel]:
    """Curves of a comparison, its scores, and their differences from the control's."""
    rows = {str(method): row for method, row in comparison.table.iterrows()}
    ends = {name: (float(row["mean"]), float(row["ci_low"]), float(row["ci_high"])) for name, row in rows.items()}
    control = comparison.scores[comparison.control]
    differences = {name: values - control for name, values in comparison.scores.items()}
    means = {name: (float(one.mean()), np.nan, np.nan) for name, one in differences.items()}
    scores = dict(comparison.scores)
    curves = [_Panel(name_of(f"{metric}, curves"), scores, ends, comparison.curves)] if comparison.curves else []
    return [
        *curves,
        _Panel(_title(metric, comparison.higher_is_better), scores, ends),
        _Panel(name_of(f"{metric}, less that of {comparison.control}"), differences, means),
    ]


def _column(metric: Any, method: Any, values: Any) -> Array:
    label = f"scores[{metric!r}][{method!r}]"
    if (isinstance(values, list) and not values) or getattr(values, "shape", None) == (0,):  # a method without any row
        return np.empty(0)
    column = as_numbers(label, values)
    if column.ndim != 1:
        raise ArgumentError(label, "of shape (n,)", f"shape {column.shape}")
    return column


def _interval(intervals: Any, metric: Any, method: str, values: Array) -> Interval:
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


def _title(metric: Any, higher: bool | None) -> str:
    return name_of(metric) if higher is None else f"{name_of(metric)} ({'higher' if higher else 'lower'} is better)"


def _about(panels: list[_Panel], unit: str) -> list[str]:
    intervals = any(np.isfinite(low) for panel in panels for _, low, _ in panel.intervals.values())
    said = [shown(unit, 200)] if unit else []
    said.append("Grey dots: samples; disc: their mean" + "; line: its interval" * intervals)
    missing = {name: sum(int((~np.isfinite(one.scores[name])).sum()) for one in panels) for name in panels[0].scores}
    if any(missing.values()):
        said.append(f"Not finite and left out: {listed({name: count for name, count in missing.items() if count})}")
    return said


def _draw_panel(axis: Axes, panel: _Panel, is_labelled: bool) -> None:
    """A line for each method, from above."""
    for line, (method, values) in enumerate(panel.scores.items()):
        _draw(axis, line, values, panel.intervals[method])
    names = [name_of(name) if is_labelled else "" for name in panel.scores]
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.locator_params(axis="x", nbins=5)
    axis.grid(axis="x", alpha=0.3)


def _draw(axis: Axes, place: int, values: Array, interval: Interval) -> None:
    """One line: samples, scattered upwards and downwards so that equal ones show, and their mean."""
    mean, low, high = interval
    heights = place + np.random.default_rng(0).uniform(-0.18, 0.18, len(values))
    axis.plot(values, heights, ".", color="0.7", markersize=5, zorder=1)
    axis.plot([low, high], [place, place], color=COLOURS[0], linewidth=2.5, zorder=2)
    axis.plot(mean, place, "o", color=COLOURS[0], markersize=7, zorder=3)
