"""Figures of lines: curves of metrics, and the score along SAMP's paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from captum_ext.core.checks import check_bool, describe
from captum_ext.core.optional import require
from captum_ext.core.text import shown
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.visualize.inputs import Array, as_numbers
from captum_ext.visualize.looks import EXTRA, Caption, check_words, name_of, new_figure, wrapped, write_around
from captum_ext.visualize.panels import check_titles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which differ for every kind of colour blindness; in grey the markers tell lines apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#56b4e9", "#e69f00")
_MARKERS = ("o", "s", "^", "D", "v", "X", "P", "<", ">", "*", "h")  # 11 and 7 have no common factor: 77 kinds of lines
_DASHES = ("-", "--", ":", "-.")
_LABELLED = 1e4  # times the smallest number on a logarithmic axis, up to which 1, 2 and 5 of each decade are labelled
_BESIDE = 6  # lines, beyond which the legend is beside the panel


@dataclass(frozen=True)
class _Line:
    x: Array
    y: Array
    count: int = 1
    left_out: int = 0
    rows: Array | None = None


def show_curves(
    curves: Mapping[str, Any],
    *,
    x_label: str = "share of the pixels",
    logarithmic: bool = False,
    caption: Caption = Caption(unit="score"),
) -> Figure:
    """Curves, each with a colour and a marker of its own, so that they differ in grey print.

    Args:
        curves: name -> a `PerturbationCurve` (the mean of its valid rows is drawn), a pair of x (S,) and y, (S,) or
            (N, S) of which the mean is drawn, or a list of these, of which all but the first are dashed. Or title of a
            panel -> such a dictionary, for panels beside each other; a name has one colour and marker in all of them.
        x_label: below the panel.
        logarithmic: both axes; points that are not above zero are left out, and the caption says how many.
        caption: its unit stands beside the panel; beside several of them, the title of each.

    The caption says how many rows a mean is of, and how many were left out, as not valid or not finite. Points that are
    not finite are not drawn.

    Raises:
        ArgumentTypeError, ArgumentError: no curve, x and y that do not fit.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import deletion, insertion
        >>> from captum_ext.visualize import show_curves
        >>> x = torch.rand(4, 6)
        >>> curves = {one.__name__: one(lambda x: x.sum(1), x, x, baselines=0) for one in (insertion, deletion)}
        >>> figure = show_curves(curves)
        >>> figure.get_supxlabel()
        'Means of 4 rows.'
    """
    check_words(caption)
    logarithmic = check_bool("logarithmic", logarithmic)
    panels = _curve_panels(curves, caption.unit)
    most = max(len(one) for one in panels.values())
    width = (7 if len(panels) == 1 else 5 * len(panels)) + 2.5 * len(panels) * (most > _BESIDE)
    figure = new_figure(width, max(4.2, 0.2 * most))
    said = []
    names = list(dict.fromkeys(str(name) for one in panels.values() for name in one))
    for axis, (unit, one) in zip(figure.subplots(1, len(panels), squeeze=False).flat, panels.items(), strict=True):
        said += draw_curves(axis, one, x_label, unit, names=names)
        if logarithmic:
            said += _made_logarithmic(axis)
    return write_around(figure, caption, list(dict.fromkeys(said)))


def _curve_panels(curves: Any, unit: str) -> dict[str, Mapping[str, Any]]:
    """Curves by what stands beside their panel."""
    if not isinstance(curves, Mapping) or not curves:
        raise ArgumentTypeError("curves", "a dictionary of name and curve, with one at least", describe(curves))
    inner = [isinstance(one, Mapping) for one in curves.values()]
    if not any(inner):
        return {unit: curves}
    if not all(inner) or not all(curves.values()):
        expected = "a dictionary of curves, or one of such dictionaries, each with a curve at least"
        raise ArgumentTypeError("curves", expected, describe(curves))
    return {str(title): one for title, one in curves.items()}


def _made_logarithmic(axis: Axes) -> list[str]:
    """Both axes, without the points that have no place there; how many these are."""
    left_out = shown_points = 0
    for line in axis.lines:
        x, y = (np.asarray(one, dtype=float) for one in line.get_data())
        above = (x > 0) & (y > 0)
        left_out += int((~above).sum())
        shown_points += int(above.sum())
        line.set_data(x[above], y[above])
    if not shown_points:
        return ["No point is above zero, as logarithmic axes are"]
    axis.set(xscale="log", yscale="log")
    axis.relim()
    axis.autoscale_view()
    ticker = require("matplotlib.ticker", EXTRA)
    for one in (axis.xaxis, axis.yaxis):
        low, high = one.get_view_interval()
        if high < low * _LABELLED:  # else decades are enough
            one.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            one.set_major_formatter(ticker.FormatStrFormatter("%g"))
            one.set_minor_formatter(ticker.NullFormatter())
    return [f"Both axes are logarithmic{f', without {left_out} points that are not above zero' if left_out else ''}"]


def draw_curves(
    axis: Axes,
    curves: Mapping[str, Any],
    x_label: str,
    unit: str,
    *,
    rows: bool = False,
    names: Sequence[str] = (),
) -> list[str]:
    """The panel of `show_curves`, in a figure of somebody else.

    Args:
        axis: that is drawn on.
        curves: as of `show_curves`, one at least.
        x_label: below the panel.
        unit: beside it.
        rows: draw the rows that a mean is of, too, thin and in grey.
        names: of all panels of the figure, whose order says colours and markers; none: of this one.

    Returns:
        Sentences for the caption, without full stops.

    Raises:
        ArgumentTypeError, ArgumentError: as `show_curves`.
    """
    lines = {str(name): _lines(f"curves[{name!r}]", given) for name, given in curves.items()}
    for line in [line for given in lines.values() for line in given] if rows else []:
        if line.rows is not None:
            axis.plot(line.x, line.rows.T, color="0.8", linewidth=0.8)
    _draw(axis, lines, names)
    axis.set_xlabel(wrapped(x_label, 80, 150))
    axis.set_ylabel(wrapped(unit, 50, 90))
    place = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if len(lines) > _BESIDE else {"loc": "best"}
    axis.legend(fontsize=8, **place)
    return [*_about_rows(lines), *(["Thin grey lines: the rows"] if rows else [])]


def _draw(axis: Axes, lines: Mapping[str, list[_Line]], names: Sequence[str] = ()) -> None:
    """Every line of each name, whose markers begin at different points."""
    places = {name: place for place, name in enumerate(names or lines)}
    for name, given in lines.items():
        place = places[name]
        for number, line in enumerate(given):
            there = np.isfinite(line.y) & np.isfinite(line.x)
            every = max(1, int(there.sum()) // 8)
            axis.plot(
                line.x[there],
                line.y[there],
                _DASHES[number % len(_DASHES)],
                color=COLOURS[place % len(COLOURS)],
                marker=_MARKERS[place % len(_MARKERS)],
                markevery=(place % every, every),
                markersize=5,
                linewidth=1.5,
                label=name_of(name) if number == 0 else None,
            )
    axis.grid(alpha=0.25)


def _lines(label: str, given: Any) -> list[_Line]:
    many = given if isinstance(given, list) else [given]
    if not many:
        raise ArgumentError(label, "at least one curve", "an empty list")
    return [_line(label, one) for one in many]


def _line(label: str, given: Any) -> _Line:
    """One line from a curve of metrics, or from x and y."""
    valid = getattr(given, "valid", None)
    if valid is not None:
        x, y = as_numbers(label, given.fractions), as_numbers(label, given.scores)
    elif isinstance(given, tuple) and len(given) == 2:
        x, y = (as_numbers(label, part) for part in given)
    else:
        raise ArgumentTypeError(label, "a PerturbationCurve or a pair of x and y", describe(given))
    if x.ndim != 1 or y.ndim not in (1, 2) or y.shape[-1] != len(x):
        raise ArgumentError(label, "x (S,) and y (S,) or (N, S)", f"shapes {x.shape} and {y.shape}")
    if y.ndim == 1:
        return _Line(x, y)
    kept = np.isfinite(y).all(1)
    if valid is not None:
        kept &= as_numbers(label, valid).astype(bool)
    mean = y[kept].mean(0) if kept.any() else np.full(len(x), np.nan)
    return _Line(x, mean, int(kept.sum()), int((~kept).sum()), y[kept])


def _about_rows(lines: Mapping[str, list[_Line]]) -> list[str]:
    parts = []
    for name, (line, *_) in lines.items():
        if line.count != 1 or line.left_out:
            parts.append(f"{shown(name, 40)} {line.count}" + f" ({line.left_out} left out)" * bool(line.left_out))
    said = [f"Means of rows: {'; '.join(parts)}"] if parts else []
    counts = {(line.count, line.left_out) for line, *_ in lines.values()}
    if len(parts) > 1 and len(counts) == 1:
        count, left_out = counts.pop()
        said = [f"Means of {count} rows" + f" ({left_out} left out)" * bool(left_out)]
    if any(len(given) > 1 for given in lines.values()):
        said.append("Solid: the first curve of a method, dashed: its others")
    return said


def show_path(
    paths: Mapping[str, Any],
    *,
    titles: str | Sequence[str] | None = None,
    caption: Caption = Caption(unit="score"),
) -> Figure:
    """The score along SAMP's greedy paths, a panel for each input.

    Args:
        paths: what `SalientManipulationPath.attribute(..., return_path=True)` returns: direction -> `PathScores`.
        titles: of the inputs, one for each.
        caption: its unit stands beside the panels.

    Every path is drawn over the share of the input that is there: the insertion path goes to the right, from a baseline
    to the input, and the deletion path to the left. Where a path moves much at once, its markers are far apart.

    Raises:
        ArgumentTypeError, ArgumentError: no paths, other titles.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> import torch
        >>> from captum_ext import SAMP
        >>> from captum_ext.visualize import show_path
        >>> samp = SAMP(lambda x: x[:, 0] * x[:, 1], insertion_baselines=0)
        >>> _, paths = samp.attribute(torch.tensor([[1.0, 2.0]]), n_steps=2, return_path=True)
        >>> len(show_path(paths).axes)
        1
    """
    check_words(caption)
    read = _paths(paths)
    count = len(next(iter(read.values()))[0])
    names = check_titles(titles, count)
    columns = min(count, 4)
    rows = -(-count // columns)
    figure = new_figure(4 * columns + 1.2, 3.2 * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for row, (axis, title) in enumerate(zip(axes, names, strict=False)):
        _draw(axis, {name: [_Line(share[row], scores[row])] for name, (share, scores) in read.items()})
        for line in axis.lines:
            line.set_markevery(1)  # every move
        axis.set_title(name_of(title), fontsize=9)
        axis.set_xlabel("share of the input that is there", fontsize=8)
        axis.set_ylabel(wrapped(caption.unit, 40, 70), fontsize=8)
        axis.legend(fontsize=7)
    for axis in axes[count:]:
        axis.set_axis_off()
    said = {
        "insertion": "Insertion goes to the right, from a baseline to the input",
        "deletion": "Deletion goes to the left, from the input to a baseline",
    }
    return write_around(figure, caption, [said[name] for name in read if name in said])


def _paths(paths: Any) -> dict[str, tuple[Array, Array]]:
    """Direction -> share of the input that is there (N, S), and score (N, S)."""
    expected = "what SAMP's `attribute(..., return_path=True)` returns: direction -> PathScores"
    if not isinstance(paths, Mapping) or not paths:
        raise ArgumentTypeError("paths", expected, describe(paths))
    read = {}
    for name, path in paths.items():
        if not (hasattr(path, "moved") and hasattr(path, "scores")):
            raise ArgumentTypeError("paths", expected, describe(path))
        moved, scores = as_numbers("paths", path.moved), as_numbers("paths", path.scores)
        if moved.ndim != 2 or moved.shape != scores.shape:
            raise ArgumentError("paths", "of shares and scores (N, S)", f"shapes {moved.shape} and {scores.shape}")
        read[str(name)] = (1 - moved if name == "deletion" else moved, scores)
    if len({len(share) for share, _ in read.values()}) > 1:
        raise ArgumentError("paths", "of the same number of inputs", str({k: len(v[0]) for k, v in read.items()}))
    return read
