"""The summary in markdown: verdicts and tables, every number from the rows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from captum_ext.core.text import in_markdown
from examples.benchmarks.engine.claims import LEVEL, Comparison, Judged, Kind
from examples.benchmarks.engine.tables import METRICS, Table

PAPERS = {
    "LPI": "Local Path Integration (Yang et al., AAAI 2023)",
    "SAMP": "Salient Manipulation Path (Zhang et al., ICLR 2024)",
    "WG": "Weighted Integrated Gradients (Tuan et al., 2025)",
    "USU": "Attribution Upsampling should Redistribute, Not Interpolate (Buono et al.)",
    "Evidence": "An open question: is SAMP's order evidence, or an adversarial sub-image?",
}


def summary(
    judged: Mapping[str, Sequence[Judged]],
    tables: Sequence[Table],
    about: Mapping[str, Any],
    introductions: Mapping[str, str],
    forests: Mapping[str, str],
) -> str:
    """The whole text; `introductions` begin the section of a paper, then come links to pictures, `forests`."""
    lines = [
        "# What holds of the papers, on this machine and these data",
        "",
        "Written by `python -m examples.benchmarks` from the rows of a run; no number was typed by hand. What was run, "
        "and where, stands [at the end](#what-was-run).",
        "",
        "A claim **holds** only if the paired Wilcoxon test says so after Holm's correction over all comparisons "
        "of its paper (p < 0.05), against the paper's comparison and against our controls, which stand below it. "
        "Numbers are means, and the mean paired difference with its 95 % BCa interval (10,000 resamples), corrected p "
        "and Cohen's d.",
        "",
    ]
    header, *rows = overview(judged)
    linked = [[f"[{paper}](#{_anchor(PAPERS[paper])})" if judged[paper] else paper, *cells] for paper, *cells in rows]
    lines += [_line(header), "|" + " --- |" * len(header), *map(_line, linked), ""]
    for paper, verdicts in judged.items():
        if verdicts:
            lines += [
                f"## {PAPERS[paper]}",
                "",
                introductions.get(paper, ""),
                "",
                *([f"![Forest plot of the claims of {paper}]({forests[paper]})", ""] if paper in forests else []),
                *_of_networks(verdicts),
                *fact_lines(verdicts),
                "",
            ]
            lines += [*verdict_lines(verdicts), ""]
    for table in tables:
        lines += [f"### {in_markdown(table.view.title)}", "", *([table.view.note, ""] if table.view.note else [])]
        lines += [*table_lines(table), ""]
    lines += ["## What was run", "", *(f"- {in_markdown(line[2:])}" for line in environment_lines(about))]
    return "\n".join(lines).rstrip() + "\n"


def _of_networks(judged: Sequence[Judged]) -> list[str]:
    table = networks_table(judged)
    if not table:
        return []
    head, *rows = ([in_markdown(cell) for cell in row] for row in table)
    return [
        "On how many networks with ImageNet weights:",
        "",
        _line(head),
        "|" + " --- |" * len(head),
        *map(_line, rows),
        "",
    ]


def overview(judged: Mapping[str, Sequence[Judged]]) -> list[list[str]]:
    """How many claims of each paper have each kind of verdict, with a header; those that are ours are left out."""
    kinds = [kind for kind in Kind if kind is not Kind.COMPARISON]
    table = [["paper", "claims x data", *(kind.value for kind in kinds)]]
    for paper, verdicts in judged.items():
        paper_kinds = [one.kind for one in verdicts if not one.where.startswith("(") and one.kind in kinds]
        table.append([paper, str(len(paper_kinds)), *(str(paper_kinds.count(kind)) for kind in kinds)])
    return table


def _anchor(heading: str) -> str:
    """Where a link within the page leads to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _line(cells: Sequence[str]) -> str:
    """A row of cells that are Markdown already."""
    return f"| {' | '.join(cells)} |"


def environment_lines(about: Mapping[str, Any]) -> list[str]:
    """Versions, commit, seed, machine."""
    versions = ", ".join(f"{name} {value}" for name, value in about["versions"].items())
    machine = about["machine"]
    return [
        f"- {versions}",
        f"- commit {about['commit']}, seed {about['seed']}, size: {about['size']}, data: {about['data']}, "
        f"digest of all numbers but seconds: {about['digest']}",
        f"- {machine['processor']}, {machine['cores']} cores, {machine['memory']}; workers: {about['workers']}; "
        f"seconds are wall-clock with all workers busy, comparable within a table only",
        f"- {about['cost']}",
        *(f"- {line}" for line in about.get("experiments", [])),
        *(f"- did not run: {name} on {where}: {reason}" for where, name, reason in about.get("not_run", [])),
        *(f"- failed: {failure}" for failure in about.get("failures", [])),
    ]


def verdict_lines(judged: Sequence[Judged]) -> list[str]:
    """A markdown table of claims, a row for each comparison: the paper's with the verdict, then the controls.

    The verdict stands before the numbers: the table is wider than a page, and what is seen first is its left.
    """
    lines = [_line(_verdict_first(VERDICT_HEAD)), "|" + " --- |" * len(VERDICT_HEAD)]
    for cells in verdict_rows(judged):
        *words, verdict = map(in_markdown, cells)
        lines.append(_line(_verdict_first([*words, f"**{verdict}**" if cells[0] else verdict])))
    return lines


def _verdict_first(cells: Sequence[str]) -> list[str]:
    """The last cell behind those that say what is compared."""
    return [*cells[:4], cells[-1], *cells[4:-1]]


