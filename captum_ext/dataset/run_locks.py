"""The locks of a run's folder: one process at a time, or the ranks of one division, each once.

A lock goes with the process that holds it, however that ends. Files of locks stay or go as their library likes: what
counts is whether one is held.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from captum_ext.core.files import check_no_link
from captum_ext.core.optional import require
from captum_ext.dataset.ranks import Share
from captum_ext.exceptions import RunFolderError

LOCK, MANIFEST_LOCK = ".lock", ".manifest.lock"
OF_RANKS = ".rank-*.lock"
_OF_A_RANK = re.compile(r"\.rank-(\d{1,9})-of-(\d{1,9})-([0-9a-f]{8})\.lock")
_SECONDS = 10.0  # processes that read for a killed run hold its lock until they notice
_MANIFEST_SECONDS = 600.0  # ranks hold it for milliseconds, but there may be thousands
_POLL = 0.1


class RunLocks:
    """The locks of one process: of the only one in a folder, or of a rank.

    The only process holds `.lock` all the time. A rank holds a lock of its own all the time, and `.lock` only while it
    looks who else is there: it looks with its own lock held, so that of two that must not meet one sees the other.

    Args:
        folder: of the run.
        share: of a rank; None: of the only process.
    """

    def __init__(self, folder: Path, share: Share | None = None) -> None:
        self.folder, self.share = folder, share
        self._own = None if share is None else _name(share)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder for this process, or for this rank and others of the same division.

        Raises:
            RunFolderError: another process writes to the folder, or a lock is not a file of its own.
        """
        if self._own is None:
            with self._locked(LOCK, _SECONDS, f"Another process writes to {self.folder}."):
                self._wait_for_others()
                yield
            return
        with self._locked(self._own, _SECONDS, f"Another process writes to {self.folder} as {self.share}."):
            self._wait_for_others()
            yield

    @contextmanager
    def changing(self) -> Iterator[None]:
        """The manifest for this rank alone; nothing to wait for where there are no ranks.

        Raises:
            RunFolderError: others have kept it for minutes.
        """
        if self.share is None:
            yield
            return
        message = f"Others have not let go of the manifest in {self.folder} for {_MANIFEST_SECONDS:.0f} s."
        with self._locked(MANIFEST_LOCK, _MANIFEST_SECONDS, message):
            yield

    def running(self) -> set[int]:
        """The other ranks of this division that are running now."""
        alike = (_OF_A_RANK.fullmatch(name) for name in self._held_by_others() if self._is_alike(name))
        return {int(match[1]) for match in alike if match}

    @property
    def is_alone(self) -> bool:
        """Whether no other rank is running."""
        return not self._held_by_others()

    def _wait_for_others(self) -> None:
        """Refuse to begin beside a process that divides the samples otherwise."""
        until = time.monotonic() + _SECONDS
        while others := [name for name in self._held_by_others() if not self._is_alike(name)]:
            if time.monotonic() > until:
                raise RunFolderError(self._refusal(others))
            time.sleep(_POLL)

    def _refusal(self, others: list[str]) -> str:
        matches = [match for match in map(_OF_A_RANK.fullmatch, others) if match]
        ranks = ", ".join(f"{match[1]} of {match[2]}" for match in matches)
        if self.share is None:
            return f"Ranks write to {self.folder}: {ranks}. Wait until they have ended."
        return (
            f"Ranks that divide the samples otherwise write to {self.folder}: {ranks}. Wait until they have ended, or "
            f"give {self.share} their world_size, batch_size and shard_rows."
        )

    def _held_by_others(self) -> list[str]:
        """Names of the locks that other ranks hold."""
        if self.share is None:  # which has `.lock` already
            return [name for name in self._names() if self._is_held(name)]
        with self._locked(LOCK, _SECONDS, f"Another process writes to {self.folder}."):
            return [name for name in self._names() if self._is_held(name)]

    def _names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob(OF_RANKS) if path.name != self._own)

    def _is_alike(self, name: str) -> bool:
        return self.share is not None and name.endswith(f"-{self.share.division.name}.lock")

    def _is_held(self, name: str) -> bool:
        if not _OF_A_RANK.fullmatch(name):
            return False
        lock = self._lock(name, 0.0)
        try:
            lock.acquire()
        except require("filelock", "dataset").Timeout:
            return True
        lock.release()
        return False

    @contextmanager
    def _locked(self, name: str, seconds: float, message: str) -> Iterator[None]:
        lock = self._lock(name, seconds)
        try:
            lock.acquire()
        except require("filelock", "dataset").Timeout as error:
            raise RunFolderError(message) from error
        try:
            yield
        finally:
            lock.release()

    def _lock(self, name: str, seconds: float) -> Any:
        """A lock that is not held yet; its file must not be another's."""
        path = self.folder / name
        check_no_link(path, RunFolderError)
        if path.exists() and path.stat().st_nlink > 1:
            raise RunFolderError(f"{path} is a file that has another name, too, and would lose its content. Remove it.")
        return require("filelock", "dataset").FileLock(path, timeout=seconds)


def _name(share: Share) -> str:
    return f".rank-{share.rank}-of-{share.division.world_size}-{share.division.name}.lock"
