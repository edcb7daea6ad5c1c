"""One or several runs over the same samples as one table: columns, filters, order, pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.optional import require
from captum_ext.core.text import shown
from captum_ext.dataset.manifest import MANIFEST
from captum_ext.exceptions import ArgumentError, RunFolderError
from captum_ext_integrations.viewer.classes import Classes
from captum_ext_integrations.viewer.comparisons import Comparisons
from captum_ext_integrations.viewer.matching import match
from captum_ext_integrations.viewer.questions import Question
from captum_ext_integrations.viewer.run_rows import RunRows

Numbers = NDArray[np.float64]
Rows = NDArray[np.int64]
_MOST_RUNS = 16
_ORDERS_KEPT = 8
_MOST_NAMED = 5  # runs in a folder that is none
# Numbers of classes: columns that are shown as names, and not sorted as if they were amounts.
OF_CLASSES = ("target", "prediction")


@dataclass(frozen=True)
class Column:
    """A column of the table: its key in links, its name, the run that it is of (None: of all), and a word about it."""

    key: str
    name: str
    run: int | None = None
    about: str = ""


class Collection:
    """Runs over the same samples, or those samples of runs that all of them have.

    Args:
        folders: of the runs.
        classes: names of classes; None: those that a run says itself.

    Attributes:
        runs: their rows.
        labels: names of the runs, which differ.
        index: (n,) the samples that have a row or have failed in a run.
        comparisons: disagreement of each pair of runs, computed in the background.

    Raises:
        ArgumentError: no run, too many, or runs without a sample that all have.
        RunFolderError: a folder that holds no run.
    """

    def __init__(self, folders: Sequence[Path], classes: Classes | None = None) -> None:
        if not 1 <= len(folders) <= _MOST_RUNS:
            raise ArgumentError("runs", f"1 to {_MOST_RUNS} folders of runs", str(len(folders)))
        self.runs = [RunRows(folder) for folder in folders]
        self.labels = _labels(self.runs)
        self._given_classes = classes
        self._lock = threading.Lock()
        self._doubt = match(self.runs, self.labels)
        self.comparisons = Comparisons(self.runs)
        self._join()

    def read_again(self) -> None:
        """Read what the runs have written since."""
        for run in self.runs:
            run.read()
        self._doubt = match(self.runs, self.labels)
        self.comparisons.stop()
        self.comparisons = Comparisons(self.runs)
        self._join()

    def _join(self) -> None:
        with self._lock:
            every = [[*run.index.tolist(), *run.failures] for run in self.runs]
            self.index: Rows = np.unique(np.array([one for run in every for one in run], dtype=np.int64))
            self._rows = [_places(run.index, self.index) for run in self.runs]
            self.classes = self._given_classes or Classes.of_runs([run.manifest for run in self.runs])
            self._orders: dict[Question, Rows] = {}

    @property
    def notices(self) -> list[str]:
        """Sentences about what is not shown, or not known."""
        said = [notice for run in self.runs for notice in run.notices]
        for label, run in zip(self.labels, self.runs, strict=True):
            if not run.is_complete:
                said.append(
                    f"{label} has {run.n_done:,} of {run.n_samples:,} samples: it is still written, or was stopped."
                )
            if run.map_shape is None and len(run.index):
                said.append(f"{label} has no maps.")
        return said + ([self._doubt] if self._doubt else [])

    def columns(self) -> list[Column]:
        """All columns that rows can be sorted by, numbers of single runs after what is of all."""
        found = [Column("index", "number of the sample")]
        if any(run.names is not None for run in self.runs):
            found.append(Column("name", "name"))
        for first, second in self.comparisons.pairs:
            names = f"{self.labels[first]} and {self.labels[second]}"
            about = "1 minus the rank correlation of both maps: 0 alike, 1 nothing in common, 2 opposite"
            found.append(Column(f"disagreement@{first}-{second}", f"disagreement of {names}", None, about))
        for number, run in enumerate(self.runs):
            found += [Column(f"{name}@{number}", shown(name, 60), number) for name in run.columns]
        return found

    def key_of(self, asked: str) -> str | None:
        """The key of a column; a bare name is that of the first run, or of the first pair. None: there is none."""
        keys = [column.key for column in self.columns()]
        return next((key for key in keys if asked in (key, key.partition("@")[0])), None)

    def values(self, key: str) -> Numbers:
        """(n,) the numbers of a column, NaN where there are none.

        Raises:
            KeyError: there is no such column.
        """
        name, _, of = key.partition("@")
        if key == "index":
            return self.index.astype(np.float64)
        if name == "disagreement":
            first, second = (int(one) for one in of.split("-"))
            return self._of_samples(self.comparisons.found(first, second), self._rows[first])
        number = int(of)
        return self._of_samples(self.runs[number].columns[name], self._rows[number])

    def name(self, place: int) -> str | None:
        """The name of a sample as the first run has it that has one."""
        for number, run in enumerate(self.runs):
            row = int(self._rows[number][place])
            if row >= 0 and run.names is not None:
                return str(run.names[row].as_py())
            failed = run.failures.get(int(self.index[place]))
            if failed is not None and failed[0] is not None:
                return str(failed[0])
        return None

    def place(self, index: int) -> int | None:
        """Where a sample is in `index`; None: it is not there."""
        place = int(np.searchsorted(self.index, index))
        return place if place < len(self.index) and int(self.index[place]) == index else None

    def row(self, number: int, place: int) -> int | None:
        """The row of a sample in a run; None: it has none."""
        row = int(self._rows[number][place])
        return row if row >= 0 else None

    def error(self, number: int, place: int) -> str | None:
        """Why a sample has no row in a run; None: nothing is known."""
        failed = self.runs[number].failures.get(int(self.index[place]))
        return None if failed is None else failed[1]

    def map_of(self, number: int, place: int) -> NDArray[Any] | None:
        """The map of a sample in a run; None: there is none.

        Raises:
            RunFolderError: its file is damaged.
        """
        row = self.row(number, place)
        if row is None or self.runs[number].map_shape is None:
            return None
        return self.runs[number].map_of(row)

    def curves_of(self, number: int, place: int) -> dict[str, Numbers]:
        """Points (2, S) of the curves of a sample in a run by metric; none where the run has none.

        Raises:
            RunFolderError: its file is damaged.
        """
        row = self.row(number, place)
        return {} if row is None else self.runs[number].curves_of(row)

    def order(self, question: Question) -> Rows:
        """Places of the samples that are asked for, in their order; those without a number come last."""
        key = self.key_of(question.sort) or "index"
        running = key.startswith("disagreement") and not self.comparisons.is_done
        asked = Question(**{**vars(question), "page": 1, "rows": 1, "sort": key})
        with self._lock:
            kept = self._orders.get(asked)
        if kept is not None and not running:
            return kept
        order = self._ordered(asked)
        with self._lock:
            while len(self._orders) >= _ORDERS_KEPT:
                self._orders.pop(next(iter(self._orders)))
            self._orders[asked] = order
        return order

    def _ordered(self, asked: Question) -> Rows:
        kept = np.ones(len(self.index), dtype=bool)
        for one in self._filters(asked):
            kept &= one
        places = np.flatnonzero(kept)
        if asked.sort == "name":
            names = [self.name(place) or "" for place in places.tolist()]
            order = sorted(range(len(names)), key=names.__getitem__, reverse=asked.descending)
            return places[np.array(order, dtype=np.int64)]
        values = self.values(asked.sort)
        if asked.least is not None:
            places = places[values[places] >= asked.least]
        if asked.most is not None:
            places = places[values[places] <= asked.most]
        chosen = -values[places] if asked.descending else values[places]
        return places[np.argsort(chosen, kind="stable")]  # NaN is behind all numbers, whatever the direction

    def _filters(self, asked: Question) -> Iterator[NDArray[np.bool_]]:
        if asked.name:
            yield self._named(asked.name)
        for name in OF_CLASSES:
            text = getattr(asked, name)
            if text:
                wanted = self.classes.numbers(text)
                keys = [f"{name}@{number}" for number, run in enumerate(self.runs) if name in run.columns]
                yield _any([np.isin(self.values(key), wanted) for key in keys], len(self.index))
        if asked.right:
            truths = [self.right(number) for number in range(len(self.runs))]
            wrong = _any([one == 0 for one in truths], len(self.index))
            yield wrong if asked.right == "wrong" else ~wrong & _any([one == 1 for one in truths], len(self.index))
        if asked.state:
            whole = np.all([rows >= 0 for rows in self._rows], axis=0)
            yield whole if asked.state == "row" else ~whole

    def right(self, number: int) -> Numbers:
        """(n,) 1 where the model predicts the label, 0 where not, NaN where it is not known: no run of labels."""
        run = self.runs[number]
        unknown = np.full(len(self.index), np.nan)
        if run.manifest["configuration"].get("target") != "label" or not {*OF_CLASSES} <= set(run.columns):
            return unknown
        target, predicted = self.values(f"target@{number}"), self.values(f"prediction@{number}")
        return np.where(np.isfinite(target + predicted), target == predicted, np.nan)

    def _named(self, text: str) -> NDArray[np.bool_]:
        compute: Any = require("pyarrow.compute", "view")
        found = np.zeros(len(self.index), dtype=bool)
        for number, run in enumerate(self.runs):
            if run.names is None:
                continue
            has = compute.match_substring(run.names, text, ignore_case=True).to_numpy(zero_copy_only=False)
            rows = self._rows[number]
            found |= np.where(rows >= 0, has[rows], False) if len(has) else False
            failed = [index for index, (name, _) in run.failures.items() if text.casefold() in (name or "").casefold()]
            found |= np.isin(self.index, failed)
        return found

    def _of_samples(self, values: Numbers, rows: Rows) -> Numbers:
        """Numbers of a run's rows as those of all samples."""
        if not len(values):
            return np.full(len(self.index), np.nan)
        return np.where(rows >= 0, values[rows], np.nan)


