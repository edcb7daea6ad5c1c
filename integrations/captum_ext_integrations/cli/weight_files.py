"""Files of weights: what their headers say is checked before anything of their size is made."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from safetensors import torch as safetensors

from captum_ext.core.regular_files import MAX_WEIGHTS_MB, limit_of
from captum_ext_integrations.cli.pickle_headers import Header, Other, Stored, header_of_pickle, skip_pickle

_TORCH = tuple(int(part) for part in torch.__version__.split(".")[:2])
_MOST_UNPACKED = 4  # times the size of the file, or of the model
_LEAST_UNPACKED = 2**24
_MOST_HEADER = 2**24  # bytes of names and shapes
_MAGIC = 0x1950A86A20F9469CFC6C  # of torch.save before version 1.6
_END, _LOCATOR, _END_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")


@dataclass(frozen=True)
class WeightFile:
    """A file of weights, as safetensors or torch.save writes it.

    Attributes:
        file: open for reading, from its beginning.
        suffix: of its name; .safetensors says what it is.
        model_bytes: what the model's own tensors take.
        max_bytes: see `load_weights`.
    """

    file: BinaryIO
    suffix: str
    model_bytes: int
    max_bytes: int | None = None

    def header(self) -> Header:
        """What the file says it holds: of a state dict a mapping from names to `Stored`.

        Raises:
            Exception: whatever is wrong with the file, in words.
        """
        if self.suffix == ".safetensors":
            return Header(_header_of_safetensors(self._start(), self._size()), {}, {})
        if self._start().read(4) == b"PK\x03\x04":
            return self._header_of_archive()
        return _header_of_old_file(self._start(), self._size())

    def read(self, header: Header) -> Any:
        """What the file holds; no tensor shares memory with it. Classes of others are what stands for them.

        Raises:
            Exception: whatever is wrong with the file, in words.
        """
        if self.suffix == ".safetensors":
            return safetensors.load(self._start().read())
        with _standing_in(header.others):
            return torch.load(self._start(), "cpu", weights_only=True)

    def _start(self) -> BinaryIO:
        self.file.seek(0)
        return self.file

    def _size(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    def _header_of_archive(self) -> Header:
        """Of what torch.save writes: an archive with a pickle, and with the tensors' bytes beside it."""
        _check_end(self.file, self._size())
        with zipfile.ZipFile(self.file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            if len({name.casefold() for name in entries}) < len(archive.infolist()):
                raise ValueError("an archive in which a name is there twice")
            self._check_unpacked(sum(entry.file_size for entry in entries.values()))
            folder = next(iter(entries)).partition("/")[0]
            pickled = entries.get(f"{folder}/data.pkl")
            if pickled is None or pickled.file_size > _MOST_HEADER:
                raise ValueError("an archive that torch.save did not write: it has no small data.pkl")
            if f"{folder}/constants.pkl" in entries:
                raise ValueError("a TorchScript archive, which is a program; save its state_dict() instead")
            header = header_of_pickle(io.BytesIO(archive.read(pickled)))
            for key, n_bytes in header.stored.items():
                entry = entries.get(f"{folder}/data/{key}")
                if entry is None or entry.file_size < n_bytes:
                    raise ValueError(f"the data of tensor {key}, which should have {n_bytes} bytes, are not all there")
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is another: the file is damaged")
        return header

    def _check_unpacked(self, n_bytes: int) -> None:
        deserved = max(_MOST_UNPACKED * max(self._size(), self.model_bytes), _LEAST_UNPACKED)
        most = max(deserved, limit_of(MAX_WEIGHTS_MB, 0, 2**20)) if self.max_bytes is None else self.max_bytes
        if n_bytes > most:
            raise ValueError(
                f"its {self._size()} bytes unpack to {n_bytes}, and at most {most} are expected. "
                f"{MAX_WEIGHTS_MB}={n_bytes // 2**20 + 1} in the environment reads it"
            )


@contextmanager
def _standing_in(others: Mapping[str, type[Other]]) -> Iterator[None]:
    """What torch.load takes for classes that a file names and that are nothing to us."""
    if not others:
        yield
        return
    if _TORCH < (2, 6):  # which takes no names for what stands in
        raise ValueError(
            f"it names {next(iter(others))}, which is no weight and stops torch before version 2.6; save its state "
            "dict alone"
        )
    with torch.serialization.safe_globals([(other, name) for name, other in others.items()]):
        yield


def _check_end(file: BinaryIO, size: int) -> None:
    """Refuse archives in which two readers may find two lists of content: with something before or behind it."""
    file.seek(max(0, size - _END.size - _LOCATOR.size - _END_64.size))
    tail = file.read()
    end = _END.unpack(tail[-_END.size :])
    n_bytes, place = end[5:7]
    expected = size - _END.size
    if tail[-_END.size - _LOCATOR.size :].startswith(b"PK\x06\x07"):
        expected -= _LOCATOR.size + _END_64.size
        locator = _LOCATOR.unpack(tail[-_END.size - _LOCATOR.size : -_END.size])
        if locator[2] != expected:
            raise ValueError("an archive that torch.save did not write: its end is in another place")
        n_bytes, place = _END_64.unpack(tail[: _END_64.size])[8:10]
    if end[0] != b"PK\x05\x06" or end[7] or n_bytes + place != expected:
        raise ValueError("an archive that is cut off, or that torch.save did not write")
    file.seek(0)


def _header_of_old_file(file: BinaryIO, size: int) -> Header:
    """Of what torch.save wrote before version 1.6: five pickles, and the tensors' bytes behind them."""
    start = io.BytesIO(file.read(_MOST_HEADER))
    try:
        magic = header_of_pickle(start).content
    except Exception as error:  # bytes of anything
        raise ValueError(f"neither an archive nor a pickle of torch.save ({error})") from error
    if magic != _MAGIC:
        raise ValueError("a pickle that torch.save did not write")
    for _ in ("version of the format", "numbers of the machine"):
        skip_pickle(start)
    header = header_of_pickle(start)
    n_bytes = sum(header.stored.values())
    if n_bytes > size:
        raise ValueError(f"its tensors should have {n_bytes} bytes, but the file has {size}")
    return header


def _header_of_safetensors(file: BinaryIO, size: int) -> dict[str, Stored]:
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(size - 8, _MOST_HEADER):
        raise ValueError("no safetensors: its header is longer than the file, or than 16 MB")
    header = json.loads(file.read(length))
    shapes = {key: entry["shape"] for key, entry in header.items() if key != "__metadata__"}
    if not all(type(side) is int for shape in shapes.values() for side in shape):
        raise ValueError("no safetensors: shapes that are no numbers")
    return {key: Stored(tuple(shape)) for key, shape in shapes.items()}
