"""Mean ranks: where each method stands, what is filled, and what the caption says."""

import io

import numpy as np
import pytest

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.visualize import Caption, save_figure, show_ranks

HOSTILE = "$\\input{x}$ <script>\x1b[2J\u202e"
SCORES = {"worst": [0.0, 0.0, 0.0, 9.0], "a": [3.0, 1.0, 2.0, np.nan], "b": [1.0, 2.0, 2.0, 1.0]}


def said(figure):
    return " ".join(figure.get_supxlabel().split())


def points(figure):
    """Name -> its mean rank and the colour of its disc, from above."""
    (axis,) = figure.axes
    discs = [line for line in axis.lines if len(line.get_xdata()) == 1]
    names = [text.get_text() for text in axis.get_yticklabels()]
    return {names[int(one.get_ydata()[0])]: (one.get_xdata()[0], one.get_markerfacecolor()) for one in discs}


def bars(figure):
    return [list(line.get_xdata()) for line in figure.axes[0].lines if line.get_linewidth() == 4]


def test_ranks_are_means_over_the_samples_that_all_methods_have():
    figure = show_ranks(SCORES, together=["a", "b"], caption=Caption("title", unit="mean rank by deletion"))
    found = points(figure)
    assert {name: float(rank) for name, (rank, _) in found.items()} == {"a": 1.5, "b": 1.5, "worst": 3.0}
    assert list(found)[-1] == "worst"
    assert figure.axes[0].get_xlabel() == "mean rank by deletion"
    assert said(figure) == (
        "Ranks over 3 samples (1 left out, without a score of each method), 1 the best. Filled, below the bar: not "
        "told apart; hollow: told apart from these."
    )


def test_a_bar_is_over_what_is_together_and_the_others_are_hollow():
    scores = {"a": [4.0, 4.0], "b": [3.0, 1.0], "c": [2.0, 3.0], "d": [1.0, 2.0]}
    figure = show_ranks(scores, together=["c", "a"])
    assert bars(figure) == [[pytest.approx(1 - 0.06), pytest.approx(2.5 + 0.06)]]
    assert {name for name, (_, face) in points(figure).items() if face == "white"} == {"b", "d"}
    alone = show_ranks(scores, together=["a"])
    assert bars(alone) == []
    assert said(alone) == "Ranks over 2 samples, 1 the best. Filled: told apart from all others."
    nothing = show_ranks(scores)
    assert not any(face == "white" for _, face in points(nothing).values())
    assert said(nothing) == "Ranks over 2 samples, 1 the best."


def test_lower_may_be_better_and_names_are_text():
    figure = show_ranks({HOSTILE: [1.0], "b": [2.0]}, higher_is_better=False)
    assert [float(rank) for rank, _ in points(figure).values()] == [1, 2]
    assert (
        figure.axes[0].get_yticklabels()[0].get_text().replace("\n", " ").startswith("\\$\\input{x}\\$ <script>\\x1b")
    )
    assert said(figure).startswith("Ranks over 1 sample, 1 the best")
    file = io.BytesIO()
    save_figure(figure, file, dpi=30)
    assert file.getvalue()


@pytest.mark.parametrize(
    ("scores", "change", "error", "match"),
    [
        ([1.0], {}, ArgumentTypeError, "`scores` to be a dictionary of method and scores"),
        ({"a": [1.0]}, {}, ArgumentError, "`scores` to be of at least two methods, but got 1"),
        ({"a": [1.0], "b": [[1.0]]}, {}, ArgumentError, r"`scores\['b'\]` to be of shape .n,., but got shape .1, 1."),
        ({"a": [1.0], "b": [1.0, 2.0]}, {}, ArgumentError, "`scores` to be of the same samples for every method"),
        (
            {"a": [np.nan, 1], "b": [1, np.inf]},
            {},
            ArgumentError,
            "`scores` to be of at least one sample for which all",
        ),
        (SCORES, {"together": "a"}, ArgumentTypeError, "`together` to be a list of methods"),
        (SCORES, {"together": ["c"]}, ArgumentError, "`together` to be some of worst, a, b, but got 'c'"),
        (SCORES, {"higher_is_better": 2}, ArgumentTypeError, "`higher_is_better` to be True or False"),
        (SCORES, {"caption": "x"}, ArgumentTypeError, "`caption` to be a Caption"),
    ],
)
def test_what_has_no_ranks_is_refused(scores, change, error, match):
    with pytest.raises(error, match=match):
        show_ranks(scores, **change)