VERDICT_HEAD = ("where", "claim", "data", "metric", "against", "ours", "theirs", "difference", "95 %")
VERDICT_HEAD += ("p, Holm", "p, Bonferroni", "d", "n", "verdict")


def verdict_rows(judged: Sequence[Judged]) -> list[list[str]]:
    """Cells of every comparison of claims; a control has nothing in the first two, and its side as verdict."""
    rows = []
    for one in judged:
        for place, comparison in enumerate(one.comparisons):
            first = [one.where, one.text] if place == 0 else ["", ""]
            verdict = one.verdict if place == 0 else comparison.side
            numbers = _numbers(comparison)
            rows.append([*first, one.data, one.metric, comparison.against, *numbers, verdict])
    return rows


def _numbers(comparison: Comparison) -> list[str]:
    seen = comparison.seen
    if seen is None:
        return [""] * 8
    means, interval = [f"{mean:.3g}" for mean in seen.means], f"{seen.low:.3g} to {seen.high:.3g}"
    tests = [f"{comparison.holm:.2g}", f"{comparison.bonferroni:.2g}", f"{seen.cohens_d:.2f}"]
    return [*means, f"{seen.difference:+.3g}", interval, *tests, str(seen.n)]


def fact_lines(judged: Sequence[Judged]) -> list[str]:
    """A markdown table of facts; nothing without them."""
    facts = [one for one in judged if not one.comparisons]
    if not facts:
        return []
    rows = [
        [*map(in_markdown, (one.where, one.text, one.number)), str(one.n), f"**{in_markdown(one.verdict)}**"]
        for one in facts
    ]
    return [_line(["where", "claim", "the rows say", "n", "verdict"]), "|" + " --- |" * 5, *map(_line, rows)]


def networks_table(judged: Sequence[Judged]) -> list[list[str]]:
    """Verdicts of claims that were tried on several networks, with a header: one column a network, and a count."""
    networks = list(dict.fromkeys(one.network for one in judged if one.network))
    if len(networks) < 2:
        return []
    claims: dict[tuple[str, str, str, str], dict[str, Kind]] = {}
    for one in judged:
        if one.network:
            claims.setdefault((one.where, one.text, one.base, one.metric), {})[one.network] = one.kind
    table = [["where", "claim", "data", "metric", *networks, "holds on"]]
    for key, kinds in claims.items():
        cells = [kinds[name].value if name in kinds else "" for name in networks]
        if len(kinds) > 1:
            table.append([*key, *cells, _holds_on(list(kinds.values()))])
    return table


def _holds_on(kinds: list[Kind]) -> str:
    """On how many of the networks; that nothing contradicts an equality does not show it."""
    consistent = kinds.count(Kind.NOT_CONTRADICTED)
    if consistent:
        return f"consistent on {consistent} of {len(kinds)}"
    return f"{kinds.count(Kind.HOLDS)} of {len(kinds)}"


def table_lines(table: Table) -> list[str]:
    """A markdown table: means with intervals, a star where Holm's p is below 0.05, passes and seconds."""
    metrics = list(table.comparisons)
    head = [f"{METRICS[metric].title}{arrow(metric)}" for metric in metrics]
    costs = {method: [passes(table, method), seconds(table, method)] for method in table.methods}
    counted = any(any(cells) for cells in costs.values())  # not of an experiment about other things
    head = ["method", *head, *(["gradients + forwards", "seconds"] if counted else [])]
    lines = [_line(head), "|" + " --- |" * len(head)]
    for method in table.methods:
        cells = [cell(table, metric, method) for metric in metrics]
        lines.append(_line([in_markdown(method), *cells, *(costs[method] if counted else [])]))
    failed = "".join(f" {in_markdown(method)} failed on {count} images." for method, count in table.failed.items())
    return [*lines, "", f"{counts(table)}. A star: p < 0.05 (Holm) against {in_markdown(table.view.control)}.{failed}"]


def arrow(metric: str) -> str:
    """Direction of a metric."""
    return " ↑" if METRICS[metric].higher_is_better else " ↓"


def cell(table: Table, metric: str, method: str) -> str:
    """Mean and interval; a star where it differs from the control."""
    statistics = table.comparisons[metric].table
    if method not in statistics.index:
        return "failed" if method in table.failed else "undefined"
    row = statistics.loc[method]
    star = "*" if row["p_holm"] < LEVEL else ""
    return f"{number(row['mean'])}{star} [{number(row['ci_low'])}, {number(row['ci_high'])}]"


def number(value: float) -> str:
    """Three digits."""
    return "" if math.isnan(value) else f"{value:.3g}"


def passes(table: Table, method: str) -> str:
    """Mean passes of an image."""
    cost = table.costs[method]
    if math.isnan(cost["gradients"]):
        return ""
    return f"{cost['gradients']:.3g} + {cost['forwards']:.3g}"


def seconds(table: Table, method: str) -> str:
    """Mean seconds of an image."""
    return number(table.costs[method]["seconds"])


def counts(table: Table) -> str:
    """How many samples count, and how many do not since a method has no number there."""
    counted = {
        METRICS[metric].title: (int(one.table["n"].iloc[0]), int(one.table["excluded"].iloc[0]))
        for metric, one in table.comparisons.items()
    }
    if len(set(counted.values())) == 1:
        n, left_out = next(iter(counted.values()))
        return f"n = {n}, left out {left_out}"
    return "; ".join(f"{title}: n = {n}, left out {left_out}" for title, (n, left_out) in counted.items())
