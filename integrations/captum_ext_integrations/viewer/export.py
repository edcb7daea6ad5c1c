"""The page as one file that opens from disk: chosen samples with their maps and photographs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from captum_ext.core.atomic import replaced
from captum_ext.core.text import in_csv
from captum_ext.exceptions import ArgumentError, RunFolderError
from captum_ext_integrations.viewer import answers, html
from captum_ext_integrations.viewer.collection import OF_CLASSES
from captum_ext_integrations.viewer.one_file import alone, jpeg_as_link, map_as_json
from captum_ext_integrations.viewer.photographs import NoPhotographError
from captum_ext_integrations.viewer.questions import Question
from captum_ext_integrations.viewer.server import Page

MOST_SAMPLES = 500
INDEX, TABLE = "index.html", "samples.csv"


def export(
    page: Page,
    folder: Path,
    question: Question,
    n_samples: int,
    samples: Sequence[int] = (),
    say: Callable[[str], None] | None = None,
) -> list[int]:
    """Write the first samples of an order to `index.html`, with their numbers in `samples.csv`.

    Both are written whole or not at all. Maps that are sorted by disagreement are compared before.

    Args:
        page: the runs and their photographs.
        folder: made where it is missing; other files in it are left alone.
        question: which samples, in which order.
        n_samples: how many, at most 500.
        samples: their numbers, in this order, instead of `question` and `n_samples`.
        say: is called with each sentence of the page about what is not shown.

    Returns:
        The numbers of the samples.

    Raises:
        ArgumentError: too many samples, none that is asked for, or one that the runs do not have.
        OSError: nothing can be written.
    """
    if not 1 <= max(n_samples, len(samples)) <= MOST_SAMPLES:
        received = str(max(n_samples, len(samples)))
        raise ArgumentError("limit", f"1 to {MOST_SAMPLES} samples in a page", received)
    page.collection.comparisons.compute()
    answer = _given(page, samples) if samples else _asked(page, question, n_samples)
    data = _data(page, answer["rows"]) | {"sort": answer["sort"], "asked": answer["asked"]}
    about = data["about"]
    body = html.header(about) + html.table(about, answer, question, "")
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / INDEX, alone("Attributions", body, data))
    write(folder / TABLE, _csv(about, answer["rows"]))
    if say is not None:
        for notice in about["notices"]:
            say(notice)
    return [row["index"] for row in answer["rows"]]


def _asked(page: Page, question: Question, n_samples: int) -> dict[str, Any]:
    """The first samples of an order."""
    if page.collection.key_of(question.sort) is None:
        known = ", ".join(one.key for one in page.collection.columns())
        raise ArgumentError("sort", f"one of {known}", repr(question.sort))
    answer = answers.rows(page.collection, replace(question, page=1, rows=n_samples), [])
    if not answer["rows"]:
        asked = answer["asked"] or "runs without any"
        received = " ".join([f"{asked}: none does.", *answer["said"]]).removesuffix(".")
        raise ArgumentError("where", "filters that a sample passes", received)
    first = f"the first of {answer['total']:,}" if len(answer["rows"]) < answer["total"] else ""
    words = ", ".join(text for text in (first, answer["asked"]) if text)
    return {**answer, "total": len(answer["rows"]), "pages": 1, "asked": words}


def _given(page: Page, samples: Sequence[int]) -> dict[str, Any]:
    """Samples by their numbers."""
    places = [page.collection.place(index) for index in samples]
    unknown = [index for index, place in zip(samples, places, strict=True) if place is None]
    if unknown:
        raise ArgumentError("sample", "numbers of samples that are in the runs", str(unknown[0]))
    found = [answers.row(page.collection, place) for place in places if place is not None]
    return {
        "rows": found,
        "said": [],
        "total": len(found),
        "page": 1,
        "pages": 1,
        "sort": "index",
        "asked": "chosen by number",
    }


def write(path: Path, content: bytes) -> None:
    """A file, whole or not at all."""
    with replaced(path) as temporary:
        temporary.write_bytes(content)


def _data(page: Page, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the server would answer about these rows."""
    maps: list[dict[int, Any]] = [{} for _ in page.collection.runs]
    photographs: dict[int, str] = {}
    curves: dict[int, Any] = {}
    why: dict[int, str] = {}
    for row in rows:
        index = int(row["index"])
        place = page.collection.place(index)
        if place is None:
            continue
        for number, held in enumerate(maps):
            try:
                found = page.collection.map_of(number, place)
            except RunFolderError:  # the page says that there is none
                found = None
            if found is not None:
                held[index] = map_as_json(found)
        try:
            curves[index] = answers.curves(page.collection, place)
        except RunFolderError:
            curves[index] = []
        if page.photographs is not None:
            try:
                photographs[index] = jpeg_as_link(page.photographs.jpeg(index, page.collection.name(place)))
            except NoPhotographError as error:
                why[index] = str(error)
    inside: dict[str, Any] = {"maps": maps, "curves": curves, "photographs": photographs, "why": why}
    about = page.about()
    if why:
        reason = next(iter(why.values()))
        about["notices"].append(f"{len(why)} of {len(rows)} samples have no photograph here. {reason}")
    return {"about": about, "rows": list(rows), **inside}


def _csv(about: dict[str, Any], rows: Sequence[dict[str, Any]]) -> bytes:
    """The numbers as a table; its texts are no formulas of a spreadsheet, its numbers stay numbers."""
    file = io.StringIO()
    columns = [one for one in about["columns"] if one["key"] not in ("index", "name")]
    writer = csv.writer(file, lineterminator="\n")
    labels = [run["label"] for run in about["runs"]]
    heads = [one["name"] if one["run"] is None else f"{one['name']} of {labels[one['run']]}" for one in columns]
    writer.writerow([in_csv(one) for one in ("sample", "name", *heads)])
    for row in rows:
        cells = [_cell(row["values"][one["key"]], one["key"]) for one in columns]
        writer.writerow([row["index"], in_csv(row["name"] or ""), *cells])
    return file.getvalue().encode()


def _cell(value: float | str | None, key: str) -> float | str:
    """A number of a row as a table has it; classes are whole."""
    if value is None or isinstance(value, str):
        return in_csv(value or "")
    return int(value) if key.partition("@")[0] in OF_CLASSES else value
