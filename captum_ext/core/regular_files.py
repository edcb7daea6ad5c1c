"""Files that nobody vouches for: regular ones only, within limits that the environment can raise."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from captum_ext.exceptions import ArgumentError

#: Environment variables with limits: of an image's pixels, and of what a file of weights unpacks to.
MAX_MEGAPIXELS, MAX_WEIGHTS_MB = "CAPTUM_EXT_MAX_MEGAPIXELS", "CAPTUM_EXT_MAX_WEIGHTS_MB"

_NO_FILES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextmanager
def regular_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is opened for reading: no folder, and nothing on which reading may wait for ever.

    Raises:
        OSError: it cannot be opened, or it is a pipe, a socket, a device or a folder; the message has the path.
    """
    _check_regular(path, os.stat(path).st_mode)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:
        _check_regular(path, os.fstat(file.fileno()).st_mode)  # of what was opened: a pipe may have taken its place
        yield file


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(f"{path}: expected a file, but it is {_NO_FILES.get(stat.S_IFMT(mode), 'something else')}")


def limit_of(variable: str, default: int, unit: int) -> int:
    """A limit: the number in an environment variable times `unit`, or `default`.

    Raises:
        ArgumentError: the variable holds no positive number.
    """
    text = os.environ.get(variable)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ArgumentError(variable, "a positive number", repr(text))
    return int(value * unit)
