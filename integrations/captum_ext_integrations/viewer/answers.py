"""What the page is told, as JSON: every text is harmless on a line, every number is one or a word that says why not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from captum_ext.core.text import shown
from captum_ext.visualize.palettes import PALETTES
from captum_ext_integrations.viewer.collection import OF_CLASSES, Collection
from captum_ext_integrations.viewer.questions import RIGHTS, STATES, Question

_TEXTS = ("name", *OF_CLASSES)
_POINTS = ("shares", "scores")
_LONGEST_NAME, _LONGEST_ERROR = 200, 400
NO_CURVES = (
    "These runs keep the areas of curves, not the curves (captum-ext run --curves does): what the model scores on the "
    "pixels that are kept is not known."
)
SOME_CURVES = "What the model scores on them is at the curves on the page of a sample."


def about(collection: Collection, photographs: str | None) -> dict[str, Any]:
    """What there is: runs, columns, notices, colours; `photographs` says where they belong, see `Fit`."""
    return {
        "runs": [
            {
                "label": label,
                "rows": len(run.index),
                "samples": run.n_samples,
                "shape": run.map_shape,
                **_made(run.manifest),
            }
            for label, run in zip(collection.labels, collection.runs, strict=True)
        ],
        "columns": [
            {"key": one.key, "name": one.name, "run": one.run, "about": one.about} for one in collection.columns()
        ],
        "notices": collection.notices,
        "photographs": photographs,
        **colours(),
        "curves": any(run.has_curves for run in collection.runs),
        "no_curves": SOME_CURVES if any(run.has_curves for run in collection.runs) else NO_CURVES,
        "compared": collection.comparisons.share,
        "complete": all(run.is_complete for run in collection.runs),
    }


def colours() -> dict[str, Any]:
    """The palettes, and what they mean."""
    names = ("signed", "magnitude")
    return {
        "palettes": {name: (PALETTES[name].table * 255).round().astype(int).ravel().tolist() for name in names},
        "meanings": {name: PALETTES[name].meaning for name in names},
    }


def _made(manifest: dict[str, Any]) -> dict[str, str]:
    """With what a run was made, as far as it says it."""
    configuration = manifest["configuration"]
    given = configuration.get("given")
    given = given if isinstance(given, dict) else {}
    method = configuration.get("method")
    method = method.get("class", "") if isinstance(method, dict) else str(method)
    return {
        "method": shown(given.get("method") or str(method).rpartition(".")[2], 80),
        "model": shown(given.get("model") or str(configuration.get("model", "")).partition(" ")[0], 120),
        "target": shown(configuration.get("target"), 120),
        "seed": shown(configuration.get("seed"), 30),
        "versions": shown(", ".join(f"{name} {value}" for name, value in manifest["versions"].items()), 300),
    }


def rows(collection: Collection, question: Question, said: list[str]) -> dict[str, Any]:
    """A page of rows. `said` is about the question; what else is to be said is added."""
    said = list(said)
    if collection.key_of(question.sort) is None:
        said.append(f"There is no column “{shown(question.sort, 60)}”: sorted by the number of the sample.")
    if question.sort.startswith("disagreement") and not collection.comparisons.is_done:
        said.append(f"Maps are still compared: {100 * collection.comparisons.share:.0f} % are done.")
    if question.right and not any(np.isfinite(collection.right(run)).any() for run in range(len(collection.runs))):
        said.append("No run knows which predictions are right: those with --target label do.")
    order = collection.order(question)
    n_pages = max(1, -(-len(order) // question.rows))
    page = min(question.page, n_pages)
    chosen = order[(page - 1) * question.rows : page * question.rows].tolist()
    return {
        "sort": collection.key_of(question.sort) or "index",
        "total": len(order),
        "page": page,
        "pages": n_pages,
        "said": said,
        "asked": asked(collection, question),
        "rows": _rows(collection, chosen),
    }


def asked(collection: Collection, question: Question) -> str:
    """The order and the filters of a question in words; nothing where all samples are in the order of their numbers."""
    key = collection.key_of(question.sort) or "index"
    column = next(one for one in collection.columns() if one.key == key)
    of_run = "" if column.run is None or len(collection.runs) < 2 else f" of {collection.labels[column.run]}"
    said = []
    if key != "index" or question.descending:
        said.append(f"by {column.name}{of_run}, {'largest' if question.descending else 'smallest'} first")
    said += [f"{name} has “{shown(text, 60)}”" for name in _TEXTS if (text := getattr(question, name))]
    said += [text for text in (RIGHTS.get(question.right), STATES.get(question.state)) if text]
    said += [
        f"{words} {number:g}"
        for words, number in (("from", question.least), ("to", question.most))
        if number is not None
    ]
    return ", ".join(said)


def row(collection: Collection, place: int) -> dict[str, Any]:
    """One sample, as in a page of rows."""
    return _rows(collection, [place])[0]


def _rows(collection: Collection, places: list[int]) -> list[dict[str, Any]]:
    """Samples: number, name, numbers by column, and what is wrong with each in each run."""
    keys = [one.key for one in collection.columns() if one.key not in ("index", "name")]
    columns = {key: collection.values(key)[places] for key in keys}
    truths = [collection.right(run)[places] for run in range(len(collection.runs))]
    return [
        {
            "index": int(collection.index[place]),
            "name": _shown_name(collection.name(place)),
            "values": {key: number(column[k]) for key, column in columns.items()},
            "classes": {
                key: collection.classes.name(column[k])
                for key, column in columns.items()
                if key.partition("@")[0] in OF_CLASSES and math.isfinite(column[k])
            },
            "right": [None if math.isnan(one[k]) else bool(one[k]) for one in truths],
            "has": [collection.row(run, place) is not None for run in range(len(collection.runs))],
            "errors": [_shown_error(collection.error(run, place)) for run in range(len(collection.runs))],
        }
        for k, place in enumerate(places)
    ]


def curves(collection: Collection, place: int) -> list[dict[str, Any]]:
    """The curves of one sample in each run: metric -> shares of the pixels, and the scores there.

    Raises:
        RunFolderError: a file is damaged.
    """
    return [
        {
            shown(metric, 60): {
                name: [_finite(one) for one in line] for name, line in zip(_POINTS, points, strict=True)
            }
            for metric, points in collection.curves_of(run, place).items()
        }
        for run in range(len(collection.runs))
    ]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _shown_name(name: str | None) -> str | None:
    return None if name is None else shown(name, _LONGEST_NAME)


def _shown_error(error: str | None) -> str | None:
    return None if error is None else shown(error, _LONGEST_ERROR)


def neighbours(collection: Collection, question: Question, index: int) -> dict[str, Any]:
    """The samples before and after one in an order, its place from 1 and how many there are; None where it is not."""
    order = collection.order(question)
    place = collection.place(index)
    at = np.flatnonzero(order == (-1 if place is None else place))
    if not len(at):
        return {"before": None, "after": None, "at": None, "total": len(order)}
    here = int(at[0])
    before = int(collection.index[order[here - 1]]) if here else None
    after = int(collection.index[order[here + 1]]) if here + 1 < len(order) else None
    return {"before": before, "after": after, "at": here + 1, "total": len(order)}


def number(value: float) -> float | str | None:
    """A number as JSON has it: None where there is none, a word for infinity."""
    value = float(value)
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else ("∞" if value > 0 else "-∞")


def in_words(value: float | str | None) -> str:
    """A number with four digits, as the table shows it."""
    return "" if value is None else value if isinstance(value, str) else f"{value:.4g}"
