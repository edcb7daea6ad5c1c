"""What the papers claim, and whether the rows of a run bear it out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from captum_ext.metrics import compare
from examples.benchmarks.engine.networks import lite_of
from examples.benchmarks.engine.tables import METRICS, View, scores_by_method, signed_ranks

LEVEL = 0.05
NONE, NOT_RUN = "no difference seen", "not run"
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
    """A paired difference: `method` minus `against`, with its BCa interval, standard deviation and tests."""

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
    spread: float


@dataclass(frozen=True)
class Comparison:
    """What a claim's method has against one other method.

    Attributes:
        against: the other method.
        side: "better", "worse", "no difference seen" or "not run", as the test says after Holm's correction.
        seen: the difference; None where the other method did not run.
        holm: corrected p.
        bonferroni: corrected p.
    """

    against: str
    side: str
    seen: Difference | None = None
    holm: float = 1.0
    bonferroni: float = 1.0


@dataclass(frozen=True)
class Judged:
    """A claim or fact with its verdict.

    Attributes:
        paper: its short name.
        where: in it.
        text: the claim.
        data: where it was tried.
        metric: title of what was compared; nothing for facts.
        number: of a fact, in words; of a claim nothing, since its comparisons have them.
        n: samples.
        verdict: in words.
        kind: what it comes down to.
        comparisons: of a claim, the paper's first.
        base: data of a claim without the network.
        network: one of several on which the claim was tried; nothing where there is one only.
    """

    paper: str
    where: str
    text: str
    data: str
    metric: str
    number: str
    n: int
    verdict: str
    kind: Kind
    comparisons: tuple[Comparison, ...] = ()
    base: str = ""
    network: str = ""


def judge(claims: Sequence[Claim | Fact], rows: Rows) -> list[Judged]:
    """Verdicts of one paper's claims; p is corrected (Holm and Bonferroni) over all comparisons of them together."""
    differences: list[Difference] = []
    for claim in claims:
        if isinstance(claim, Claim):
            found = [_difference(claim, other, rows) for other in (claim.against, *claim.controls)]
            differences += [one for one in found if one is not None]
    values = [one.p for one in differences]
    holm, bonferroni = (multipletests(values, method=name)[1] if values else [] for name in ("holm", "bonferroni"))
    compared: dict[int, dict[str, Comparison]] = {}
    for place, one in enumerate(differences):
        comparison = Comparison(one.against, _side(one, holm[place]), one, holm[place], bonferroni[place])
        compared.setdefault(id(one.claim), {})[one.against] = comparison
    judged = []
    for claim in claims:
        if isinstance(claim, Fact):
            fact = claim.judge(rows)
            if fact is not None:
                judged.append(Judged(claim.paper, claim.where, claim.text, "", "", *fact))
            continue
        of_claim = compared.get(id(claim), {})
        if claim.against in of_claim:
            sides = [of_claim.get(name, Comparison(name, NOT_RUN)) for name in (claim.against, *claim.controls)]
            judged.append(_verdict(claim, sides, len(differences)))
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
        float((ours - theirs).std(ddof=1)),
    )


def _verdict(claim: Claim, comparisons: Sequence[Comparison], n_tests: int) -> Judged:
    seen = [one.seen for one in comparisons if one.seen is not None]
    could_tell = n_tests * 2.0 / 2 ** seen[0].n < LEVEL  # if every sample agreed
    verdict, kind = _in_words(claim, comparisons, could_tell)
    told = [one.seen for one in comparisons if one.seen is not None and one.side != NONE]
    if any(one.ranks * one.difference < 0 for one in told):
        verdict += " (by ranks; a few samples turn the mean round)"
    metric, data = METRICS[claim.metric].title, data_of(claim)
    shared = claim.paper, claim.where, claim.text, data, metric
    base, network = lite_of(claim.experiment)
    return Judged(
        *shared, "", seen[0].n, verdict, kind, tuple(comparisons), data_of(replace(claim, experiment=base)), network
    )


def _in_words(claim: Claim, comparisons: Sequence[Comparison], could_tell: bool) -> tuple[str, Kind]:
    """The verdict from the sides, the paper's comparison being the first."""
    main, unexplained = comparisons[0].side, [one.against for one in comparisons[1:] if one.side != "better"]
    if not could_tell and main == NONE:
        return "too few samples to tell", Kind.TOO_FEW
    if claim.is_equality:
        if main == "worse":
            return "the opposite: worse", Kind.OPPOSITE
        return f"consistent: {main}", Kind.HOLDS if main == "better" else Kind.NOT_CONTRADICTED
    if main == "worse":
        return "the opposite", Kind.OPPOSITE
    if main == NONE:
        return f"not reproduced: {NONE}", Kind.NOT_REPRODUCED
    if not unexplained:
        return "holds", Kind.HOLDS
    return f"holds only against {claim.against}, not against {', '.join(unexplained)}", Kind.PARTLY


def _side(one: Difference, holm: float) -> str:
    """Better or worse as the test sees it, by ranks."""
    if holm >= LEVEL:
        return NONE
    return "better" if (one.ranks > 0) == METRICS[one.claim.metric].higher_is_better else "worse"


def data_of(claim: Claim) -> str:
    """The data of a claim, for readers."""
    chosen = ", ".join(str(value) for value in claim.select.values())
    name = claim.experiment.removeprefix("paths-").removeprefix("usu-")
    return f"{name}, {chosen}" if chosen else name
