"""The rows of one run, read as far as they are there: what is damaged or missing is said, and the rest is shown."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.optional import require
from captum_ext.core.text import shown
from captum_ext.dataset.manifest import MANIFEST, read_manifest, run_of
from captum_ext.dataset.shard_files import Expected, Shard, ShardDamagedError, curve_of, opened_shard
from captum_ext.exceptions import RunFolderError

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]
_NO_NUMBERS = ("index", "name", "map", "map_scale")
_MOST_NAMED = 3  # files in a notice


@dataclass(frozen=True)
class Part:
    """The rows of one file: index (n,), columns of numbers (n,), and names (an arrow array), if it has any.

    Maps and points of curves are read when they are asked for.
    """

    path: Path
    index: Indices
    columns: dict[str, Numbers]
    names: Any
    map_shape: tuple[int, ...] | None
    has_curves: bool = False


class RunRows:
    """The rows of a run in a folder, in the order of their index; numbers that are not there are NaN.

    Args:
        folder: of the run.

    Attributes:
        folder: the same.
        manifest: what the run says of itself.
        index: (n,) of the samples that have a row.
        columns: numbers (n,) by name, but for maps.
        names: of the samples, an arrow array (n,); None where they have none.
        failures: index -> the name of a sample without a row, if it has one, and its error.
        notices: sentences about what could not be read.
        map_shape: of the stored maps; None: there are none.
        n_done: samples with a row or a failure.

    Raises:
        RunFolderError: the folder holds no run, or one that this version cannot read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts: dict[tuple[Any, ...], Part] = {}
        self._verified: set[tuple[Any, ...]] = set()
        self._lock = threading.Lock()
        self.read()

    def read(self) -> None:
        """Read what is new in the folder, of which the run may still be written."""
        with self._lock:
            self.manifest = read_manifest(self.folder / MANIFEST)
            self.notices: list[str] = []
            parts = list(self._read_parts())
            missing = sorted(set(self.manifest.get("shards", {})) - {path.name for path in self._shards()})
            if missing:
                self.notices.append(f"{_counted(missing)} of {self.label} missing: the rows in there are not shown.")
            self._join(parts)

    @property
    def label(self) -> str:
        """The name of the folder, on one line."""
        return shown(self.folder.resolve().name or str(self.folder), 80)

    @property
    def n_samples(self) -> int:
        """Samples of the data set, with a row or without."""
        return int(self.manifest["n_samples"])

    @property
    def has_curves(self) -> bool:
        """Whether there are points of curves in it."""
        return any(part.has_curves for part in self._order)

    @property
    def is_complete(self) -> bool:
        """Whether each sample has a row or has failed."""
        return self.n_done >= self.n_samples

    def map_of(self, row: int) -> NDArray[Any]:
        """The map of a row, (...) on its true scale.

        Raises:
            RunFolderError: its file is damaged or gone.
        """
        with self._file_of(row) as (shard, wanted):
            return np.asarray(shard.maps(wanted)[0])

    def curves_of(self, row: int) -> dict[str, Numbers]:
        """Points (2, S) of the curves of a row by metric: shares of the pixels, and scores there.

        Raises:
            RunFolderError: its file is damaged or gone.
        """
        if not self._order[self._part_of[row]].has_curves:
            return {}
        with self._file_of(row) as (shard, wanted):
            return {name.removesuffix(curve_of("")): points[0] for name, points in shard.points(wanted).items()}

    @contextmanager
    def _file_of(self, row: int) -> Iterator[tuple[Shard, NDArray[np.bool_]]]:
        """The open file of a row, and which of its rows that is."""
        part = self._order[self._part_of[row]]
        wanted = np.zeros(len(part.index), dtype=bool)
        wanted[self._place_of[row]] = True
        try:
            with self._opened(part.path) as shard:
                yield shard, wanted
        except FileNotFoundError as error:
            self._note_unread(part.path, "it is gone")
            raise RunFolderError(f"{part.path} is gone.") from error
        except ShardDamagedError as error:
            self._note_unread(part.path, error.reason)
            raise

    def _note_unread(self, path: Path, reason: str) -> None:
        """Say once of a file that its maps cannot be read, of which the numbers could."""
        said = f"Of {path.name} of {self.label} maps are not shown, and not compared: {shown(reason, 200)}."
        if said not in self.notices:
            self.notices.append(said)

    def files(self) -> Iterator[Indices]:
        """The rows (n,) of each file with maps."""
        for number, part in enumerate(self._order):
            rows = np.flatnonzero(self._part_of == number)
            if part.map_shape is not None and len(rows):
                yield rows

    def stored_maps(self, rows: Indices) -> NDArray[Any] | None:
        """The maps (n, ...) of rows of any files, each in a unit of its own; None: one of them cannot be read."""
        found: NDArray[Any] | None = None
        for number in np.unique(self._part_of[rows]):
            part, here = self._order[number], self._part_of[rows] == number
            try:
                with self._opened(part.path) as shard:
                    maps, _ = shard.stored_maps()
            except (FileNotFoundError, ShardDamagedError) as error:
                self._note_unread(part.path, error.reason if isinstance(error, ShardDamagedError) else "it is gone")
                return None
            if found is None:
                found = np.empty((len(rows), *maps.shape[1:]), dtype=maps.dtype)
            if maps.shape[1:] != found.shape[1:]:
                return None
            found[here] = maps[self._place_of[rows[here]]]
        return found

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("rows-*.parquet"))

    def _opened(self, path: Path) -> Any:
        run = run_of(self.manifest["configuration"], self.manifest["versions"])
        digest = self.manifest.get("shards", {}).get(path.name)
        return opened_shard(path, Expected(self.n_samples, run, digest), None, self._verified)

    def _read_parts(self) -> Iterator[Part]:
        """What each file has; those that were read before are not read again."""
        damaged: list[str] = []
        known, self._parts = self._parts, {}
        for path in self._shards():
            part = self._read_part(path, known, damaged)
            if part is not None:
                yield part
        if damaged:
            self.notices.append(f"{_counted(damaged)} of {self.label} damaged: the rows in there are not shown.")

    def _read_part(self, path: Path, known: dict[tuple[Any, ...], Part], damaged: list[str]) -> Part | None:
        """What one file has; None where it cannot be read."""
        try:
            status = path.lstat()
            key = (path.name, status.st_ino, status.st_size, status.st_mtime_ns)
            if key not in known:
                with self._opened(path) as shard:
                    known[key] = _part_of(path, shard)
            return self._parts.setdefault(key, known[key])
        except FileNotFoundError:  # set aside by a run that goes on
            return None
        except RunFolderError as error:
            reason = error.reason if isinstance(error, ShardDamagedError) else str(error)
            damaged.append(f"{path.name}: {shown(reason.replace(str(path), path.name), 200)}")
            return None

    def _join(self, parts: list[Part]) -> None:
        """All rows in order; of a sample that two machines have computed, the row of the first file."""
        index = np.concatenate([part.index for part in parts]) if parts else np.zeros(0, dtype=np.int64)
        self.index, first = np.unique(index, return_index=True)
        lengths = [len(part.index) for part in parts]
        self._order = parts
        self._part_of = np.repeat(np.arange(len(parts)), lengths)[first]
        self._place_of = np.concatenate([np.arange(length) for length in lengths] or [np.zeros(0, np.int64)])[first]
        known = list(dict.fromkeys(name for part in parts for name in part.columns))
        self.columns = {name: _joined(parts, name)[first] for name in known}
        pa = require("pyarrow", "view")
        named = bool(parts) and all(part.names is not None for part in parts)
        self.names = pa.concat_arrays([part.names for part in parts]).take(pa.array(first)) if named else None
        shapes = {part.map_shape for part in parts if part.map_shape is not None}
        self.map_shape = next(iter(shapes), None)
        if len(shapes) > 1:
            self.notices.append(f"{self.label} has maps of several shapes, which are not compared.")
        have = set(self.index.tolist())
        self.failures = {
            int(one["index"]): (one.get("name"), str(one["error"]))
            for one in self.manifest["failures"]
            if int(one["index"]) not in have
        }
        self.n_done = len(self.index) + len(self.failures)

    def renumber(self, numbers: Mapping[int, int]) -> None:
        """Leave out all samples but those of `numbers`, and give these the numbers there, until it is read again."""
        pa = require("pyarrow", "view")
        with self._lock:
            found = np.array([numbers.get(index, -1) for index in self.index.tolist()], dtype=np.int64)
            kept = np.flatnonzero(found >= 0)
            order = kept[np.argsort(found[kept])]
            self.index, self._part_of, self._place_of = found[order], self._part_of[order], self._place_of[order]
            self.columns = {name: values[order] for name, values in self.columns.items()}
            self.names = None if self.names is None else self.names.take(pa.array(order))
            self.failures = {numbers[index]: one for index, one in self.failures.items() if index in numbers}


