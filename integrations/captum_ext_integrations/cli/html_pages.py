"""What a command has found as a page that opens from disk (--html): maps with sliders, tables, and how it was made."""

from __future__ import annotations

import base64
import io
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from captum_ext.core.optional import require
from captum_ext.core.text import shown
from captum_ext.dataset.shards import versions
from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.viewer import answers, html
from captum_ext_integrations.viewer.one_file import alone, jpeg_as_link, map_as_json

_NO_MODEL_HERE = "The model is not in this file: what it scores on the pixels that are kept is not known."


@dataclass(frozen=True)
class Explained:
    """One photograph that was explained.

    Attributes:
        name: of the file.
        photograph: (H, W, 3) in [0, 1], as the model saw it.
        values: the map.
        method: its name.
        model: its name.
        target: what is explained.
        unit: of the map's numbers.
        seed: of random numbers.
        numbers: name -> number, such as score and delta.
        notes: sentences about it.
    """

    name: str
    photograph: Any
    values: Any
    method: str
    model: str
    target: str
    unit: str
    seed: int
    numbers: Mapping[str, float]
    notes: Sequence[str] = ()


def check_page(path: Path | None) -> None:
    """Make the folder of a page, before anything is computed.

    Raises:
        ArgumentError: no name of a page.
    """
    if path is None:
        return
    if path.suffix not in (".html", ".htm") or path.is_dir():
        raise ArgumentError("html", "a file whose name ends in .html", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)


def of_explained(one: Explained) -> bytes:
    """A photograph with its map, sliders, numbers, and how they were made."""
    name = shown(one.name, 200)
    run = {"label": one.method, "rows": 1, "samples": 1, "shape": list(np.shape(one.values))}
    made = {
        "method": one.method,
        "model": one.model,
        "target": one.target,
        "seed": str(one.seed),
        "versions": _versions(),
    }
    about = {
        "runs": [{**run, **{key: shown(text, 300) for key, text in made.items()}}],
        "columns": [{"key": key, "name": key, "run": 0, "about": ""} for key in one.numbers],
        "notices": [shown(note, 400) for note in one.notes],
        "photographs": "below",
        "unit": one.unit,
        "no_curves": _NO_MODEL_HERE,
        "compared": 1,
        "complete": True,
        "single": True,
        **answers.colours(),
    }
    values = {key: answers.number(value) for key, value in one.numbers.items()}
    row = {"index": 0, "name": name, "values": values, "classes": {}, "right": [None], "has": [True], "errors": [None]}
    link = jpeg_as_link(_jpeg(one.photograph))
    data = {"about": about, "rows": [row], "maps": [{0: map_as_json(one.values)}], "photographs": {0: link}, "why": {}}
    table = f'<main id="main" tabindex="-1"><h2>{html.name_html(name)}</h2>{html.numbers(about, row)}</main>'
    return alone(f"{one.method}: {name}", html.header(about) + table + how_made(one.seed), data)


def of_scores(table: Any, picture: bytes, reasons: Sequence[str], seed: int) -> bytes:
    """Scores of methods: the figure, the table with intervals and tests, what does not count, and how it was made."""
    said = "".join(f"<p>{html.name_html(shown(line, 400))}</p>" for line in reasons)
    figure = _figure(picture, "Scores of each image, mean and interval of each method, as in the table")
    about = "ci_low to ci_high: 95 % interval of the mean; difference, better_on and tests: against the first method"
    body = (
        f'<header><h1>Scores of methods</h1></header><main id="main" tabindex="-1">'
        f"{figure}{_table(table, about)}{said}</main>"
    )
    return alone("Scores of methods", body + how_made(seed))


def of_choice(answer: Sequence[str], table: Any, picture: bytes | None, paragraph: str, seed: int) -> bytes:
    """Which method to use: the answer, mean ranks, the table, a paragraph for a paper, and how it was made."""
    said = "".join(f"<p>{html.name_html(shown(line, 1000))}</p>" for line in answer)
    figure = "" if picture is None else _figure(picture, "Mean ranks of the methods, as in the table")
    about = "means of the images that were looked at; those of a method that was dropped are of fewer"
    body = (
        f'<header><h1>Which method to use</h1></header><main id="main" tabindex="-1">{said}{figure}'
        f"{_table(table, about)}<h2>For a paper</h2><p>{html.name_html(shown(paragraph, 6000))}</p></main>"
    )
    return alone("Which method to use", body + how_made(seed))


def _figure(picture: bytes, about: str) -> str:
    link = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    return f'<img class="scores" src="{link}" alt="{html.escaped(about)}">'


def _table(table: Any, about: str) -> str:
    """A table that can be scrolled; of a data frame without its index."""
    head = "".join(f'<th scope="col">{html.escaped(name)}</th>' for name in table.columns)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.name_html(_cell(value))}</td>" for value in row) + "</tr>"
        for row in table.itertuples(index=False)
    )
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Table of scores"><table>'
        f"<caption>{html.escaped(about)}</caption><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def how_made(seed: int) -> str:
    """The command, versions and the seed."""
    command = shown(f"captum-ext {shlex.join(sys.argv[1:])}", 4000)
    return (
        f"<footer><h2>How it was made</h2><pre>{html.escaped(command)}</pre>"
        f"<p>{html.escaped(_versions())}; seed {seed}</p></footer>"
    )


def _versions() -> str:
    return ", ".join(f"{name} {value}" for name, value in versions().items())


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return shown(value, 200)
    return "" if require("pandas", "cli").isna(value) else f"{float(value):.4g}"


def _jpeg(photograph: Any) -> bytes:
    pixels = (np.asarray(photograph) * 255).round().astype(np.uint8)
    file = io.BytesIO()
    require("PIL.Image", "cli").fromarray(pixels).save(file, "JPEG", quality=92)
    return file.getvalue()
