"""Files of others, read without trust: files only, of a size that is known first, and none is held afterwards."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from captum_ext.exceptions import CaptumExtError

_KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
_DEEPEST = 200  # levels of JSON: what goes through it afterwards may call itself for each


@contextmanager
def opened(
    path: Path, error: type[CaptumExtError], *, links: bool, most: int | None = None, hint: str = ""
) -> Iterator[BinaryIO]:
    """The file, open for reading; nothing that would wait for a writer is opened.

    Args:
        path: the file.
        error: class of the errors.
        links: whether a link is followed, as where a user names the file; a file of ours is never one.
        most: bytes that it may have.
        hint: what to do about a file that has more.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be opened.
        CaptumExtError: of the class `error`: it is no file, a link, or too large.
    """
    try:
        status = path.stat() if links else path.lstat()
    except OSError as failed:
        if failed.errno == errno.ELOOP:
            raise error(f"{path} is a link that leads to itself. Remove it.") from failed
        raise
    _check(path, status, error, most, hint)
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | (0 if links else getattr(os, "O_NOFOLLOW", 0)))
    except OSError as failed:
        if failed.errno == errno.ELOOP and not links:  # put there since
            raise _of_link(path, error) from failed
        raise
    with os.fdopen(descriptor, "rb") as file:
        _check(path, os.fstat(file.fileno()), error, most, hint)
        yield file


def read(path: Path, error: type[CaptumExtError], *, links: bool, most: int, hint: str = "") -> bytes:
    """The content of a file of at most `most` bytes; arguments and errors are those of `opened`."""
    with opened(path, error, links=links, most=most, hint=hint) as file:
        content = file.read(os.fstat(file.fileno()).st_size + 1)
        if len(content) > most:  # it grows
            raise _too_large(path, len(content), error, most, hint)
        return content


def check_no_link(path: Path, error: type[CaptumExtError]) -> None:
    """Refuse a link, or what is no file, where a file of ours is or is to be.

    Raises:
        CaptumExtError: of the class `error`.
    """
    if os.path.lexists(path):
        _check(path, path.lstat(), error)


def json_of(content: bytes) -> Any:
    """What JSON in UTF-8 says.

    Raises:
        ValueError: it is none, or has more levels than any file of ours.
    """
    try:
        value = json.loads(content.decode())
    except RecursionError as error:
        raise ValueError("JSON of too many levels") from error
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for one in level if isinstance(one, dict | list) for inner in _inside(one)]
        if not level:
            return value
    raise ValueError(f"JSON of more than {_DEEPEST} levels")


def checked(value: Any, schema: Any) -> Any:
    """The value as the type `schema` of msgspec.

    Raises:
        ValueError: it is not of this type; says what was expected where.
    """
    try:
        return msgspec.convert(value, schema)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(str(error)) from error


def canonical(value: Any) -> bytes:
    """A JSON value as the bytes that all of its spellings have.

    Raises:
        ValueError: a text in it that no UTF-8 can say.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _inside(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def _check(
    path: Path, status: os.stat_result, error: type[CaptumExtError], most: int | None = None, hint: str = ""
) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise _of_link(path, error)
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for fits, name in _KINDS if fits(status.st_mode)), "a device")
        raise error(f"{path} is {kind}, where a file is expected. Move it away.")
    if most is not None and status.st_size > most:
        raise _too_large(path, status.st_size, error, most, hint)


def _of_link(path: Path, error: type[CaptumExtError]) -> CaptumExtError:
    return error(f"{path} is a link, which is not followed. Remove it, or put the file itself in its place.")


def _too_large(path: Path, size: int, error: type[CaptumExtError], most: int, hint: str) -> CaptumExtError:
    return error(f"{path} has {size:,} bytes, more than the {most:,} that are read.{hint}")