def _part_of(path: Path, shard: Shard) -> Part:
    """The rows of an open file, without their maps."""
    names = [name for name in shard.names if name not in (*_NO_NUMBERS, *shard.curves)]
    table = shard.read(["index", *names, *(["name"] if "name" in shard.names else [])])
    index = shard.indices_in(table)
    columns = {name: _numbers(table[name]) for name in names}
    texts = table["name"].combine_chunks() if "name" in shard.names else None
    if texts is not None and hasattr(texts, "chunks"):  # of newer versions of arrow, which keep one chunk as such
        texts = require("pyarrow", "view").concat_arrays(texts.chunks)
    return Part(path, index, columns, texts, shard.map_shape, bool(shard.curves))


def _numbers(column: Any) -> Numbers:
    pa = require("pyarrow", "view")
    numbers: Numbers = column.cast(pa.float64()).to_numpy().astype(np.float64)
    return numbers


def _joined(parts: list[Part], name: str) -> Numbers:
    return np.concatenate([part.columns.get(name, np.full(len(part.index), np.nan)) for part in parts])


def _counted(files: list[str]) -> str:
    """How many files, with the first ones."""
    named = ", ".join(files[:_MOST_NAMED]) + (", ..." if len(files) > _MOST_NAMED else "")
    return f"{len(files)} {'file' if len(files) == 1 else 'files'} ({named})"
