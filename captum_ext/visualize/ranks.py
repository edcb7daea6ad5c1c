"""A figure of mean ranks: which methods are ahead over many samples, and which of them tests do not tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from captum_ext.core.checks import check_bool, describe
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.visualize.inputs import Array, as_numbers
from captum_ext.visualize.lines import COLOURS
from captum_ext.visualize.looks import Caption, check_words, name_of, new_figure, wrapped, write_around

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GREY = "#5b6675"
_BAR = -0.8  # where the bar is, above the first line
_BEYOND = 0.06  # ranks, by which it is longer than what is below it


def show_ranks(
    scores: Mapping[str, Any],
    *,
    together: Sequence[str] = (),
    higher_is_better: bool = True,
    caption: Caption = Caption(unit="mean rank"),
) -> Figure:
    """Mean ranks of methods, 1 the best, with a bar over those that are not told apart: a critical-difference diagram.

    As in Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006
    (https://www.jmlr.org/papers/v7/demsar06a.html), but nothing is tested here: `together` is what tests of yours say.

    Args:
        scores: method -> scores (n,) of the same samples. Ranks are over the samples for which all methods have a
            finite score; equal scores share their mean rank.
        together: the methods that tests do not tell apart, or the only one that is left; the others are hollow and
            grey.
        higher_is_better: direction of the scores.
        caption: its unit stands below the axis.

    Raises:
        ArgumentTypeError, ArgumentError: fewer than two methods, no sample that all have, an unknown method in
            `together`.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> from captum_ext.visualize import show_ranks
        >>> figure = show_ranks({"LPI": [0.3, 0.2], "IG": [0.1, 0.2]}, together=["LPI", "IG"])
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['LPI', 'IG']
        >>> figure.get_supxlabel().partition(".")[0]
        'Ranks over 2 samples, 1 the best'
    """
    check_words(caption)
    higher_is_better = check_bool("higher_is_better", higher_is_better)
    columns = _columns(scores)
    left = _left(together, columns)
    table = np.stack(list(columns.values()))
    complete = table[:, np.isfinite(table).all(0)]
    if not complete.shape[1]:
        raise ArgumentError("scores", "of at least one sample for which all methods have one", "none")
    ranks = rankdata(-complete if higher_is_better else complete, axis=0).mean(1)
    longest = max(len(name_of(name)) for name in columns)
    figure = new_figure(4.2 + 0.08 * longest, 0.28 * len(columns) + 1.2)
    _draw(figure.subplots(), dict(zip(columns, ranks.tolist(), strict=True)), left, caption.unit)
    return write_around(figure, caption, _about(complete.shape[1], table.shape[1], left))


def _columns(scores: Any) -> dict[str, Array]:
    """Scores by method, as many of each."""
    if not isinstance(scores, Mapping):
        raise ArgumentTypeError("scores", "a dictionary of method and scores", describe(scores))
    columns = {str(name): as_numbers(f"scores[{name!r}]", values) for name, values in scores.items()}
    for name, column in columns.items():
        if column.ndim != 1:
            raise ArgumentError(f"scores[{name!r}]", "of shape (n,)", f"shape {column.shape}")
    sizes = {name: len(column) for name, column in columns.items()}
    if len(columns) < 2:
        raise ArgumentError("scores", "of at least two methods", f"{len(columns)}")
    if len(set(sizes.values())) > 1:
        raise ArgumentError("scores", "of the same samples for every method", f"numbers of samples {sizes}")
    return columns


def _left(together: Any, columns: Mapping[str, Array]) -> list[str]:
    """Names of methods, each of which is there."""
    if isinstance(together, str) or not isinstance(together, Sequence):
        raise ArgumentTypeError("together", "a list of methods", describe(together))
    left = [str(name) for name in together]
    unknown = [name for name in left if name not in columns]
    if unknown:
        raise ArgumentError("together", "some of " + ", ".join(columns), repr(unknown[0]))
    return left


def _draw(axis: Axes, ranks: Mapping[str, float], left: Sequence[str], unit: str) -> None:
    """A line for each method, the best above."""
    order = sorted(ranks, key=ranks.__getitem__)
    for place, name in enumerate(order):
        axis.plot([1, ranks[name]], [place, place], color="0.9", linewidth=1, zorder=0)
        is_left = name in left or not left
        colour, face = (COLOURS[0], COLOURS[0]) if is_left else (_GREY, "white")
        axis.plot(ranks[name], place, "o", color=colour, markerfacecolor=face, markersize=7)
    if len(left) > 1:
        ends = [ranks[name] for name in left]
        axis.plot([min(ends) - _BEYOND, max(ends) + _BEYOND], [_BAR, _BAR], color=COLOURS[0], linewidth=4)
    axis.set_yticks(range(len(order)), [name_of(name) for name in order], fontsize=9)
    axis.set_ylim(len(order) - 0.5, _BAR - 0.5)
    axis.set_xlim(0.8, len(order) + 0.2)
    axis.set_xlabel(wrapped(unit, 60, 120), fontsize=9)
    axis.tick_params(axis="x", labelsize=8)
    axis.locator_params(axis="x", nbins=8)
    axis.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _about(n_complete: int, n_samples: int, left: Sequence[str]) -> list[str]:
    missing = f" ({n_samples - n_complete} left out, without a score of each method)" * (n_complete < n_samples)
    said = [f"Ranks over {n_complete} {'sample' if n_complete == 1 else 'samples'}{missing}, 1 the best"]
    if len(left) > 1:
        said.append("Filled, below the bar: not told apart; hollow: told apart from these")
    elif left:
        said.append("Filled: told apart from all others")
    return said
