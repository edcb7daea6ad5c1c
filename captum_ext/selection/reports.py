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
from captum_ext.selection.measured import FORWARD_SHARE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from captum_ext.selection.choice import Choice

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {letter: f"\\{letter}" for letter in "&%$#_{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
_FORMATS = {"n": ".0f", "cost": ".1f", "seconds": ".2g"}  # scores and criteria have three decimals


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
    r"""The table as a `tabular`, which needs no package.

    Columns: method; n; score; the criteria; cost in gradients, of which a pass forwards is 0.4; seconds; whether it
    beats its controls. A line parts the methods, the best first, from the controls. The looks at the methods in the
    answer, which the others have not, are in the paragraph.
    """
    table = choice.table
    table["cost"] = table["gradients"] + FORWARD_SHARE * table["forwards"]
    columns = ["n", "score", *choice.options.criteria, "cost", "seconds", "beats_controls"]
    shown = _shown(table[columns].rename(columns={"beats_controls": "controls"}))
    names = [in_latex(name) for name in ("method", *shown.columns)]
    rows = [
        " & ".join(in_latex(cell) for cell in (name, *row))
        for name, row in zip(shown.index, shown.to_numpy(), strict=True)
    ]
    n_methods = int((table["role"] == "method").sum())
    blocks = [[" & ".join(names)], rows[:n_methods], rows[n_methods:]]
    body = "\\hline\n".join("".join(f"{line} \\\\\n" for line in block) for block in blocks if block)
    return f"\\begin{{tabular}}{{l{'r' * len(columns)}}}\n{body}\\end{{tabular}}\n"


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


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """A table with few digits, as text."""
    forms = {name: _FORMATS.get(name, ".3f") for name in table.columns}
    return table.astype(object).apply(lambda column: [_cell(value, forms[column.name]) for value in column])


def _cell(value: Any, form: str) -> str:
    if isinstance(value, str):
        return value
    missing = value is None or value is require("pandas", "compare").NA or value != value
    return "" if missing else format(float(value), form)


def _described(answer: Answer) -> str:
    lines = [(one.name, CANDIDATES[one.name].line if one.name in CANDIDATES else "") for one in answer.standings]
    return "; ".join(f"{name} ({line})" if line else name for name, line in lines)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
