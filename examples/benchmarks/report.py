"""From rows to the page, the summary and the kept results."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

import examples.benchmarks.lpi.report as lpi
import examples.benchmarks.samp.report as samp
import examples.benchmarks.usu.report as usu
import examples.benchmarks.wg.report as wg
from examples.benchmarks.core.claims import Claim, Fact, Judged, judge
from examples.benchmarks.core.page import page
from examples.benchmarks.core.store import room_for
from examples.benchmarks.core.summary import summary
from examples.benchmarks.core.tables import Table, View, fill
from examples.benchmarks.usu.faithfulness import CAMS

Rows = Mapping[str, pd.DataFrame]

#: Tables that the summary has; the page has all.
_IN_SUMMARY = ("lpi-imagenet20", "lpi-digits", "samp-imagenet20", "samp-digits", "usu-imagenet20-GradCAM")
_IN_SUMMARY += (
    "wg-paths-imagenet20",
    "wg-paths-digits",
    "usu-shapes-RRR-CNN-gradient-7",
    "usu-shapes-RRR-MLP-gradient-7",
)


def views(rows: Rows) -> dict[str, list[View]]:
    """Tables by paper; of the user's own data where there are rows of them."""
    paths, images = _own(rows)
    neighborhoods = {name: neighborhoods_of(rows[name]) for name in paths}
    return {
        "LPI": lpi.views() + lpi.views(neighborhoods),
        "SAMP": samp.views() + samp.views(paths),
        "WG": wg.views() + wg.views(paths),
        "USU": usu.views() + usu.faithfulness_views(dict.fromkeys(images, CAMS)),
    }


def claims(rows: Rows) -> dict[str, list[Claim | Fact]]:
    """Claims by paper, likewise."""
    paths, images = _own(rows)
    neighborhoods = {name: neighborhoods_of(rows[name]) for name in paths}
    return {
        "LPI": lpi.claims() + lpi.claims(neighborhoods),
        "SAMP": samp.claims() + samp.claims(paths),
        "WG": wg.claims() + wg.claims(paths),
        "USU": usu.claims() + usu.faithfulness_claims(images),
    }


def _own(rows: Rows) -> tuple[list[str], list[str]]:
    """Experiments on path methods, and data of experiments on upsamplers, that are not offline ones."""
    prefix = "usu-faithfulness-"
    paths = [name for name in rows if name.startswith("paths-") and name not in lpi.DATA]
    images = [name.removeprefix(prefix) for name in rows if name.startswith(prefix)]
    return paths, [name for name in images if name not in usu.DATA]


def neighborhoods_of(rows: pd.DataFrame) -> tuple[int, int]:
    """The coarse and the fine number of neighbourhoods in the names of LPI's rows."""
    names = rows["method"][rows["method"].str.fullmatch(r"LPI, \d+ n\.")].unique()
    numbers = sorted(int(name.split()[1]) for name in names)
    return (numbers[-2], numbers[-1]) if len(numbers) > 2 else (4, 8)


def verdicts(rows: Rows) -> dict[str, list[Judged]]:
    """Verdicts by paper."""
    return {paper: judge(found, rows) for paper, found in claims(rows).items()}


def filled(rows: Rows) -> dict[str, list[Table]]:
    """Tables by paper, where there are rows."""
    wanted = [(paper, view) for paper, found in views(rows).items() for view in found]
    tables: dict[str, list[Table]] = {}
    for paper, view in tqdm(wanted, desc="tables", unit="table"):
        table = fill(view, rows)
        if table is not None and table.comparisons:
            tables.setdefault(paper, []).append(table)
    return tables


def galleries(rows: Rows) -> dict[str, pd.DataFrame]:
    """Rows with pictures, by title."""
    found: dict[str, pd.DataFrame] = {}
    for name, table in rows.items():
        if "picture" not in table or not table["picture"].notna().any():
            continue
        pictured = table[table["picture"].notna()]
        for column in ("cam", "network"):
            if column in pictured and pictured[column].nunique() > 1:
                found |= {f"{name}, {value}": group for value, group in pictured.groupby(column)}
                break
        else:
            found[name] = pictured
    return found


def write(rows: Rows, about: Mapping[str, Any], page_path: Path | None, summary_path: Path | None) -> list[Path]:
    """Write page and summary, and return where they are."""
    gc.freeze()  # statsmodels collects garbage at every correction, which takes a while with torch in memory
    judged, tables = verdicts(rows), filled(rows)
    written = []
    if page_path is not None:
        _write(page_path, page(judged, tables, galleries(rows), about))
        written.append(page_path)
    if summary_path is not None:
        paths, images = _own(rows)
        own = {name.removeprefix("paths-") for name in (*paths, *images)}
        chosen: Sequence[Table] = [
            one
            for found in tables.values()
            for one in found
            if one.view.key in _IN_SUMMARY or any(name in one.view.key for name in own)
        ]
        _write(summary_path, summary(judged, chosen, about))
        written.append(summary_path)
    return written


def _write(path: Path, text: str) -> None:
    with room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
