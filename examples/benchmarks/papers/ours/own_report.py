"""Rows of the report as tables, tests and the verdict of the plan."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from captum_ext.metrics import compare
from examples.benchmarks.engine.tables import signed_ranks
from examples.benchmarks.papers.ours.own_summary import GAP, LITE_SUFFIXES, STABILITY

LEVEL = 0.05
#: Criteria in which a method is to be better, and those in which it is not to be worse; True where higher is better.
BETTER: Mapping[str, tuple[str, bool]] = {
    "insertion": ("insertion", True),
    "diff_id": ("DiffID", True),
    "transferred": ("DiffID, transferred", True),
}
NOT_WORSE: Mapping[str, tuple[str, bool]] = {
    "deletion": ("deletion", False),
    "road": ("ROAD", False),
    "pixel_flipping": ("pixel flipping", False),
}
#: Networks as folders of rows name them, in words.
NETWORKS: Mapping[str, str] = {f"lite{n}": f"EfficientNet-Lite{n}" for n in range(3)} | {"layers": "digits"}
#: Whom the method has to beat; the others are shown.
DECIDING = ("IG (blur + zero)", "GradCAM (USU)", "XRAI", "RISE")


@dataclass(frozen=True)
class Tested:
    """A paired difference on one network, positive where the method is better than the rival.

    Attributes:
        network: that was explained.
        rival: its name.
        criterion: column of the rows.
        n: images on which both have a number.
        difference: mean, with `low` and `high` its BCa interval of 95 %.
        ranks: sum of signed ranks, whose sign is that of the test.
        p: of the Wilcoxon signed-rank test, two-sided.
        holm: corrected over all tests of the report.
    """

    network: str
    rival: str
    criterion: str
    n: int
    difference: float
    low: float
    high: float
    ranks: float
    p: float
    holm: float = float("nan")

    @property
    def side(self) -> str:
        """What the test says."""
        if not self.holm < LEVEL:
            return "no difference seen"
        return "better" if self.ranks > 0 else "worse"

    @property
    def holds(self) -> bool:
        """Whether that is what the plan asks for."""
        return self.side == "better" if self.criterion in BETTER else self.side != "worse"


def with_transfer(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the mean of the DiffID that the other networks give, where they have scored."""
    others = [f"diff_id_{one}" for one in LITE_SUFFIXES if f"diff_id_{one}" in rows]
    return rows.assign(transferred=rows[others].mean(axis=1, skipna=False)) if others else rows


def tested_against(rows: Mapping[str, pd.DataFrame], method: str, rivals: Sequence[str]) -> list[Tested]:
    """Every comparison of the method with a rival on every network, corrected (Holm) over all of them."""
    found = [
        _tested(network, with_transfer(table), method, rival, criterion, higher)
        for network, table in rows.items()
        for rival in rivals
        for criterion, (_, higher) in {**BETTER, **NOT_WORSE}.items()
    ]
    tested = [one for one in found if one is not None]
    corrected = multipletests([one.p for one in tested], method="holm")[1] if tested else []
    return [Tested(**{**vars(one), "holm": float(p)}) for one, p in zip(tested, corrected, strict=True)]


def _tested(network: str, rows: pd.DataFrame, method: str, rival: str, criterion: str, higher: bool) -> Tested | None:
    if criterion not in rows:
        return None
    wide = rows.pivot(index="sample", columns="method", values=criterion)
    if not {method, rival} <= set(wide.columns):
        return None
    differences = (wide[method] - wide[rival]).dropna().to_numpy() * (1 if higher else -1)
    if len(differences) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # differences that do not vary have no interval
        table = compare({"difference": differences, "none": np.zeros_like(differences)}, control="none").table
    of = table.loc["difference"]
    numbers = (float(of[column]) for column in ("mean", "ci_low", "ci_high"))
    return Tested(network, rival, criterion, len(differences), *numbers, signed_ranks(differences), float(of["p"]))


@dataclass(frozen=True)
class Condition:
    """One of the plan's conditions, and what was found."""

    text: str
    found: str
    holds: bool


