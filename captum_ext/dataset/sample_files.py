"""The files of a data set: their names, by which samples are known, and marks, by which others are noticed."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Subset

from captum_ext.core.atomic import replaced
from captum_ext.core.files import read
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import RunFolderError

_MOST_AROUND = 4096  # bytes of header and digest of a file of marks
_BEGINNING = 4096  # bytes: of an image without compression, pixels too


class File(NamedTuple):
    """Where a sample is, and the folder that its name leaves out."""

    path: str | Path
    root: Any


def names_of(dataset: Any) -> list[str] | None:
    """File names, relative to the root, of a data set that lists its `samples` as torchvision's folders do.

    Also of a `Subset` or a `ConcatDataset` of such ones.
    """
    files = _files(dataset)
    return None if files is None else [_relative(Path(path), root) for path, root in files]


def marks_of(dataset: Any, wanted: NDArray[np.bool_] | None = None) -> NDArray[np.int64] | None:
    """A number for each of the same files, from its size and its beginning; -1 where there is no such file here.

    Of samples that are not `wanted` (None: all are) it is -1, too, and their files are not read.
    """
    files = _files(dataset)
    if files is None:
        return None
    is_wanted = [True] * len(files) if wanted is None else wanted.tolist()
    marks = [_mark(file.path) if one else -1 for file, one in zip(files, is_wanted, strict=True)]
    return np.array(marks, dtype=np.int64)


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


def _mark(path: str | Path) -> int:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe would wait for a writer
            return -1
        with Path(path).open("rb") as file:
            beginning = file.read(_BEGINNING)
            size = os.fstat(file.fileno()).st_size
    except (OSError, ValueError):
        return -1
    return (size % 2**31) << 32 | zlib.crc32(beginning)


def size_of(path: str | Path) -> int:
    """Bytes of a file; -1 where there is none."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return -1


def _files(dataset: Any) -> list[File] | None:
    """A file for each sample, where the data set says so."""
    if isinstance(dataset, Subset):
        inner, indices = _files(dataset.dataset), [int(index) for index in dataset.indices]
        if inner is None or not all(-len(inner) <= index < len(inner) for index in indices):
            return None  # a wrong index fails when it is read
        return [inner[index] for index in indices]
    if isinstance(dataset, ConcatDataset):
        parts = [_files(one) for one in dataset.datasets]
        return None if None in parts else [file for part in parts if part is not None for file in part]
    samples, root = getattr(dataset, "samples", None), getattr(dataset, "root", None)
    if not isinstance(samples, list) or not samples or not isinstance(samples[0], tuple | list):
        return None
    files = [File(entry[0], root) for entry in samples if isinstance(entry[0], str | Path)]
    return files if len(files) == len(samples) == len(dataset) else None


def _relative(path: Path, root: Any) -> str:
    inside = path.relative_to(root).as_posix() if root is not None and path.is_relative_to(root) else path.name
    return os.fsencode(inside).decode("utf-8", "backslashreplace")  # also of names that are not UTF-8
