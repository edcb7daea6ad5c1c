"""What `choose` returns: the answer, and the tables behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from captum_ext.core.optional import require
from captum_ext.core.text import shown
from captum_ext.selection import reports
from captum_ext.selection.answers import Answer, Kind, mean_of
from captum_ext.selection.checks import in_words
from captum_ext.selection.criteria import deciding_scores
from captum_ext.selection.deciding import Race
from captum_ext.selection.entrants import Entrant
from captum_ext.selection.measured import FORWARD_SHARE
from captum_ext.selection.options import ChooseOptions
from captum_ext.selection.signed_ranks import Numbers, signed_rank_z

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_EXTRA = "compare"
_COSTS = ("gradients", "forwards", "seconds")


@dataclass(frozen=True)
class Choice:
    """The answer of `choose`; `print` shows it as a sentence.

    Attributes:
        answer: which of three, with numbers.
        scores: method or control -> criterion -> (n,) numbers of the images that were looked at, NaN where a method was
            dropped before or a number is not defined.
        decisive: method or control -> (n,) what decided.
        costs: method or control -> mean gradients, forwards and seconds of a map.
        over_budget: methods that cannot be as cheap as was asked for -> their cost in gradients.
        options: as they were given.
        folder: of the rows: `folder`/methods and `folder`/controls.
        checks: methods in the answer -> `CHECKS`, means over the first images, which do not decide.
    """

    answer: Answer
    scores: Mapping[str, Mapping[str, Numbers]]
    decisive: Mapping[str, Numbers]
    costs: Mapping[str, Mapping[str, float]]
    over_budget: Mapping[str, float]
    options: ChooseOptions
    folder: Path
    checks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __str__(self) -> str:
        return str(self.answer)

    @property
    def table(self) -> pd.DataFrame:
        """One row for each method, the best first, then the controls.

        Columns: role; n images with a score; score, what decides; each criterion, its mean; gradients, forwards,
        seconds of a map; beats_controls; dropped_by and after so many images; `CHECKS` of the methods in the answer. A
        method that was dropped has means over fewer images than the others. Gradients and forwards are those of the
        explained network: the control "random-network", which runs another, has none.
        """
        pandas = require("pandas", _EXTRA)
        rows = {one.name: self._row(one.name, "method") for one in self.answer.standings}
        for one in self.answer.standings:
            dropped = {"dropped_by": one.dropped_by or "", "dropped_after": one.dropped_after}
            rows[one.name] |= {"beats_controls": "yes" if one.beats_controls else "no", **dropped}
        rows |= {name: self._row(name, "control") for name in self.answer.controls}
        table = pandas.DataFrame.from_dict(rows, orient="index")
        if "dropped_after" in table:
            table = table.astype({"dropped_after": "Int64"})
        table.index.name = "method"
        return table

    def to_csv(self) -> str:
        """The table with all digits."""
        return reports.csv_table(self)

    def to_latex(self) -> str:
        r"""The table as a `tabular` of LaTeX, which needs no package.

        Columns: method, n, score, the criteria, cost in gradients (a pass forwards is 0.4), seconds, and whether it
        beats its controls. `{\small\setlength{\tabcolsep}{3pt}\input{methods}}` sets it into the width of a page.
        """
        return reports.latex_table(self)

    def paragraph(self, *, latex: bool = False) -> str:
        """What a paper's section on methods has to say of the comparison.

        Args:
            latex: as LaTeX; else as text.
        """
        return reports.latex_paragraph(self) if latex else reports.paragraph(self)

    def plot(self) -> Figure:
        """Mean ranks as a critical-difference diagram; see `reports.rank_diagram`."""
        return reports.rank_diagram(self)

    def _row(self, name: str, role: str) -> dict[str, Any]:
        decisive = self.decisive[name]
        row: dict[str, Any] = {"role": role, "n": int(np.isfinite(decisive).sum()), "score": mean_of(decisive)}
        row |= {criterion: mean_of(column) for criterion, column in self.scores[name].items()}
        return row | dict(self.costs[name]) | dict(self.checks.get(name, {}))


def choice_of(race: Race, entrants: Mapping[str, Entrant], options: ChooseOptions, folder: Path) -> Choice:
    """The result of a race that has ended."""
    n_seen = race.n_seen
    scores = {
        name: {one: entrant.column(one, n_seen) for one in options.criteria} for name, entrant in entrants.items()
    }
    decisive = {name: deciding_scores(columns, options.decide_by) for name, columns in scores.items()}
    costs = {name: {one: mean_of(entrant.column(one, n_seen)) for one in _COSTS} for name, entrant in entrants.items()}
    equivalents = {name: one["gradients"] + FORWARD_SHARE * one["forwards"] for name, one in costs.items()}
    optimises = {
        name: tuple(one for one in entrant.candidate.optimises if one in options.decide_by)
        for name, entrant in entrants.items()
    }
    answer = race.answer(equivalents, optimises)
    over = {name: equivalents[name] for name in race.methods if name in entrants and not entrants[name].budget.fits}
    notes = [*_optimised(answer, scores, options), *answer.notes, *_dear(answer, over, options), *_left_out(answer)]
    return Choice(replace(answer, notes=tuple(notes)), scores, decisive, costs, over, options, folder)


def with_checks(choice: Choice, checks: Mapping[str, Mapping[str, float]]) -> Choice:
    """The same with a closer look at the methods in the answer, of which the first one's is said."""
    if not checks:
        return choice
    name, numbers = next(iter(checks.items()))
    note = f"{shown(name)}: {in_words(numbers, choice.options.n_checked)}."
    answer = replace(choice.answer, notes=(*choice.answer.notes, note))
    return replace(choice, answer=answer, checks=checks)