def _places(index: Rows, samples: Rows) -> Rows:
    """(n,) the row of each sample in a run, -1 where it has none."""
    if not len(index):
        return np.full(len(samples), -1, dtype=np.int64)
    places = np.searchsorted(index, samples).clip(max=len(index) - 1)
    return np.where(index[places] == samples, places, -1)


def _any(masks: list[NDArray[np.bool_]], length: int) -> NDArray[np.bool_]:
    return np.logical_or.reduce(masks) if masks else np.zeros(length, dtype=bool)


def _labels(runs: Sequence[RunRows]) -> list[str]:
    """Names of folders, numbered where several have the same."""
    labels = [run.label for run in runs]
    seen: dict[str, int] = {}
    made = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        made.append(label if labels.count(label) == 1 else f"{label} ({seen[label]})")
    return made


def opened(folders: Sequence[Path], classes: Classes | None = None) -> Collection:
    """The same, after a look at whether the folders hold runs; what is not a folder is said as that.

    Raises:
        RunFolderError: no folder, or one without a run.
    """
    for folder in folders:
        if not folder.is_dir():
            raise RunFolderError(f"{folder} is no folder of a run, as captum-ext run and attribute_dataset write it.")
        if not (folder / MANIFEST).exists():
            inside = sorted(one.parent.name for one in folder.glob(f"*/{MANIFEST}"))[:_MOST_NAMED]
            runs = f" There are runs in it: {shown(', '.join(inside), 200)}." if inside else ""
            raise RunFolderError(f"{folder} holds no run, which has a {MANIFEST}.{runs}")
    return Collection(folders, classes)
