"""A method in a comparison: its run over the images, and the scores in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from captum_ext.dataset import DatasetAttributions, MapFormat, RunOptions, attribute_dataset
from captum_ext.selection.budgets import Budget
from captum_ext.selection.candidates import Candidate
from captum_ext.selection.criteria import CRITERIA, column_of, deciding_scores
from captum_ext.selection.measured import Measured
from captum_ext.selection.options import ChooseOptions
from captum_ext.selection.signed_ranks import Numbers
from captum_ext.selection.subjects import Subjects

_MAP_SIDE = 56  # of images that are larger


class Entrant:
    """A method or a control with its budget, and a run in a folder that grows with each look.

    Args:
        name: of the method.
        candidate: how it is made.
        budget: what it gets.
        folder: of its run.
        subjects: the images.
        options: of the comparison.
    """

    def __init__(
        self,
        name: str,
        candidate: Candidate,
        budget: Budget,
        folder: Path,
        subjects: Subjects,
        options: ChooseOptions,
    ) -> None:
        self.name, self.candidate, self.budget, self.folder = name, candidate, budget, folder
        self._subjects, self._options = subjects, options
        setting = replace(subjects.setting, gradients=budget.gradients)
        self._measured = Measured(candidate.build(setting), setting.forward_func, budget.options)
        self._table: Any = None

    @property
    def mutates(self) -> bool:
        """Whether the method has changed the images that it was given."""
        return self._measured.mutates

    @property
    def n_checked(self) -> int:
        """Images on which it is looked at more closely."""
        return min(self._options.n_checked, len(self._subjects.setting.others))

    def run(self, n_images: int) -> None:
        """Explain and score the first images that have no row yet."""
        options, side = self._options, min(self._subjects.first.shape[2:])
        size = options.map_size or (_MAP_SIDE if side > _MAP_SIDE else None)
        metrics = {name: CRITERIA[name].with_masks(options.masks) for name in options.criteria}
        own = {column_of(name): metric for name, metric in metrics.items()}
        run = attribute_dataset(
            self._measured,
            self._subjects.dataset,
            self.folder,
            target=self._subjects.target,
            fields=("score", "map"),
            metrics={**own, **self._measured.costs()},
            map_format=MapFormat(None if size is None else (size, size)),
            run=RunOptions(
                batch_size=options.group_size,
                seed=options.seed,
                limit=n_images,
                configuration={"method": self.name, "budget": {"options": self.budget.options}},
                show_progress=False,
            ),
        )
        columns = [*own, *self._measured.costs()]
        self._table = _rows(run, ["index", *columns])

    def column(self, name: str, n_images: int) -> Numbers:
        """(n_images,) a criterion, or "gradients", "forwards" or "seconds"; NaN where there is no row."""
        key = column_of(name) if name in CRITERIA else name
        column = np.full(n_images, np.nan)
        if self._table is not None:
            index = self._table["index"]
            inside = index < n_images
            column[index[inside]] = self._table[key][inside]
        return column

    def scores(self, criteria: Sequence[str], n_images: int) -> Numbers:
        """(n_images,) what decides."""
        return deciding_scores({name: self.column(name, n_images) for name in criteria}, criteria)


def _rows(run: DatasetAttributions, columns: list[str]) -> dict[str, Any]:
    if not len(run):
        return {name: np.zeros(0, dtype=np.int64 if name == "index" else np.float64) for name in columns}
    table = run.table(columns)
    return {
        name: table[name].to_numpy() if name == "index" else table[name].cast("float64").to_numpy(zero_copy_only=False)
        for name in columns
    }
