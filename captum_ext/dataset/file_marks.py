"""Marks of the files of samples, by which it is noticed that they have changed since a run began."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.atomic import replaced
from captum_ext.core.files import read
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import RunFolderError

#: The file of a run's folder with the marks of its samples.
MARKS = ".file_marks.npy"
_MOST_AROUND = 4096  # bytes of header and digest of a file of marks
_BEGINNING = 4096  # bytes: of an image without compression, pixels too


def write_marks(path: Path, marks: NDArray[np.int64]) -> None:
    """Write marks to a file, with a digest behind them."""
    content = io.BytesIO()
    np.save(content, marks)
    with replaced(path) as temporary:
        temporary.write_bytes(content.getvalue() + _digest(content.getvalue()))


def read_marks(path: Path, n_samples: int) -> NDArray[np.int64]:
    """The marks in a file; -1 where there are none. Warns of a file that is damaged.

    Raises:
        RunFolderError: a link, or no file.
    """
    none: NDArray[np.int64] = np.full(n_samples, -1, dtype=np.int64)
    try:
        content = read(path, RunFolderError, links=False, most=8 * n_samples + _MOST_AROUND)
    except FileNotFoundError:
        return none
    try:
        return _marks_in(content, n_samples)
    except Exception as error:
        warn_caller(f"{path} is damaged ({error}); whether files have changed since the run began is not compared.")
    return none


def _marks_in(content: bytes, n_samples: int) -> NDArray[np.int64]:
    """Raises an error of any kind for what `write_marks` did not write."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("not the marks of a run")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if shape != (n_samples,) or dtype != np.int64:
        raise ValueError(f"{dtype} {shape}, where {n_samples} numbers are expected")
    end = file.tell() + 8 * n_samples
    if len(content) < end or content[end:] not in (b"", _digest(content[:end])):  # version 0.1 wrote no digest
        raise ValueError("it has not the digest that was written with it")
    marks: NDArray[np.int64] = np.frombuffer(content[file.tell() : end], dtype=np.int64).copy()
    return marks


def _digest(content: bytes) -> bytes:
    return b"sha256 " + hashlib.sha256(content).hexdigest().encode()


def mark_of(path: str | Path) -> int:
    """A number for a file, from its size and its beginning; -1 where there is no such file here."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe would wait for a writer
            return -1
        with Path(path).open("rb") as file:
            beginning = file.read(_BEGINNING)
            size = os.fstat(file.fileno()).st_size
    except (OSError, ValueError):
        return -1
    return (size % 2**31) << 32 | zlib.crc32(beginning)
