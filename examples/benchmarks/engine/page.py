"""The page: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from captum_ext.core.text import shown
from examples.benchmarks.engine.claims import LEVEL, Judged, Kind
from examples.benchmarks.engine.forests import forest, svg
from examples.benchmarks.engine.pictures import comparison_figure, curves_figure
from examples.benchmarks.engine.summary import (
    PAPERS,
    VERDICT_HEAD,
    arrow,
    counts,
    environment_lines,
    networks_table,
    number,
    overview,
    verdict_rows,
)
from examples.benchmarks.engine.tables import METRICS, Table, signed_ranks

_SHOWN = 6  # columns of a gallery


def page(
    judged: Mapping[str, Sequence[Judged]],
    tables: Mapping[str, Sequence[Table]],
    galleries: Mapping[str, pd.DataFrame],
    about: Mapping[str, Any],
    introductions: Mapping[str, str],
) -> str:
    """The whole page.

    Args:
        judged: paper -> verdicts.
        tables: paper -> tables.
        galleries: title -> rows with pictures.
        about: see `environment`, with "digest".
        introductions: paper -> text at the beginning of its verdicts.
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, finalize=_shown)
    template = environment.get_template("page.html.j2")
    sections = [
        {
            "name": paper,
            "title": title,
            "introduction": introductions.get(paper, ""),
            "networks": networks_table(judged.get(paper, ())),
            "forest": _forest(paper, judged.get(paper, ())),
            "facts": [one for one in judged.get(paper, ()) if not one.comparisons],
            "claims": [
                {"rows": verdict_rows([one]), "kind": one.kind} for one in judged.get(paper, ()) if one.comparisons
            ],
            "tables": [_table(table, first=place == 0) for place, table in enumerate(tables.get(paper, ()))],
        }
        for paper, title in PAPERS.items()
    ]
    drawn = {title: _gallery(rows) for title, rows in galleries.items()}
    return template.render(
        about=[line.removeprefix("- ") for line in environment_lines(about)],
        sections=sections,
        overview=overview(judged),
        galleries=[{"title": title} for title in drawn],
        gallery_data=htmlsafe_json_dumps(list(drawn.values())),  # also without the "<!--" that hides a script's end
        metrics=list(METRICS.values()),
        tones=_TONES,
        verdict_head=VERDICT_HEAD,
    )


def _shown(value: Any) -> Any:
    """Text as a page can have it: HTML has no control characters, and UTF-8 no bytes that are not UTF-8."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _forest(paper: str, judged: Sequence[Judged]) -> Markup:
    """The forest plot of a paper; its texts are escaped as those of XML."""
    drawn = forest(judged)
    alt = f"Forest plot of the claims of {paper}; the table below it has the same numbers"
    return Markup("" if drawn is None else svg(*drawn, f"{paper}-", alt))


_TONES = {Kind.HOLDS: "holds", Kind.PARTLY: "mixed", Kind.NOT_REPRODUCED: "not", Kind.OPPOSITE: "not"}


def _table(table: Table, first: bool) -> dict[str, Any]:
    rows = []
    for method in table.methods:
        costs = table.costs[method]
        rows.append(
            {
                "method": method,
                "is_control": method == table.view.control,
                "failed": table.failed.get(method),
                "cells": [_cell(table, metric, method) for metric in table.comparisons],
                "costs": [
                    {"value": _sortable(costs[name]), "text": number(costs[name])}
                    for name in ("gradients", "forwards", "seconds")
                ],
            }
        )
    return {
        "key": table.view.key,
        "title": table.view.title,
        "note": table.view.note,
        "is_open": first,
        "heads": [
            {"title": METRICS[metric].title + arrow(metric), "meaning": METRICS[metric].meaning}
            for metric in table.comparisons
        ],
        "rows": rows,
        "counts": f"Control: {table.view.control}. {counts(table)}.",
        "pictures": _pictures(table),
    }


def _cell(table: Table, metric: str, method: str) -> dict[str, Any]:
    comparison = table.comparisons[metric]
    if method not in comparison.table.index:
        hint = "not defined on enough images"
        return {"value": "", "side": "", "hint": hint, "mean": "", "interval": ""}
    row = comparison.table.loc[method]
    side, hint = "", "control"
    if method != comparison.control:
        if row["p_holm"] < LEVEL:
            ranks = signed_ranks(comparison.scores[method] - comparison.scores[comparison.control])
            side = "better" if (ranks > 0) == comparison.higher_is_better else "worse"
        hint = (
            f"difference {row['difference']:+.3g}, better on {row['better_on']:.0f} of {row['n']:.0f}, "
            f"p {row['p']:.2g}, Holm {row['p_holm']:.2g}, Bonferroni {row['p_bonferroni']:.2g}, d {row['cohens_d']:.2f}"
        )
    return {
        "value": _sortable(row["mean"]),
        "side": side,
        "hint": hint,
        "mean": number(row["mean"]),
        "interval": f"[{number(row['ci_low'])}, {number(row['ci_high'])}]",
    }


def _sortable(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _pictures(table: Table) -> list[dict[str, str]]:
    pictures = []
    if table.view.plotted in table.comparisons:
        name = METRICS[table.view.plotted].title
        figure = comparison_figure(name, table.comparisons[table.view.plotted])
        alt = f"{name} of every sample, means with intervals, and paired differences from {table.view.control}"
        pictures.append({"alt": alt, "source": _encoded(figure)})
    if table.curves:
        alt = f"Mean {table.view.curve} curves of {', '.join(table.curves)}"
        pictures.append({"alt": alt, "source": _encoded(curves_figure(table.view.curve, table.curves))})
    return pictures


def _encoded(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def _gallery(rows: pd.DataFrame) -> dict[str, Any]:
    rows = rows[rows["picture"].notna()]
    rows = rows.assign(method=rows["method"].map(shown))
    methods = list(dict.fromkeys(rows["method"]))
    samples = []
    for name, group in rows.groupby("sample"):
        maps = {row["method"]: base64.b64encode(row["picture"]).decode() for _, row in group.iterrows()}
        photograph = base64.b64encode(group["photograph"].iloc[0]).decode()
        samples.append({"name": shown(name), "photograph": photograph, "maps": maps})
    wanted = ("IG (zero)", "IG (blur + zero)", "EG", "LPI, 1 n.", "WG, 7 baselines", "SAMP++", "bilinear", "USU")
    wanted += ("USU, paper", "IWMR, paper", "USU, paper, random scores", "bilinear x score map", "Oracle-IWMR")
    first = [method for method in wanted if method in methods][:_SHOWN]
    return {"methods": methods, "shown": first or methods[:_SHOWN], "samples": samples}
