"""The folder of a run: parquet shards, each whole or not there, and a manifest that says what they are.

Beside them, hidden: locks, and marks of the samples' files, if they are files. None of them is a link.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.atomic import remove_unless_in_use
from captum_ext.core.files import check_no_link
from captum_ext.core.fingerprints import digest
from captum_ext.core.warn import warn_caller
from captum_ext.dataset.file_marks import MARKS, read_marks, write_marks
from captum_ext.dataset.manifest import (
    MANIFEST,
    ManifestDamagedError,
    Said,
    beside_others,
    differences_of,
    plain,
    read_manifest,
    run_of,
    write_manifest,
)
from captum_ext.dataset.ranks import Share
from captum_ext.dataset.row_maker import Columns
from captum_ext.dataset.run_locks import LOCK, MANIFEST_LOCK, OF_RANKS, RunLocks
from captum_ext.dataset.shard_files import (
    Expected,
    Shard,
    ShardDamagedError,
    indices_of_name,
    opened_shard,
    write_shard,
)
from captum_ext.exceptions import ArgumentError, RunFolderError

_UNFINISHED = (  # of `replaced`, and of version 0.1
    *(f".{Path(name).stem}.*.tmp{Path(name).suffix}" for name in ("rows-*.parquet", MANIFEST, MARKS)),
    *(f".{name}.*.tmp" for name in ("rows-*.parquet", MANIFEST, MARKS)),
)
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


@dataclass(frozen=True)
class Known:
    """What a manifest says of the shards: how many samples there are, the run, and digests by name."""

    n_samples: int
    run: str
    digests: dict[str, str | None] = field(default_factory=dict)


class RunFolder:
    """Shards and manifest of one run.

    The shards are what is done; the manifest repeats it in words and adds what cannot be seen in them. So a process
    may be killed between the two: a shard that the manifest does not know yet says itself which run it belongs to.

    A rank answers for its own samples: it reads and compares the shards that may hold them, and what it says in the
    manifest of others is what these have said.

    Args:
        folder: where they are.
        max_shard_bytes: see `DatasetAttributions`.
        share: of one of several processes; None: there is one.
    """

    def __init__(self, folder: Path, max_shard_bytes: int | None = None, share: Share | None = None) -> None:
        self.folder = folder
        self.locks = RunLocks(folder, share)
        self._mine = None if share is None else share.mine()
        self._lost: set[str] = set()  # shards of the manifest that are gone, and it does not know it yet
        self._max_shard_bytes = max_shard_bytes
        self._map_shape: tuple[int, ...] | None = None
        self._begun: tuple[dict[str, Any], int] | None = None  # configuration and number of samples
        self._known: Known | None = None
        self._verified: set[tuple[Any, ...]] = set()

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest as it was written last.

        Raises:
            RunFolderError: there is none, or it is not one, is damaged, or of a newer version.
        """
        return read_manifest(self.folder / MANIFEST)

    def shards(self) -> list[Path]:
        """The finished shards, by name."""
        return sorted(self.folder.glob("rows-*.parquet"))

    def known(self) -> Known:
        """What the manifest says of the shards now; raises as `manifest` does."""
        manifest = self.manifest
        run = run_of(manifest["configuration"], manifest["versions"])
        return Known(manifest["n_samples"], run, dict(manifest.get("shards", {})))

    def finished(self) -> tuple[Known, list[Path]]:
        """The same, and the shards, which are all there.

        Raises:
            RunFolderError: as `manifest` does, and where a shard is missing of which it tells.
        """
        known, shards = self.known(), self.shards()
        missing = sorted(known.digests.keys() - {path.name for path in shards})
        if missing:
            raise RunFolderError(
                f"{self.folder / missing[0]} is missing, of which the manifest tells. Run again with the same settings "
                "to compute its rows again."
            )
        return known, shards

    def opened(self, path: Path, known: Known) -> AbstractContextManager[Shard]:
        """A shard, open for reading; raises as `opened_shard` does."""
        expected = Expected(known.n_samples, known.run, known.digests.get(path.name))
        return opened_shard(path, expected, self._max_shard_bytes, self._verified)

    def begin(
        self, configuration: dict[str, Any], n_samples: int, resume: bool, marks: NDArray[np.int64] | None = None
    ) -> NDArray[np.bool_]:
        """Make the folder, or find what is done in it, and say so in the manifest: (n_samples,) bool.

        `marks` are those of the samples' files, where they have any. A rank finds its own samples only.

        Raises:
            RunFolderError: the folder holds a run of another configuration or of other files, something else, or links
                where its files are expected.
            ArgumentError: it holds a run and `resume` is off.
        """
        self._make()
        for name in (MANIFEST, LOCK, MANIFEST_LOCK, MARKS):
            check_no_link(self.folder / name, RunFolderError)
        parts = [path for pattern in _UNFINISHED for path in self.folder.glob(pattern)]
        configuration = plain(configuration)
        self._begun, self._known = (configuration, n_samples), None
        with self.locks.changing():
            failures = self._entered(configuration, n_samples, resume, parts)["failures"]
        for part in parts:  # of a process that was killed
            remove_unless_in_use(part)
        done = self.done(n_samples)
        if marks is not None:
            with self.locks.changing():
                self._compare_marks(marks, done)
        # A process may have been killed after its last shard: then the manifest has yet to hear of it.
        known = done if self._mine is None else done | ~self._mine
        self.finish_manifest(done, [one for one in failures if one["index"] < n_samples and not known[one["index"]]])
        return done

    def _entered(
        self, configuration: dict[str, Any], n_samples: int, resume: bool, parts: Sequence[Path]
    ) -> dict[str, Any]:
        """The manifest of the run that is begun or continued."""
        ours = {LOCK, MANIFEST_LOCK, MARKS, *(path.name for path in parts)}
        content = [  # locks by their names, since other ranks may come at any time
            path for path in self.folder.iterdir() if path.name not in ours and not path.match(OF_RANKS)
        ]
        is_empty = content == [self.folder / MANIFEST] and self._is_run()  # nothing was computed yet
        if not content or (is_empty and self._may_begin_anew(configuration)):
            (self.folder / MARKS).unlink(missing_ok=True)
            self._known = Known(n_samples, run_of(configuration, versions()))
            self._write_manifest(np.zeros(n_samples, dtype=bool), [], {})
        elif not resume:
            raise ArgumentError("out", "a new or empty folder, since resume is off", str(self.folder))
        return self._continued(configuration, n_samples)

    def _may_begin_anew(self, configuration: dict[str, Any]) -> bool:
        """Whether a manifest without rows may be another's from now on: a rank finds that of the ranks beside it."""
        return self._mine is None or (self.locks.is_alone and self.known().run != run_of(configuration, versions()))

    def _make(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise RunFolderError(f"{self.folder} is not a folder, and cannot be made one. Choose another.") from error

    def _continued(self, configuration: dict[str, Any], n_samples: int) -> dict[str, Any]:
        """The manifest, if it is of a run with this configuration."""
        try:
            manifest = self.manifest
        except ManifestDamagedError as error:
            self._write_anew(error, run_of(configuration, versions()), n_samples)
            manifest = self.manifest
        differences = list(differences_of(manifest["configuration"], configuration))
        differences += list(differences_of(manifest["versions"], versions(), "versions"))
        if differences:
            raise RunFolderError(
                f"{self.folder} holds a run with other settings; its rows would not be comparable. Choose another "
                f"folder, or go back to what it was made with: {'; '.join(differences)}."
            )
        return manifest

    def _write_anew(self, error: ManifestDamagedError, run: str, n_samples: int) -> None:
        """Put a manifest without rows in place of a damaged one, if the shards say that they are this run's."""
        runs = {run_of_it for path in self.shards() for run_of_it in self._run_of(path, n_samples)}
        if runs != {run}:
            raise error
        path = self.folder / MANIFEST
        if path.exists():
            path.replace(path.with_suffix(".damaged"))
        warn_caller(f"{error} Its shards are of this run: it is written anew.")
        self._known = Known(n_samples, run)
        self._write_manifest(np.zeros(n_samples, dtype=bool), [], {})
        if self._mine is not None:  # other ranks may have ended, and say nothing more
            mine, self._mine = self._mine, None
            self._write_manifest(self.done(n_samples), [], self._known.digests)
            self._mine = mine

    def _run_of(self, path: Path, n_samples: int) -> list[str | None]:
        """The run that a shard says it belongs to; none if it is damaged."""
        try:
            with opened_shard(path, Expected(n_samples), self._max_shard_bytes) as shard:
                return [shard.run]
        except ShardDamagedError:
            return []

    def _compare_marks(self, marks: NDArray[np.int64], done: NDArray[np.bool_]) -> None:
        """Refuse files that are not those of the rows; a file without a row may have been repaired."""
        path = self.folder / MARKS
        before = read_marks(path, len(marks))
        changed = np.flatnonzero(done & (before >= 0) & (marks >= 0) & (before != marks))
        if len(changed):
            raise RunFolderError(
                f"{self.folder} holds the rows of other files: {len(changed)} of those with a row have changed since, "
                f"the first that of sample {changed[0]}. Choose another folder."
            )
        write_marks(path, np.where(marks >= 0, marks, before))

    def _is_run(self) -> bool:
        try:
            return bool(self.manifest)
        except RunFolderError:
            return False

    def done(self, n_samples: int) -> NDArray[np.bool_]:
        """(n_samples,) which samples have their row. A damaged shard is set aside, and its rows are computed again.

        A rank looks for its own samples only.
        """
        done = np.zeros(n_samples, dtype=bool)
        known = self.known()
        digests: dict[str, str | None] = {}
        for path in filter(self._concerns, self.shards()):
            indices, digest_of_it = self._checked(path, known, n_samples)
            if len(indices):
                done[indices] = True
                digests[path.name] = digest_of_it
        self._known = Known(n_samples, known.run, digests)
        self._lost = {name for name in known.digests if self._concerns(Path(name))} - digests.keys()
        return done if self._mine is None else done & self._mine

    def _concerns(self, path: Path) -> bool:
        """Whether a shard may hold samples that this process answers for."""
        return self._mine is None or bool(self._mine[indices_of_name(path)].any())

    def _checked(self, path: Path, known: Known, n_samples: int) -> tuple[NDArray[np.int64], str | None]:
        """Indices and digest of a shard, every column of which was compared; one that is damaged is set aside."""
        try:
            with self.opened(path, known) as shard:
                return shard.verify(n_samples), shard.digest
        except FileNotFoundError:  # another rank has set it aside
            return _NONE, None
        except ShardDamagedError as error:
            with suppress(FileNotFoundError):
                path.replace(path.with_suffix(".damaged"))
            warn_caller(f"{path} is damaged ({error.reason}); its rows are computed again.")
            return _NONE, None

    def write(self, columns: Columns, asked: Sequence[int] | None = None) -> tuple[str, str]:
        """One shard with these columns, named by the samples `asked` for, of which some may have failed.

        So a task that is repeated replaces its own file, and no other one's. Returns name and digest.
        """
        written = self.prepared(columns, asked)()
        self.note(*written)
        return written

    def prepared(self, columns: Columns, asked: Sequence[int] | None = None) -> Callable[[], tuple[str, str]]:
        """The same for a thread of its own: a function that writes the shard; `note` what it returns."""
        known = self._known = self._known or self.known()
        indices = np.unique(np.asarray(columns["index"] if asked is None else asked, dtype=np.int64))
        path = self.folder / f"rows-{indices[0]:09d}-{indices[-1]:09d}-{digest(indices)[:8]}.parquet"
        return lambda: (path.name, write_shard(path, columns, known.run))

    def note(self, name: str, digest_of_it: str) -> None:
        """A shard that was written, here or by another process; the manifest is told of it next time."""
        if self._known is None:
            self._known = self.known()
        self._known.digests[name] = digest_of_it

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
        shards = self.shards()
        if not shards:
            return None
        with self.opened(shards[0], self.known()) as shard:
            return shard.map_shape

    def finish_manifest(self, done: NDArray[np.bool_], failures: Iterable[dict[str, Any]]) -> None:
        """Say in the manifest what is done and what failed; a rank says it of its own samples."""
        if self._begun is None:
            manifest = self.manifest
            self._begun = manifest["configuration"], manifest["n_samples"]
        if self._known is None:
            self._known = self.known()
        if self._mine is None:
            self._write_manifest(done, failures, self._known.digests)
            return
        with self.locks.changing():
            said = Said(done & self._mine, list(failures), self._known.digests)
            self._write_manifest(*beside_others(self.manifest, said, self._mine, self._lost))
            self._lost = set()

    def _write_manifest(
        self, done: NDArray[np.bool_], failures: Iterable[dict[str, Any]], digests: dict[str, str | None]
    ) -> None:
        configuration, n_samples = self._begun or ({}, len(done))
        content = {
            "configuration": configuration,
            "versions": versions(),
            "n_samples": n_samples,
            "n_done": int(done.sum()),
            "done": ranges(done),
            "failures": list(failures),
            "shards": dict(sorted(digests.items())),
        }
        write_manifest(self.folder / MANIFEST, content)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The folder for this process alone, or for this rank; the lock goes with the process, however it ends.

        Raises:
            RunFolderError: another process writes to the folder, or the lock is not a file of its own.
        """
        self._make()
        with self.locks.held():
            yield


def rows_of_a_task(shard_rows: int, n_todo: int, n_workers: int, batch_size: int) -> int:
    """Rows that one of several workers is given at once: whole batches, about `shard_rows`.

    They are a quarter of its share if that is less, so that no worker waits long for the last.
    """
    rows = min(shard_rows, -(-n_todo // (4 * n_workers)))
    return batch_size * max(1, rows // batch_size)


def ranges(done: Sequence[bool] | NDArray[np.bool_]) -> list[list[int]]:
    """First and last index of every run of true entries."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.asarray(done, dtype=bool), [False]]).astype(np.int8)))
    return [[int(first), int(last) - 1] for first, last in edges.reshape(-1, 2)]
