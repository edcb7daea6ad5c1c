"""From rows to the page, the summary and the kept results."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from captum_ext.core.atomic import replaced
from examples.benchmarks.engine.claims import Claim, Fact, Judged, judge
from examples.benchmarks.engine.forests import forest, png
from examples.benchmarks.engine.page import page
from examples.benchmarks.engine.store import room_for
from examples.benchmarks.engine.summary import summary
from examples.benchmarks.engine.tables import Table, View, fill
from examples.benchmarks.papers.lpi import lpi_claims
from examples.benchmarks.papers.samp import samp_claims
from examples.benchmarks.papers.usu import usu_claims
from examples.benchmarks.papers.usu.faithfulness import CAMS
from examples.benchmarks.papers.wg import wg_claims
from examples.benchmarks.questions import evidence_claims

Rows = Mapping[str, pd.DataFrame]

#: Tables that the summary has; the page has all.
_IN_SUMMARY = ("lpi-imagenet20", "lpi-digits", "samp-imagenet20", "samp-digits", "usu-imagenet20-GradCAM")
_IN_SUMMARY += ("evidence-networks", "evidence-fills", "evidence-absent")
_IN_SUMMARY += (
    "wg-paths-imagenet20",
    "wg-paths-digits",
    "usu-shapes-RRR-CNN-gradient-7",
    "usu-shapes-RRR-MLP-gradient-7",
)


def views(rows: Rows) -> dict[str, list[View]]:
    """Tables by paper; of the user's own data where there are rows of them."""
    paths, images = _users_experiments(rows)
    neighborhoods = {name: neighborhoods_of(rows[name]) for name in paths}
    return {
        "LPI": lpi_claims.views() + lpi_claims.views(neighborhoods),
        "SAMP": samp_claims.views() + samp_claims.views(paths),
        "WG": wg_claims.views() + wg_claims.views(paths),
        "USU": usu_claims.views() + usu_claims.faithfulness_views(dict.fromkeys(images, CAMS)),
        "Evidence": evidence_claims.views(),
    }


def claims(rows: Rows) -> dict[str, list[Claim | Fact]]:
    """Claims by paper, likewise."""
    paths, images = _users_experiments(rows)
    neighborhoods = {name: neighborhoods_of(rows[name]) for name in paths}
    return {
        "LPI": lpi_claims.claims() + lpi_claims.claims(neighborhoods),
        "SAMP": samp_claims.claims() + samp_claims.claims(paths),
        "WG": wg_claims.claims() + wg_claims.claims(paths),
        "USU": usu_claims.claims() + usu_claims.faithfulness_claims(images),
        "Evidence": evidence_claims.claims(),
    }


def _users_experiments(rows: Rows) -> tuple[list[str], list[str]]:
    """Experiments on path methods, and data of experiments on upsamplers, that are not offline ones."""
    prefix = "usu-faithfulness-"
    paths = [name for name in rows if name.startswith("paths-") and name not in lpi_claims.DATA]
    images = [name.removeprefix(prefix) for name in rows if name.startswith(prefix)]
    return paths, [name for name in images if name not in usu_claims.DATA]


def neighborhoods_of(rows: pd.DataFrame) -> tuple[int, ...]:
    """The numbers of neighbourhoods beside one in the names of LPI's rows, that with equal densities first."""
    names = rows["method"].astype(str)
    numbers = {int(name.split()[1]) for name in names[names.str.fullmatch(r"LPI, \d+ n\.")]} - {1}
    equal = {int(name.split()[1]) for name in names[names.str.fullmatch(r"LPI, \d+ n\., equal densities")]} - {1}
    return tuple(sorted(numbers, key=lambda n: (n not in equal, n))) or (9,)


def verdicts(rows: Rows) -> dict[str, list[Judged]]:
    """Verdicts by paper."""
    return {paper: judge(paper_claims, rows) for paper, paper_claims in claims(rows).items()}


def introductions_of(judged: Mapping[str, Sequence[Judged]], rows: Rows) -> dict[str, str]:
    """What is said before the verdicts of a section, where there are rows: the answer, then the criteria."""
    answer = evidence_claims.answer(judged.get("Evidence", ()), rows)
    return {"Evidence": f"{answer}\n\n{evidence_claims.CRITERIA}"} if answer else {}


def filled(rows: Rows) -> dict[str, list[Table]]:
    """Tables by paper, where there are rows."""
    wanted = [(paper, view) for paper, paper_views in views(rows).items() for view in paper_views]
    tables: dict[str, list[Table]] = {}
    for paper, view in tqdm(wanted, desc="tables", unit="table"):
        table = fill(view, rows)
        if table is not None and table.comparisons:
            tables.setdefault(paper, []).append(table)
    return tables


def galleries(rows: Rows) -> dict[str, pd.DataFrame]:
    """Rows with pictures, by title."""
    by_title: dict[str, pd.DataFrame] = {}
    for name, table in rows.items():
        if "picture" not in table or not table["picture"].notna().any():
            continue
        pictured = table[table["picture"].notna()]
        for column in ("cam", "network"):
            if column in pictured and pictured[column].nunique() > 1:
                by_title |= {f"{name}, {value}": group for value, group in pictured.groupby(column)}
                break
        else:
            by_title[name] = pictured
    return by_title


def write(rows: Rows, about: Mapping[str, Any], page_path: Path | None, summary_path: Path | None) -> list[Path]:
    """Write page and summary, and return where they are."""
    gc.freeze()  # statsmodels collects garbage at every correction, which takes a while with torch in memory
    judged, tables = verdicts(rows), filled(rows)
    introductions = introductions_of(judged, rows)
    written = []
    if page_path is not None:
        _write(page_path, page(judged, tables, galleries(rows), about, introductions).encode())
        written.append(page_path)
    if summary_path is not None:
        paths, images = _users_experiments(rows)
        users_data = {name.removeprefix("paths-") for name in (*paths, *images)}
        chosen: Sequence[Table] = [
            one
            for paper_tables in tables.values()
            for one in paper_tables
            if one.view.key in _IN_SUMMARY or any(name in one.view.key for name in users_data)
        ]
        pictures = _forests(judged)
        links = {paper: f"images/{_picture_name(paper)}" for paper in pictures}
        _write(summary_path, summary(judged, chosen, about, introductions, links).encode())
        written.append(summary_path)
        for paper, picture in pictures.items():
            written.append(summary_path.parent / links[paper])
            _write(written[-1], picture)
    return written


def _forests(judged: Mapping[str, Sequence[Judged]]) -> dict[str, bytes]:
    """The forest plots by paper, where something was compared."""
    drawn = {paper: forest(found) for paper, found in judged.items()}
    return {paper: png(one[0]) for paper, one in drawn.items() if one is not None}


def _picture_name(paper: str) -> str:
    return f"verdicts_{paper.lower()}.png"


def _write(path: Path, content: bytes) -> None:
    with room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as temporary:
            temporary.write_bytes(content)
