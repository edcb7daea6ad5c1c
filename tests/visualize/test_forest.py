"""A forest plot: where symbols and intervals stand, what the legend and the caption say."""

import io

import numpy as np
import pytest

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.visualize import Caption, Effect, ForestLine, Mark, save_figure, show_forest

HOSTILE = "$\\input{x}$ <script>\x1b[2J\u202e"
BETTER, WORSE = Mark("better", "#0072b2", "o"), Mark("worse", "#c0392b", "X")
LINES = [
    ForestLine("a", {"x": Effect(1.0, 0.5, 1.5, BETTER), "y": Effect(-9.0, -10.0, -8.0, WORSE)}),
    ForestLine("against b", {"x": Effect(0.25, mark=BETTER)}, is_minor=True),
]


def said(figure):
    return " ".join(figure.get_supxlabel().split())


def drawn(axis):
    """Symbols: line, place, marker and size; and intervals: line and both ends."""
    singles = [line for line in axis.lines if len(line.get_xdata()) == 1]
    pairs = [line for line in axis.lines if len(line.get_xdata()) == 2 and len(set(line.get_ydata())) == 1]
    return (
        [
            (int(one.get_ydata()[0]), float(one.get_xdata()[0]), one.get_marker(), one.get_markersize())
            for one in singles
        ],
        [(int(one.get_ydata()[0]), *map(float, one.get_xdata())) for one in pairs if np.isfinite(one.get_xdata()[0])],
    )


def test_lines_are_below_each_other_and_panels_beside_each_other_on_one_axis():
    figure = show_forest({"": LINES}, caption=Caption(unit="units"))
    x, y = figure.axes
    assert [axis.get_title() for axis in (x, y)] == ["x", "y"]
    assert [text.get_text() for text in x.get_yticklabels()] == ["a", "against b"]
    assert [text.get_text() for text in y.get_yticklabels()] == ["", ""]
    assert drawn(x) == ([(0, 1.0, "o", 7), (1, 0.25, "o", 4)], [(0, 0.5, 1.5)])
    assert drawn(y) == ([(0, -9.0, "X", 7)], [(0, -10.0, -8.0)])
    assert x.get_xlim() == y.get_xlim() == (-10.8, 10.8)
    assert x.get_xlabel() == "units"
    assert said(figure) == "Symbol: mean difference; line: its interval. Small and grey: controls of the line above."
    (legend,) = figure.subfigs[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["better", "worse"]


def test_what_is_beyond_the_axis_is_at_its_end_with_an_arrow():
    figure = show_forest({"": LINES}, limit=2)
    symbols, intervals = drawn(figure.axes[1])
    assert symbols[0][:3] == (0, -2.0, "X")
    assert symbols[1][2] == "<"
    assert intervals == [(0, -2.0, -2.0)]
    assert said(figure).endswith("Arrow: beyond the axis (1 of 3).")
    endless = show_forest({"": [ForestLine("a", {"x": Effect(np.inf), "y": Effect(0.5)})]})
    assert drawn(endless.axes[0])[0][0][:2] == (0, 0.5)
    for size in (1e-300, 1e300):
        far = show_forest({"": [ForestLine("a", {"x": Effect(size, -size, size)})]})
        far.draw_without_rendering()
    assert drawn(show_forest({"": [ForestLine("a", {"x": Effect(np.nan)})]}).axes[0]) == ([], [])


def test_blocks_have_panels_and_titles_of_their_own():
    figure = show_forest({"first": LINES, "second": [ForestLine("c", {"z": Effect(0.0)})]})
    assert [part.get_suptitle() for part in figure.subfigs] == ["", "first", "second"]
    assert [axis.get_title() for axis in figure.axes] == ["x", "y", "z", ""]


def test_a_mark_has_its_symbol_filled_or_not_so_that_it_is_known_in_grey():
    hollow = Mark("none", "#6b7480", "o", filled=False)
    figure = show_forest({"": [ForestLine("a", {"x": Effect(1.0, mark=hollow), "y": Effect(1.0)})]})
    first, second = (next(line for line in axis.lines if len(line.get_xdata()) == 1) for axis in figure.axes)
    assert first.get_markerfacecolor() == "white"
    assert second.get_markerfacecolor() == Mark().colour
    assert [text.get_text() for text in figure.subfigs[0].legends[0].get_texts()] == ["none"]


def test_an_effect_has_its_name_in_a_picture_as_svg_whose_bytes_are_the_same_each_time():
    pictures = []
    for _ in range(2):
        file = io.BytesIO()
        named = [ForestLine(HOSTILE, {HOSTILE: Effect(1.0, name="effect-7", mark=Mark(HOSTILE))})]
        save_figure(show_forest({HOSTILE: named}, caption=Caption(HOSTILE, HOSTILE)), file, format="svg")
        pictures.append(file.getvalue().decode())
    assert pictures[0] == pictures[1]
    assert 'id="effect-7"' in pictures[0]
    assert "<script" not in pictures[0]
    assert "\x1b" not in pictures[0]
    assert "&lt;script" in pictures[0]


@pytest.mark.parametrize(
    ("blocks", "error", "message"),
    [
        ({}, ArgumentTypeError, "`blocks` to be a dictionary of title and ForestLines"),
        ({"": [1]}, ArgumentTypeError, "`blocks` to be a dictionary of title and ForestLines"),
        ({"": []}, ArgumentError, "`blocks` to be of lines with Effects"),
        ({"": [ForestLine("a", {})]}, ArgumentError, "`blocks` to be of lines with Effects"),
        ({"": [ForestLine("a", {"x": 1.0})]}, ArgumentError, "`blocks` to be of lines with Effects"),
    ],
)
def test_what_is_no_forest_is_refused(blocks, error, message):
    with pytest.raises(error, match=message):
        show_forest(blocks)


@pytest.mark.parametrize("limit", [0, -1, np.nan, np.inf, 1e200, "2"])
def test_a_limit_is_a_positive_number(limit):
    with pytest.raises((ArgumentError, ArgumentTypeError), match="`limit` to be a number from 1e-100 to 1e100"):
        show_forest({"": LINES}, limit=limit)