def _optimised(answer: Answer, scores: Mapping[str, Mapping[str, Numbers]], options: ChooseOptions) -> list[str]:
    """What the answer owes to criteria that the methods in it optimise."""
    notes = []
    for name in answer.methods:
        own = answer.standing(name).optimises
        if not own:
            continue
        others = [one for one in options.decide_by if one not in own]
        said = (
            f"{shown(name)} itself optimises {' and '.join(own)}, of the {len(options.decide_by)} criteria that decide"
        )
        if answer.kind is Kind.USE and others:
            said += f"; {_without(name, answer, scores, others)}"
        elif not others:
            said += ": there is no other, so that its scores here are no evidence"
        notes.append(f"{said}.")
    return notes


def _without(name: str, answer: Answer, scores: Mapping[str, Mapping[str, Numbers]], others: Sequence[str]) -> str:
    """How a method does by the criteria that it does not optimise, on the images that both have."""
    decisive = {one: deciding_scores(columns, others) for one, columns in scores.items()}
    rivals = [one.name for one in answer.standings if one.name != name]
    z = np.array([float(signed_rank_z(decisive[name] - decisive[rival])) for rival in rivals])
    normal = require("scipy.stats", _EXTRA).norm
    values = normal.sf(z)
    order = np.argsort(values)
    corrected = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    n_better = int((corrected < answer.alpha / 2).sum())
    worse = [
        rival for rival, value in zip(rivals, normal.cdf(z), strict=True) if value < answer.alpha / 2 / len(rivals)
    ]
    by = f"by {' and '.join(others)} alone"
    if worse:
        return f"{by} it is worse than {', '.join(shown(one) for one in worse)}"
    return f"{by} it is significantly better than {n_better} of the {len(rivals)} others"


def _dear(answer: Answer, over: Mapping[str, float], options: ChooseOptions) -> list[str]:
    """Methods that cost more than was asked for."""
    budget = f"{options.gradients:g} gradients" if options.seconds is None else f"{options.seconds:g} seconds"
    return [
        f"{shown(name)} cannot be as cheap as {budget}: it takes {cost:.3g} gradients an image."
        for name, cost in over.items()
        if any(one.name == name for one in answer.standings)
    ]


def _left_out(answer: Answer) -> list[str]:
    reasons = answer.left_out or {}
    return [f"{shown(name)} is left out: {shown(why, 300).rstrip('.')}." for name, why in reasons.items()]