def conditions(rows: Mapping[str, pd.DataFrame], method: str, tested: Sequence[Tested]) -> list[Condition]:
    """What the plan asks for, but cost, which is measured beside it."""
    mine = pd.concat([table[table["method"] == method].assign(network=name) for name, table in rows.items()])
    above = mine[~mine["gap"].le(GAP)]
    gaps = f"largest {mine['gap'].max():.3g}; above on {len(above)} of {len(mine)}" + (
        f" ({', '.join(above['network'].unique())})" if len(above) else ""
    )
    stable = mine.groupby("network")["stability"].mean().min()
    layouts = mine.groupby("network")["layouts"].mean().min()
    deciding = [one for one in tested if one.rival in DECIDING]
    return [
        Condition(f"gap at most {GAP} on every image", gaps, bool(mine["gap"].le(GAP).all())),
        Condition(
            f"stability at least {STABILITY} under other last digits, mean on each network",
            f"least {stable:.3f}",
            bool(stable >= STABILITY),
        ),
        Condition(
            f"at least {STABILITY} between two layouts in float32, mean on each network",
            f"least {layouts:.3f}",
            bool(layouts >= STABILITY),
        ),
        *(_counted(deciding, criterion, title, "better") for criterion, (title, _) in BETTER.items()),
        *(_counted(deciding, criterion, title, "not worse") for criterion, (title, _) in NOT_WORSE.items()),
    ]


def _counted(tested: Sequence[Tested], criterion: str, title: str, wanted: str) -> Condition:
    mine = [one for one in tested if one.criterion == criterion]
    failed = [f"{one.rival} on {one.network} ({one.side})" for one in mine if not one.holds]
    found = f"{len(mine) - len(failed)} of {len(mine)}" + (f"; not {', '.join(failed)}" if failed else "")
    return Condition(f"{wanted} in {title} than every rival on every network", found, bool(mine) and not failed)


def report(rows: Mapping[str, pd.DataFrame], method: str) -> str:
    """The report as Markdown: conditions, means, and every test."""
    rows = {NETWORKS.get(network, network): table for network, table in rows.items()}
    names = list(dict.fromkeys(name for table in rows.values() for name in table["method"]))
    rivals = [name for name in names if name != method]
    tested = tested_against(rows, method, rivals)
    lines = ["| the plan asks for | found | holds |", "| --- | --- | --- |"]
    lines += [
        f"| {one.text} | {one.found} | {'yes' if one.holds else '**no**'} |" for one in conditions(rows, method, tested)
    ]
    for network, table in rows.items():
        lines += ["", f"{network}, means over the images on which a number is defined:", "", *_means(table)]
    lines += ["", f"{method} against each, positive is better; p after Holm over {len(tested)} tests:", ""]
    lines += [
        "| network | against | criterion | n | difference | 95 % interval | p | seen |",
        f"| {'--- | ' * 8}".strip(),
    ]
    titles = {**BETTER, **NOT_WORSE}
    lines += [
        f"| {one.network} | {one.rival} | {titles[one.criterion][0]} | {one.n} | {one.difference:.3f} |"
        f" {one.low:.3f} to {one.high:.3f} | {one.holm:.2g} | {one.side} |"
        for one in tested
    ]
    return "\n".join(lines)


def _means(rows: pd.DataFrame) -> list[str]:
    columns = {name: title for name, (title, _) in {**BETTER, **NOT_WORSE}.items()}
    columns |= {
        "gap": "largest gap",
        "stability": "stability",
        "layouts": "layouts",
        "float64": "float64",
        "cost": "cost",
    }
    table = with_transfer(rows)
    present = {name: title for name, title in columns.items() if name in table}
    groups = table.groupby("method", sort=False)
    means = groups[list(present)].mean()
    means["gap"] = groups["gap"].max()
    lines = [f"| method | {' | '.join(present.values())} |", f"| {'--- | ' * (len(present) + 1)}".strip()]
    for name, row in means.iterrows():
        cells = [_cell(column, float(row[column])) for column in present]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _cell(column: str, value: float) -> str:
    if np.isnan(value):
        return "not asked"
    return f"{value:.3g}" if column == "gap" else f"{value:.1f}" if column == "cost" else f"{value:.2f}"
