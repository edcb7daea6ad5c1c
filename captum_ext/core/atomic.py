"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import importlib
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

fcntl: Any = None  # on Windows; what is open cannot be removed there anyway
with suppress(ImportError):
    fcntl = importlib.import_module("fcntl")

_UNFINISHED = re.compile(r"\..*\.[0-9a-f]{12}\.tmp(\.[^.]*)?")  # the names that `replaced` gives, and version 0.1 gave
_LONGEST = 100  # bytes of the target's name that are kept: with the rest it fits every file system
_OLD = 3600.0  # seconds, where the file system does not tell whether a file is in use


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`, with its suffix, which takes its place when the block ends without an error.

    What was written is on the disk before it gets its name, so that neither a killed process nor a power failure
    leaves part of a file. A link is replaced, not followed. What a killed process leaves, `remove_unfinished` removes.

    Raises:
        FileExistsError: `target` is there and no file: a folder, a device, a pipe.
        FileNotFoundError: nothing was written to the temporary path, or the folder does not exist.
        OSError: what the block or the disk raised, with the name of `target` if it had none.
    """
    _check_replaceable(target)
    with _errors_named(target):
        temporary, descriptor = _created(target)
        try:
            mode = stat.S_IMODE(temporary.stat().st_mode)  # as a plain open makes it; safetensors, say, does not
            yield temporary
            with temporary.open("rb+") as file:
                if os.fstat(file.fileno()).st_mtime_ns == 0:
                    raise FileNotFoundError(errno.ENOENT, "Nothing was written", str(target))
                os.fsync(file.fileno())
            os.chmod(temporary, mode)
            os.replace(temporary, target)
        finally:
            if descriptor is not None:
                os.close(descriptor)
            temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path, stem: str = "") -> None:
    """Remove what killed processes left of files that `replaced` was to make, but not what is being written.

    Args:
        folder: where it is looked for; not in the folders inside.
        stem: with what the names of those files begin.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if _UNFINISHED.fullmatch(entry.name)]
    for name in names:
        if name.startswith(f".{_shortened(stem)}"):
            remove_unless_in_use(folder / name)


def remove_unless_in_use(path: Path) -> None:
    """Remove one such file, unless a process writes to it."""
    with suppress(OSError):  # it is gone, or not ours to remove
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return
        descriptor = None if fcntl is None else os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            locked = None if descriptor is None else _locked(descriptor)
            if locked or (locked is None and time.time() - status.st_ctime > _OLD):
                path.unlink()
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _created(target: Path) -> tuple[Path, int | None]:
    """An empty file beside `target`, and a descriptor that says, as long as the process lives, that it is in use."""
    while True:
        temporary = target.with_name(_temporary_name(target))
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
        if fcntl is None:  # what is open could not be renamed
            os.close(descriptor)
        if fcntl is None or _locked(descriptor) is not False:
            with suppress(FileNotFoundError):  # another process took it for one that was left
                os.utime(temporary, ns=(0, 0))  # by which it is seen that nothing was written
                return temporary, None if fcntl is None else descriptor
        os.close(descriptor)


def _locked(descriptor: int) -> bool | None:
    """Whether the open file is this process's alone from now on; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _temporary_name(target: Path) -> str:
    return f".{_shortened(target.stem)}.{uuid.uuid4().hex[:12]}.tmp{target.suffix}"


def _shortened(stem: str) -> str:
    return os.fsencode(stem)[:_LONGEST].decode(errors="ignore")


def _check_replaceable(target: Path) -> None:
    """Refuse to put a file in place of what is none: of a device, even root would lose it."""
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise FileExistsError(errno.EEXIST, "There is something that is no file; choose another name", str(target))


@contextmanager
def _errors_named(target: Path) -> Iterator[None]:
    """Errors of the system that name no file, or a temporary one, name `target`."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not _UNFINISHED.fullmatch(os.path.basename(os.fsdecode(error.filename))):
            raise
        if error.errno is None:
            raise OSError(f"{target} could not be written: {error}") from error
        raise OSError(error.errno, error.strerror or "Not written", str(target)) from error
