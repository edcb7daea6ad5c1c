"""The files of a data set: their names, by which samples are known, and their marks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Subset

from captum_ext.dataset.file_marks import mark_of


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
    marks = [mark_of(file.path) if one else -1 for file, one in zip(files, is_wanted, strict=True)]
    return np.array(marks, dtype=np.int64)


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
