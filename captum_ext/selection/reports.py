"""A comparison for a paper: tables, a paragraph on methods, and mean ranks as a critical-difference diagram."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from captum_ext.core.optional import require
from captum_ext.core.text import in_csv
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
    """Mean ranks of the methods over the images that all of them have, with a bar over those that are not told apart.

    `captum_ext.visualize.show_ranks` draws it. The bar is that of `choose`'s own tests and not Nemenyi's, which know
    nothing of several looks.

    Raises:
        ArgumentError: one method, or no image that all have.
        MissingExtraError: matplotlib is not installed.
    """
    from captum_ext.visualize import Caption, show_ranks  # here, since whoever chooses need not draw

    standings = choice.answer.standings
    scores = {one.name: choice.decisive[one.name] for one in standings}
    n_complete = int(np.isfinite(np.stack(list(scores.values()))).all(0).sum())
    if len(scores) < 2 or not n_complete:
        received = f"{len(scores)} methods and {n_complete} images that all have"
        raise ArgumentError("choice", "of at least two methods with images that all of them have", received)
    left = [one.name for one in standings if one.dropped_by is None]
    return show_ranks(scores, together=left, caption=Caption(unit=_ranked_by(choice)))


def _ranked_by(choice: Choice) -> str:
    return f"mean rank by {' and '.join(choice.options.decide_by)}"


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
