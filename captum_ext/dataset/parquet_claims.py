"""What a Parquet file claims to hold, read from its footer and the headers of its pages before Arrow sees it.

A page of some kilobytes can claim, and hold, gigabytes, and Arrow believes it; some footers end the process in Arrow's
own view of them. Both are Thrift's compact protocol:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, BinaryIO

_MAGIC = b"PAR1"
_CUT_OFF = "it is cut off"
_LARGEST_FOOTER = 1 << 20
_LARGEST_HEADER = 1 << 16  # of a page; its smallest and largest value may be in it
_MOST_PAGES = 100_000
_DEEPEST = 16
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 2, 3
_STRUCT_OF = {_DATA_PAGE: 5, _DICTIONARY_PAGE: 7, _DATA_PAGE_V2: 8}  # field of a page's header that tells of its values
_ENCODING_OF = {_DATA_PAGE: 2, _DICTIONARY_PAGE: 2, _DATA_PAGE_V2: 4}
_PLAIN_ENCODINGS = {0, 2, 3, 4, 8}  # those that our files use: none repeats what an earlier value said


@dataclass(frozen=True)
class Chunk:
    """Where the pages of a column are, and how many values it says they have."""

    path: tuple[str, ...]
    n_values: int
    start: int
    length: int

    @property
    def name(self) -> str:
        """Of the column, without that of a part of it."""
        return self.path[0]


@dataclass(frozen=True)
class Group:
    """Rows that are stored together."""

    n_rows: int
    chunks: list[Chunk]


@dataclass
class Claims:
    """What the pages of a column say together: bytes when unpacked, and values outside of dictionaries."""

    n_bytes: int = 0
    n_values: int = 0


def groups_of(file: BinaryIO) -> list[Group]:
    """What the footer of a Parquet file says.

    Raises:
        ValueError: it is none, is larger than ours, or tells of what is outside of the file.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - 8))
    end = file.read(8)
    length = int.from_bytes(end[:4], "little")
    if len(end) < 8 or end[4:] != _MAGIC or not 0 < length <= min(size - 12, _LARGEST_FOOTER):
        raise ValueError("no Parquet file, or one that is cut off")
    last = size - 8 - length
    file.seek(last)
    footer = _Reader(file.read(length)).struct()
    groups = [_group(one, last) for one in _items(footer, 4)]
    if not groups or sum(group.n_rows for group in groups) != _whole(footer, 3):
        raise ValueError("no rows, or another number of them than it says")
    return groups


def claims_of(file: BinaryIO, chunk: Chunk) -> Claims:
    """The claims of the pages of a column.

    Raises:
        ValueError: what is there are no pages, or pages that our files do not have.
    """
    claims, place, end = Claims(), chunk.start, chunk.start + chunk.length
    for _ in range(_MOST_PAGES):
        if place == end:
            return claims
        if place > end:
            raise ValueError("pages beyond the end of their column")
        file.seek(place)
        reader = _Reader(file.read(min(_LARGEST_HEADER, end - place)))
        header = reader.struct()
        kind, unpacked, packed = (_whole(header, number) for number in (1, 2, 3))
        about = header.get(_STRUCT_OF.get(kind, -1))
        if not isinstance(about, dict) or _whole(about, _ENCODING_OF[kind]) not in _PLAIN_ENCODINGS:
            raise ValueError("a page of an unknown kind")
        claims.n_bytes += unpacked
        claims.n_values += 0 if kind == _DICTIONARY_PAGE else _whole(about, 1)
        place += reader.place + packed
    raise ValueError(f"more than {_MOST_PAGES} pages")


def _group(group: Any, last: int) -> Group:
    return Group(_whole(_fields(group), 3), [_chunk(_fields(one), last) for one in _items(_fields(group), 1)])


def _chunk(column: dict[int, Any], last: int) -> Chunk:
    """A column of which the pages end before `last`, in this file."""
    about = _fields(column.get(3))
    path = tuple(part.decode() for part in _items(about, 3) if isinstance(part, bytes))
    start, length = _whole(about, 9), _whole(about, 7)
    if about.get(11):  # a dictionary, which comes first
        start = min(start, _whole(about, 11))
    if 1 in column or not path or not len(_MAGIC) <= start <= start + length <= last:
        raise ValueError("a column outside of the file")
    return Chunk(path, _whole(about, 5), start, length)


def _whole(fields: dict[int, Any], number: int) -> int:
    value = fields.get(number)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a size that has to be there is missing or below zero")
    return value


def _items(fields: dict[int, Any], number: int) -> list[Any]:
    value = fields.get(number)
    if not isinstance(value, list):
        raise ValueError("a list that has to be there is missing")
    return value


def _fields(value: Any) -> dict[int, Any]:
    if not isinstance(value, dict):
        raise ValueError("a part that has to be there is missing")
    return value


@dataclass
class _Reader:
    """Thrift's compact protocol."""

    content: bytes
    place: int = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Fields by their numbers."""
        if depth > _DEEPEST:
            raise ValueError("too many levels")
        fields: dict[int, Any] = {}
        number = 0
        while head := self.byte():
            number = number + (head >> 4) if head >> 4 else self.zigzag()
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self.value(kind, depth)  # true and false take no byte
        return fields

    def value(self, kind: int, depth: int) -> Any:
        """A value of one of the protocol's types."""
        if 4 <= kind <= 6:
            return self.zigzag()
        if kind == 8:
            return self.take(self.varint())
        if 1 <= kind <= 3:  # in a list, true and false take a byte
            return self.byte()
        if kind == 7:
            return self.take(8)
        if kind in (9, 10):
            head = self.byte()
            count = self.varint() if head >> 4 == 15 else head >> 4
            if count > len(self.content) - self.place:
                raise ValueError("a list that is cut off")
            return [self.value(head & 15, depth + 1) for _ in range(count)]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError("a type that Parquet does not have")

    def varint(self) -> int:
        """A number of seven bits in every byte."""
        content, place, value = self.content, self.place, 0
        for shift in range(0, 70, 7):
            if place >= len(content):
                raise ValueError(_CUT_OFF)
            byte = content[place]
            place += 1
            value |= (byte & 127) << shift
            if byte < 128:
                self.place = place
                return value
        raise ValueError("a number of too many bytes")

    def zigzag(self) -> int:
        """The same with a sign in the last bit."""
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def byte(self) -> int:
        """The next byte."""
        place = self.place
        if place >= len(self.content):
            raise ValueError(_CUT_OFF)
        self.place = place + 1
        return self.content[place]

    def take(self, count: int) -> bytes:
        """The next bytes."""
        taken = self.content[self.place : self.place + count]
        if len(taken) < count:
            raise ValueError(_CUT_OFF)
        self.place += count
        return taken
