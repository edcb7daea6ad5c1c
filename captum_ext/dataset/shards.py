"""The folder of a run: parquet shards, each whole or not there, and a manifest that says what they are.

Beside them, hidden: a lock, and marks of the samples' files, if they are files.
"""

from __future__ import annotations

import json
import platform
import re
import time
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.atomic import replaced
from captum_ext.core.checks import describe
from captum_ext.core.fingerprints import digest
from captum_ext.core.optional import require
from captum_ext.core.warn import warn_caller
from captum_ext.dataset.row_maker import Columns, joined
from captum_ext.exceptions import ArgumentError, RunFolderError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

MANIFEST = "manifest.json"
_FORMAT, _VERSION = "captum_ext.dataset", 1
_LOCK = ".lock"
_MARKS = ".file_marks.npy"
_UNFINISHED = (  # of `replaced`, and of version 0.1
    *(f".{Path(name).stem}.*.tmp{Path(name).suffix}" for name in ("rows-*.parquet", MANIFEST, _MARKS)),
    *(f".{name}.*.tmp" for name in ("rows-*.parquet", MANIFEST, _MARKS)),
)
_LOCK_SECONDS = 10.0  # processes that read for a killed run hold its lock until they notice
_NONE: NDArray[np.int64] = np.zeros(0, dtype=np.int64)


def versions() -> dict[str, str]:
    """Versions on which the numbers depend."""
    packages = ("captum-ext", "captum", "torch", "numpy")
    return {"python": platform.python_version(), **{package: _version(package) for package in packages}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # an uninstalled checkout
        return "unknown"


class RunFolder:
    """Shards and manifest of one run.

    The shards are what is done; the manifest repeats it in words and adds what cannot be seen in them. So a process
    may be killed between the two.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._map_shape: tuple[int, ...] | None = None

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest as it was written last.

        Raises:
            RunFolderError: there is none, or it is not one.
        """
        path = self.folder / MANIFEST
        try:
            manifest = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{path} is not the manifest of a run: {error}") from error
        if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
            raise RunFolderError(f"{path} is not the manifest of a run.")
        if manifest["version"] > _VERSION:
            raise RunFolderError(f"{path} was written by a newer version of captum_ext; update it to go on.")
        return manifest

    def shards(self) -> list[Path]:
        """The finished shards, by name."""
        return sorted(self.folder.glob("rows-*.parquet"))

    def begin(
        self, configuration: dict[str, Any], n_samples: int, resume: bool, marks: NDArray[np.int64] | None = None
    ) -> NDArray[np.bool_]:
        """Make the folder, or find what is done in it, and say so in the manifest: (n_samples,) bool.

        `marks` are those of the samples' files, where they have any.

        Raises:
            RunFolderError: the folder holds a run of another configuration or of other files, or something else.
            ArgumentError: it holds a run and `resume` is off.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        parts = [path for pattern in _UNFINISHED for path in self.folder.glob(pattern)]
        configuration = json.loads(json.dumps(configuration))
        ours = {*parts, self.folder / _LOCK, self.folder / _MARKS}
        content = [path for path in self.folder.iterdir() if path not in ours]
        if not content or (content == [self.folder / MANIFEST] and self._is_run()):  # nothing was computed yet
            (self.folder / _MARKS).unlink(missing_ok=True)
            self._write_manifest(configuration, n_samples, np.zeros(n_samples, dtype=bool), [])
        elif not resume:
            raise ArgumentError("out", "a new or empty folder, since resume is off", str(self.folder))
        failures = self._continued(configuration).get("failures", [])
        for part in parts:  # of a process that was killed
            part.unlink(missing_ok=True)
        done = self.done(n_samples)
        if marks is not None:
            self._compare_marks(marks, done)
        # A process may have been killed after its last shard: then the manifest has yet to hear of it.
        self._write_manifest(configuration, n_samples, done, [one for one in failures if not done[one["index"]]])
        return done

    def _continued(self, configuration: dict[str, Any]) -> dict[str, Any]:
        """The manifest, if it is of a run with this configuration."""
        manifest = self.manifest
        if not {"configuration", "versions", "n_samples"} <= manifest.keys():
            raise RunFolderError(f"{self.folder / MANIFEST} is not the manifest of a run.")
        differences = list(_differences(manifest["configuration"], configuration))
        differences += list(_differences(manifest["versions"], versions(), "versions"))
        if differences:
            raise RunFolderError(
                f"{self.folder} holds a run with other settings; its rows would not be comparable. Choose another "
                f"folder, or go back to what it was made with: {'; '.join(differences)}."
            )
        return manifest

    def _compare_marks(self, marks: NDArray[np.int64], done: NDArray[np.bool_]) -> None:
        """Refuse files that are not those of the rows; a file without a row may have been repaired."""
        path = self.folder / _MARKS
        try:
            before = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):  # none, or cut off by a copy
            before = np.full(len(marks), -1, dtype=np.int64)
        changed = np.flatnonzero(done & (before >= 0) & (marks >= 0) & (before != marks))
        if len(changed):
            raise RunFolderError(
                f"{self.folder} holds the rows of other files: {len(changed)} of those with a row have changed since, "
                f"the first that of sample {changed[0]}. Choose another folder."
            )
        with replaced(path) as temporary, temporary.open("wb") as file:
            np.save(file, np.where(marks >= 0, marks, before))

    def _is_run(self) -> bool:
        try:
            return bool(self.manifest)
        except RunFolderError:
            return False

    def done(self, n_samples: int) -> NDArray[np.bool_]:
        """(n_samples,) which samples have their row. A damaged shard is set aside, and its rows are computed again."""
        pq = require("pyarrow.parquet", "dataset")
        ArrowInvalid = require("pyarrow", "dataset").ArrowInvalid  # noqa: N806 (a class)
        done = np.zeros(n_samples, dtype=bool)
        for path in self.shards():
            try:
                indices = pq.read_table(path, columns=["index"])["index"].to_numpy()
            except (ArrowInvalid, KeyError) as error:
                path.replace(path.with_suffix(".damaged"))
                warn_caller(f"{path} is damaged ({error}); its rows are computed again.")
                continue
            done[indices] = True
        return done

    def write(self, columns: Columns, asked: Sequence[int] | None = None) -> None:
        """One shard with these columns, named by the samples `asked` for, of which some may have failed.

        So a task that is repeated replaces its own file, and no other one's.
        """
        pq = require("pyarrow.parquet", "dataset")
        indices = np.unique(np.asarray(columns["index"] if asked is None else asked, dtype=np.int64))
        path = self.folder / f"rows-{indices[0]:09d}-{indices[-1]:09d}-{digest(indices)[:8]}.parquet"
        with replaced(path) as temporary:
            pq.write_table(table_of(columns), temporary, compression="zstd", use_dictionary=["name"])

    def check_map_shape(self, columns: Columns) -> None:
        """Refuse maps of another shape than those that the folder has, which could not be read together.

        Raises:
            ArgumentError: there are maps of another shape.
        """
        if "map" not in columns:
            return
        shape = columns["map"].shape[1:]
        if self._map_shape is None:
            self._map_shape = self._stored_map_shape()
        if self._map_shape is None:
            self._map_shape = shape
        if shape != self._map_shape:
            expected = "of one `size` for images of several sizes"
            raise ArgumentError("map_format", expected, f"{self._map_shape} and {shape}")

    def _stored_map_shape(self) -> tuple[int, ...] | None:
        pq = require("pyarrow.parquet", "dataset")
        shards = self.shards()
        return tuple(pq.read_schema(shards[0]).field("map").type.shape) if shards else None

    def finish_manifest(self, done: NDArray[np.bool_], failures: Iterable[dict[str, Any]]) -> None:
        """Say in the manifest what is done and what failed."""
        manifest = self.manifest
        self._write_manifest(manifest["configuration"], manifest["n_samples"], done, failures)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The folder for this process alone; the lock goes with the process, however it ends.

        Raises:
            RunFolderError: another process writes to the folder.
        """
        filelock = require("filelock", "dataset")
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder / _LOCK, timeout=_LOCK_SECONDS)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise RunFolderError(f"Another process writes to {self.folder}.") from error
        try:
            yield
        finally:
            lock.release()

    def _write_manifest(
        self,
        configuration: dict[str, Any],
        n_samples: int,
        done: NDArray[np.bool_],
        failures: Iterable[dict[str, Any]],
    ) -> None:
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "configuration": configuration,
            "versions": versions(),
            "n_samples": n_samples,
            "n_done": int(done.sum()),
            "done": ranges(done),
            "failures": sorted(failures, key=lambda entry: int(entry["index"])),
        }
        with replaced(self.folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(content, indent=1))


