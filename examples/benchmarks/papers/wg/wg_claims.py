"""Tables and claims of the Weighted Integrated Gradients paper, of which only the abstract was at hand."""

from __future__ import annotations

from collections.abc import Iterable

from examples.benchmarks.engine.claims import Claim, Fact
from examples.benchmarks.engine.networks import on_all_lite
from examples.benchmarks.engine.tables import View
from examples.benchmarks.papers.wg.wg_methods import EQUAL_COST

_METHODS = (
    "IG (zero)",
    "IG (mean)",
    "EG, 7 baselines",
    f"EG, 7 baselines, {EQUAL_COST} gradients",
    "WG, 7 baselines",
    "WG, 7 baselines, filtered",
    "WG, 7 baselines, by magnitude",
    "EG, authors' baselines",
    f"EG, authors' baselines, {EQUAL_COST} gradients",
    "WG, authors' baselines",
    "WG, authors' baselines, filtered",
    "EG, 7 images",
    f"EG, 7 images, {EQUAL_COST} gradients",
    "WG, 7 images",
    "WG, 7 images, filtered",
)
DATA = (*on_all_lite("paths-imagenet20"), "paths-digits", "paths-mnist20")
_METRICS = ("deletion", "deletion_corners", "insertion", "diff_id", "relative_gap")


def views(data: Iterable[str] = DATA) -> list[View]:
    """WG against EG with the same references."""
    return [
        View(
            f"wg-{experiment}",
            f"WG against EG: {experiment.removeprefix('paths-')}",
            experiment,
            _METRICS,
            "EG, 7 baselines",
            _METHODS,
            note=f"21 gradients each, and EG with {EQUAL_COST}: as much as WG costs with the forwards of its search. "
            "Fitness is a deletion score, to the mean colour of the corners, so that a gain in deletion is partly "
            "in-sample.",
            plotted="deletion",
            curve="deletion",
        )
        for experiment in data
    ]


def claims(data: Iterable[str] = DATA) -> list[Claim | Fact]:
    """More faithful than EG (10 to 35 % in the abstract), and good subsets of the baselines."""
    all_claims: list[Claim | Fact] = []
    for experiment in data:
        for metric, sign in (("deletion", "<"), ("deletion_corners", "<"), ("insertion", ">"), ("diff_id", ">")):
            for references in ("7 baselines", "authors' baselines", "7 images"):
                method, against = f"WG, {references}", f"EG, {references}"
                equal = f"{against}, {EQUAL_COST} gradients"
                text = f"WG {sign} EG, {references}"
                all_claims.append(Claim("WG", "Abstract", text, experiment, metric, method, against, (equal,)))
        ours, filtered, by_magnitude = "WG, 7 baselines", "WG, 7 baselines, filtered", "WG, 7 baselines, by magnitude"
        all_claims += [
            Claim("WG", "(ours)", "the filtered subset < all baselines", experiment, "deletion", filtered, ours),
            Claim("WG", "(ours)", "ranking by sign < by magnitude", experiment, "deletion", ours, by_magnitude),
        ]
    return all_claims
