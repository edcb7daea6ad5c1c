"""How much the runs disagree on each sample: computed once, in the background, from the maps as they are stored."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from captum_ext_integrations.viewer.disagreement import disagreement
from captum_ext_integrations.viewer.run_rows import RunRows

Numbers = NDArray[np.float64]
_MOST_PAIRS = 6
_FIRST_PAUSE = 2.0  # seconds after the start, in which somebody opens the page
_PAUSE = 0.3  # seconds after a request in which nothing is compared: what is asked for comes first
_NUMBERS_AT_ONCE = 1 << 19  # of maps that are ranked together


class Comparisons:
    """The disagreement of each pair of runs that have maps, NaN where it is not known, or not yet.

    Attributes:
        pairs: of numbers of runs, the first six.
    """

    def __init__(self, runs: Sequence[RunRows]) -> None:
        self._runs = runs
        with_maps = [number for number, run in enumerate(runs) if run.map_shape is not None]
        self.pairs = list(itertools.combinations(with_maps, 2))[:_MOST_PAIRS]
        self._found = {pair: np.full(len(runs[pair[0]].index), np.nan) for pair in self.pairs}
        self._n_all = sum(len(one) for one in self._found.values())
        self._n_done = 0
        self._stopped = threading.Event()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._not_before = 0.0
        if not self.pairs:
            self._done.set()

    def found(self, first: int, second: int) -> Numbers:
        """(n,) the disagreement on each row of the run `first`, as far as it is known.

        Raises:
            KeyError: there is no such pair.
        """
        return self._found[first, second]

    @property
    def is_done(self) -> bool:
        """Whether all of it is known."""
        return self._done.is_set()

    @property
    def share(self) -> float:
        """How much of it is known, from 0 to 1."""
        return 1.0 if self.is_done or not self._n_all else min(1.0, self._n_done / self._n_all)

    def start(self) -> None:
        """Compute it in a thread that ends with the process."""
        if self.pairs and self._thread is None:
            self._not_before = time.monotonic() + _FIRST_PAUSE
            self._thread = threading.Thread(target=self.compute, name="comparisons", daemon=True)
            self._thread.start()

    def make_way(self) -> None:
        """Let a request be answered first."""
        self._not_before = max(self._not_before, time.monotonic() + _PAUSE)

    def stop(self) -> None:
        """End the thread soon."""
        self._stopped.set()

    def compute(self) -> None:
        """Compute all of it here."""
        try:
            for pair in self.pairs:
                self._compute(pair)
        finally:
            self._done.set()

    def _is_stopped(self) -> bool:
        """Wait as long as requests come, and say whether to end."""
        while not self._stopped.is_set() and (wait := self._not_before - time.monotonic()) > 0:
            self._stopped.wait(wait)
        return self._stopped.is_set()

    def _compute(self, pair: tuple[int, int]) -> None:
        """Go through the files of the first run, and read of the second what is of the same samples."""
        first, second = (self._runs[number] for number in pair)
        for rows in first.files():
            if self._is_stopped():
                return
            has = np.isin(first.index[rows], second.index)
            shared = rows[has]
            others = np.searchsorted(second.index, first.index[shared])
            maps = (first.stored_maps(shared), second.stored_maps(others)) if len(shared) else (None, None)
            if maps[0] is not None and maps[1] is not None:
                at_once = max(1, _NUMBERS_AT_ONCE // int(np.prod(maps[0].shape[1:])))
                for start in range(0, len(shared), at_once):
                    if self._is_stopped():
                        return
                    some = slice(start, start + at_once)
                    self._found[pair][shared[some]] = disagreement(maps[0][some], maps[1][some])
            self._n_done += len(rows)