class ShardWriter:
    """Collects columns until they fill a shard, by rows or by time."""

    def __init__(self, folder: RunFolder, rows: int, seconds: float) -> None:
        self.folder, self.rows, self.seconds = folder, rows, seconds
        self._parts: list[Columns] = []
        self._since = time.monotonic()

    def add(self, columns: Columns) -> NDArray[np.int64]:
        """Keep columns; the indices that are now in a file because of it."""
        if columns:
            self.folder.check_map_shape(columns)
            self._parts.append(columns)
        full = sum(len(part["index"]) for part in self._parts) >= self.rows
        late = time.monotonic() - self._since >= self.seconds
        return self.flush() if full or late else _NONE

    def flush(self) -> NDArray[np.int64]:
        """Write what there is; its indices."""
        written = _NONE
        if self._parts:
            columns = joined(self._parts)
            self.folder.write(columns)
            written = columns["index"]
        self._parts, self._since = [], time.monotonic()
        return written


def indices_of_name(shard: Path) -> slice:
    """Where the rows of a shard lie, by its name; everywhere, if it has none that says so."""
    places = re.match(r"rows-(\d+)-(\d+)", shard.name)
    return slice(int(places[1]), int(places[2]) + 1) if places else slice(None)


def rows_of_a_task(shard_rows: int, n_todo: int, n_workers: int, batch_size: int) -> int:
    """Rows that one of several workers is given at once: whole batches, about `shard_rows`.

    They are a quarter of its share if that is less, so that no worker waits long for the last.
    """
    rows = min(shard_rows, -(-n_todo // (4 * n_workers)))
    return batch_size * max(1, rows // batch_size)


def table_of(columns: Columns) -> pa.Table:
    """Columns as an arrow table; maps are tensors of one shape, numbers that are not defined are null."""
    pa = require("pyarrow", "dataset")
    arrays = {}
    for name, values in columns.items():
        if name == "map":
            arrays[name] = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values))
        else:
            arrays[name] = pa.array(values, from_pandas=True)
    return pa.table(arrays)


def ranges(done: Sequence[bool] | NDArray[np.bool_]) -> list[list[int]]:
    """First and last index of every run of true entries."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.asarray(done, dtype=bool), [False]]).astype(np.int8)))
    return [[int(first), int(last) - 1] for first, last in edges.reshape(-1, 2)]


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """What differs between two JSON values, by name."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{name}.{key}" if name else str(key)
            yield from _differences(old.get(key), new.get(key), inner)
    elif old != new:
        yield f"{name} was {describe(old)}, now {describe(new)}"
