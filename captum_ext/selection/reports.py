"""A comparison for a paper: tables, a paragraph on methods, and mean ranks as a critical-difference diagram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from captum_ext.core.optional import require
from captum_ext.core.text import in_csv, in_figure
from captum_ext.dataset.shards import versions
from captum_ext.exceptions import ArgumentError
from captum_ext.selection.answers import Answer
from captum_ext.selection.candidates import CANDIDATES
from captum_ext.selection.controls import CONTROLS
from captum_ext.selection.criteria import CRITERIA

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from captum_ext.selection.choice import Choice

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {letter: f"\\{letter}" for letter in "&%$#_{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
_NUMBERS = {"gradients": 3, "forwards": 3, "seconds": 2}  # significant digits; others have three


def in_latex(text: str) -> str:
    r"""Text of others as LaTeX shows it.

    Example:
        >>> from captum_ext.selection.reports import in_latex
        >>> print(in_latex("diff_id 5 %"))
        diff\_id 5 \%
    """
    return "".join(_LATEX.get(letter, letter) for letter in text)


def paragraph(choice: Choice) -> str:
    """What a paper's section on methods has to say: versions, n, budget, criteria, tests, controls, and the answer."""
    answer, options = choice.answer, choice.options
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    budget = f"{options.gradients:g} gradients" if options.seconds is None else f"{options.seconds:g} seconds"
    criteria = "; ".join(f"{name}, {CRITERIA[name].line}" for name in options.decide_by)
    said = [
        f"We compared {_counted(len(answer.standings), 'attribution method')} on {answer.n_images} images "
        f"(of {answer.n_available}) with {packages}, seed {options.seed}: {_described(answer)}.",
        f"Each map had a budget of {budget}, a pass forwards counting as 0.4 of one forwards and backwards.",
        f"Methods were compared by the mean for each image of {criteria}, each turned so that higher is better.",
        f"Images came in groups, with at most {answer.n_looks} looks at the data. After each group, methods that were "
        "significantly worse than the leading one were dropped: Wilcoxon signed-rank tests of the paired differences, "
        "with the alpha spending of Lan and DeMets (O'Brien and Fleming's type) over looks and Bonferroni's correction "
        f"over the pairs left, stepped down (Holm), at an overall level of {answer.alpha:g}.",
    ]
    if answer.controls:
        lines = ", ".join(CONTROLS[name].line if name in CONTROLS else name for name in answer.controls)
        said.append(f"To be chosen, a method had to be significantly better than each of these controls: {lines}.")
    return " ".join([*said, str(answer)])


def latex_paragraph(choice: Choice) -> str:
    """The same for a LaTeX document."""
    return in_latex(paragraph(choice))


def latex_table(choice: Choice) -> str:
    r"""The table as a `tabular`, which needs no package."""
    table = _shown(choice)
    head = " & ".join(in_latex(name) for name in ["method", *table.columns])
    lines = [
        " & ".join(in_latex(cell) for cell in [name, *row])
        for name, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    columns = "l" + "r" * len(table.columns)
    body = " \\\\\n".join([head + " \\\\ \\hline", *lines]).replace("\\hline \\\\", "\\hline")
    return f"\\begin{{tabular}}{{{columns}}}\n{body} \\\\\n\\end{{tabular}}\n"


def csv_table(choice: Choice) -> str:
    """The table as CSV, with all digits; its names are no formulas of a spreadsheet."""
    table = choice.table
    table.index = [in_csv(name) for name in table.index]
    table.index.name = "method"
    text: str = table.to_csv()
    return text


def rank_diagram(choice: Choice) -> Figure:
    """Mean ranks of the methods, 1 the best, over the images that all of them have, with a bar over those that the
    answer does not tell apart (Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006).

    https://www.jmlr.org/papers/v7/demsar06a.html. The bar is that of `choose`'s own tests and not Nemenyi's, which know
    nothing of several looks.

    Raises:
        ArgumentError: one method, or no image that all have.
    """
    names = [one.name for one in choice.answer.standings]
    table = np.stack([choice.decisive[name] for name in names])
    complete = table[:, np.isfinite(table).all(0)]
    if len(names) < 2 or not complete.shape[1]:
        received = f"{len(names)} methods and {complete.shape[1]} images that all have"
        raise ArgumentError("choice", "of at least two methods with images that all of them have", received)
    ranks = rankdata(-complete, axis=0).mean(1)
    left = [one.dropped_by is None for one in choice.answer.standings]
    return _drawn(names, ranks, left, complete.shape[1])


def _drawn(names: Sequence[str], ranks: Any, left: Sequence[bool], n_images: int) -> Figure:
    order = np.argsort(ranks)
    figure = require("matplotlib.figure", "plot").Figure(figsize=(7, 0.28 * len(names) + 1.2), layout="constrained")
    axis = figure.subplots()
    for place, number in enumerate(order):
        colour = "tab:blue" if left[number] else "0.5"
        axis.plot([1, ranks[number]], [place, place], color="0.9", linewidth=1, zorder=0)
        axis.plot(ranks[number], place, "o", color=colour)
        if left[number]:
            axis.plot(ranks[number], place, "o", color=colour, markersize=11, fillstyle="none")
    together = [ranks[number] for number in order if left[number]]
    if len(together) > 1:
        axis.plot([min(together), max(together)], [-0.8, -0.8], color="tab:blue", linewidth=4)
    axis.set_yticks(range(len(names)), [in_figure(names[number]) for number in order])
    axis.set_ylim(len(names) - 0.5, -1.3)
    axis.set_xlim(0.8, len(names) + 0.2)
    axis.set_xlabel(f"mean rank over {n_images} images; blue: not told apart")
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    return figure  # type: ignore[no-any-return]


def _shown(choice: Choice) -> Any:
    """The table with few digits, as text."""
    table = choice.table.drop(columns=["dropped_after"], errors="ignore").astype(object)
    for column in table.columns:
        digits = _NUMBERS.get(column, 3)
        table[column] = [_cell(value, digits) for value in table[column]]
    return table


def _cell(value: Any, digits: int) -> str:
    if isinstance(value, str):
        return value
    missing = value is None or value is require("pandas", "compare").NA or value != value
    return "" if missing else f"{float(value):.{digits}g}"


def _described(answer: Answer) -> str:
    lines = [(one.name, CANDIDATES[one.name].line if one.name in CANDIDATES else "") for one in answer.standings]
    return "; ".join(f"{name} ({line})" if line else name for name, line in lines)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
