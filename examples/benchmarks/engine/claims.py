"""What the papers claim, and whether the rows of a run bear it out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from captum_ext.metrics import compare
from examples.benchmarks.engine.tables import METRICS, View, scores_by_method, signed_ranks

LEVEL = 0.05
_NONE = "no difference seen"
Rows = Mapping[str, pd.DataFrame]


class Kind(Enum):
    """What a verdict comes down to."""

    HOLDS = "holds"
    PARTLY = "holds only against the paper's comparison"
    NOT_CONTRADICTED = "no difference claimed, none seen"
    NOT_REPRODUCED = "not reproduced"
    OPPOSITE = "the opposite"
    TOO_FEW = "too few samples to tell"
    COMPARISON = "for comparison"


#: Number, n, verdict in words, kind.
Finding: TypeAlias = tuple[str, int, str, Kind]


@dataclass(frozen=True)
class Claim:
    """One method is better than another.

    Attributes:
        paper: its short name.
        where: in it.
        text: the claim, as short as it can be said.
        experiment: whose rows decide.
        metric: column of the rows.
        method: of which it is claimed.
        against: the paper's comparison.
        controls: fair comparisons that the paper does not have; the claim holds only if it holds against them, too,
            which it does not where they did not run.
        select: see `View`.
        is_equality: the claim is that the method is not worse, which a test can contradict but not show.
    """

    paper: str
    where: str
    text: str
    experiment: str
    metric: str
    method: str
    against: str
    controls: tuple[str, ...] = ()
    select: Mapping[str, Any] = field(default_factory=dict)
    is_equality: bool = False


@dataclass(frozen=True)
class Fact:
    """A claim of another form, decided by a function of the rows.

    Attributes:
        paper: its short name.
        where: in it.
        text: the claim.
        judge: what the rows say; None where there are none.
    """

    paper: str
    where: str
    text: str
    judge: Callable[[Rows], Finding | None]


@dataclass(frozen=True)
class Difference:
    """A paired difference: `method` minus `against`, with its BCa interval and tests."""

    claim: Claim
    against: str
    n: int
    means: tuple[float, float]
    difference: float
    low: float
    high: float
    p: float
    cohens_d: float
    ranks: float


@dataclass(frozen=True)
class Judged:
    """A row of the table of verdicts."""

    paper: str
    where: str
    text: str
    data: str
    number: str
    n: int
    verdict: str
    kind: Kind


def judge(claims: Sequence[Claim | Fact], rows: Rows) -> list[Judged]:
    """Verdicts of one paper's claims; p is corrected (Holm and Bonferroni) over all comparisons of them together."""
    differences: list[Difference] = []
    for claim in claims:
        if isinstance(claim, Claim):
            compared = [_difference(claim, other, rows) for other in (claim.against, *claim.controls)]
            differences += [one for one in compared if one is not None]
    values = [one.p for one in differences]
    corrected = {method: multipletests(values, method=method)[1] if values else [] for method in ("holm", "bonferroni")}
    p_of = {
        (id(one.claim), one.against): (corrected["holm"][k], corrected["bonferroni"][k])
        for k, one in enumerate(differences)
    }
    judged = []
    for claim in claims:
        if isinstance(claim, Fact):
            fact = claim.judge(rows)
            if fact is not None:
                judged.append(Judged(claim.paper, claim.where, claim.text, "", *fact))
            continue
        of_claim = [one for one in differences if one.claim is claim]
        if of_claim and of_claim[0].against == claim.against:
            judged.append(_verdict(claim, of_claim, p_of))
    return judged


def _difference(claim: Claim, against: str, rows: Rows) -> Difference | None:
    view = View("", "", claim.experiment, (claim.metric,), against, (claim.method, against), claim.select)
    chosen = view.rows(rows)
    if not len(chosen) or claim.metric not in chosen:
        return None
    scores = scores_by_method(chosen, claim.metric, (claim.method, against))
    if len(scores) < 2:
        return None
    ours, theirs = scores[claim.method], scores[against]
    counts = np.isfinite(ours) & np.isfinite(theirs)
    if counts.sum() < 2:
        return None
    ours, theirs = ours[counts], theirs[counts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two samples have no interval
        table = compare({"difference": ours - theirs, "none": np.zeros_like(ours)}, control="none").table
    statistics = table.loc["difference"]
    return Difference(
        claim,
        against,
        int(statistics["n"]),
        (float(ours.mean()), float(theirs.mean())),
        float(statistics["mean"]),
        float(statistics["ci_low"]),
        float(statistics["ci_high"]),
        float(statistics["p"]),
        float(statistics["cohens_d"]),
        signed_ranks(ours - theirs),
    )


def _verdict(
    claim: Claim, differences: list[Difference], p_of: Mapping[tuple[int, str], tuple[float, float]]
) -> Judged:
    sides = {one.against: _side(one, p_of[id(claim), one.against][0]) for one in differences}
    sides |= {name: "not run" for name in claim.controls if name not in sides}
    could_tell = len(p_of) * 2.0 / 2 ** differences[0].n < LEVEL  # if every sample agreed
    verdict, kind = _in_words(claim, sides, could_tell)
    if any(one.ranks * one.difference < 0 for one in differences if sides[one.against] != _NONE):
        verdict += " (by ranks; a few samples turn the mean round)"
    number = "; ".join(_number(one, *p_of[id(claim), one.against]) for one in differences)
    title = METRICS[claim.metric].title
    data = f"{data_of(claim)}, {title}"
    return Judged(claim.paper, claim.where, claim.text, data, number, differences[0].n, verdict, kind)


def _in_words(claim: Claim, sides: Mapping[str, str], could_tell: bool) -> tuple[str, Kind]:
    """The verdict from the sides, the paper's comparison being the first."""
    main = sides[claim.against]
    unexplained = [name for name, side in sides.items() if name != claim.against and side != "better"]
    if not could_tell and main == _NONE:
        return "too few samples to tell", Kind.TOO_FEW
    if claim.is_equality:
        if main == "worse":
            return "the opposite: worse", Kind.OPPOSITE
        return f"consistent: {main}", Kind.HOLDS if main == "better" else Kind.NOT_CONTRADICTED
    if main == "worse":
        return "the opposite", Kind.OPPOSITE
    if main == _NONE:
        return f"not reproduced: {_NONE}", Kind.NOT_REPRODUCED
    if not unexplained:
        return "holds", Kind.HOLDS
    others = ", ".join(f"against {name}: {sides[name]}" for name in unexplained)
    return f"holds only against {claim.against}; {others}", Kind.PARTLY


def _side(one: Difference, holm: float) -> str:
    """Better or worse as the test sees it, by ranks."""
    if holm >= LEVEL:
        return _NONE
    return "better" if (one.ranks > 0) == METRICS[one.claim.metric].higher_is_better else "worse"


def data_of(claim: Claim) -> str:
    """The data of a claim, for readers."""
    chosen = ", ".join(str(value) for value in claim.select.values())
    name = claim.experiment.removeprefix("paths-").removeprefix("usu-")
    return f"{name}, {chosen}" if chosen else name


def _number(one: Difference, holm: float, bonferroni: float) -> str:
    spread = f"{one.difference:+.3g} [{one.low:.3g}, {one.high:.3g}]"
    values = f"p {holm:.2g} (Holm), {bonferroni:.2g} (Bonferroni), d {one.cohens_d:.2f}"
    return f"{one.means[0]:.3g} against {one.means[1]:.3g} ({one.against}): {spread}, {values}"
