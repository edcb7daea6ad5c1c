"""Rows to files while the next rows are computed."""

from __future__ import annotations

import time
from concurrent import futures

import numpy as np
from numpy.typing import NDArray

from captum_ext.dataset.row_maker import Columns, joined
from captum_ext.dataset.shards import RunFolder

_NONE: NDArray[np.int64] = np.zeros(0, dtype=np.int64)


class ShardWriter:
    """Collects columns until they fill a shard, by rows or by time, and has it written by a thread of its own.

    One shard at most is being written: a disk that is slower than the method holds it up, and memory stays flat.
    """

    def __init__(self, folder: RunFolder, rows: int, seconds: float) -> None:
        self.folder, self.rows, self.seconds = folder, rows, seconds
        self._parts: list[Columns] = []
        self._since = time.monotonic()
        self._thread = futures.ThreadPoolExecutor(1, thread_name_prefix="captum-ext-shards")
        self._writing: tuple[Columns, futures.Future[tuple[str, str]]] | None = None

    def add(self, columns: Columns) -> NDArray[np.int64]:
        """Keep columns; the indices that turned out to be in a file by now."""
        if columns:
            self.folder.check_map_shape(columns)
            self._parts.append(columns)
        full = sum(len(part["index"]) for part in self._parts) >= self.rows
        late = time.monotonic() - self._since >= self.seconds
        return self._begin() if full or late else self._end(wait=False)

    def close(self) -> NDArray[np.int64]:
        """Write what there is, and wait until it is written; its indices, and those of the shard before it.

        Where that one turns out to have failed only now, its rows are tried once more, with those after them.
        """
        with self._thread:
            try:
                written = self._end()
            except OSError:
                written = _NONE
            return np.concatenate([written, self._begin(), self._end()])

    def _begin(self) -> NDArray[np.int64]:
        """Have a shard written as soon as the one before it is; the indices of that one."""
        written = self._end()
        if self._parts:
            columns = joined(self._parts)
            self._writing = columns, self._thread.submit(self.folder.prepared(columns))
        self._parts, self._since = [], time.monotonic()
        return written

    def _end(self, wait: bool = True) -> NDArray[np.int64]:
        """The indices of the shard that was being written, once it is there; one that failed is tried again later."""
        if self._writing is None or not (wait or self._writing[1].done()):
            return _NONE
        columns, future = self._writing
        futures.wait([future])  # interrupted: it is still being written
        self._writing = None
        try:
            self.folder.note(*future.result())
        except BaseException:
            self._parts.insert(0, columns)
            raise
        indices: NDArray[np.int64] = columns["index"]
        return indices
