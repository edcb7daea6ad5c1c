"""Files of fitted references: safetensors with settings and a digest, versioned, written whole or not at all.

Nothing in such a file is executed, and what was read is no view of it: it may change or vanish afterwards.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import torch
from msgspec import Meta, Struct
from torch import Tensor

from captum_ext.core.atomic import remove_unfinished, replaced
from captum_ext.core.files import canonical, checked, json_of, opened
from captum_ext.core.fingerprints import digest
from captum_ext.exceptions import ReferenceFileError

MOST_BYTES = 1 << 32
_FORMAT = "captum_ext.ReferenceDistribution"
_VERSION = 1  # files without a digest are of version 0.1
_LARGEST_HEADER = 1 << 24
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # bytes of the numbers that references may have
_ID_SIZES = {"I64": 8, "I32": 4}  # references may be token ids

_Size = Annotated[int, Meta(ge=0, le=1 << 40)]
_Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class _Tensor(Struct):
    dtype: str
    shape: Annotated[list[_Size], Meta(max_length=32)]
    data_offsets: tuple[_Size, _Size]


class _Settings(Struct):
    sets: _Count
    n_inputs: _Count


def save_tensors(
    path: str | PathLike[str], tensors: dict[str, Tensor], settings: dict[str, Any], overwrite: bool
) -> None:
    """Write tensors and settings to `path`; the folder is made if there is none.

    Raises:
        FileExistsError: the path exists and `overwrite` is off, or it is no file.
        NotADirectoryError: there is a file where the folder has to be.
        OSError: it cannot be written; what was there is still there.
    """
    from safetensors.torch import save

    target = Path(path)
    if os.path.lexists(target) and not overwrite:
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace it.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(f"{target.parent} is not a folder, and cannot be made one.") from error
    remove_unfinished(target.parent, target.stem)  # of a process that was killed
    tensors = {name: _own(tensor) for name, tensor in tensors.items()}
    metadata = {"format": _FORMAT, "version": str(_VERSION), "settings": canonical(settings).decode()}
    content = save(tensors, {**metadata, "digest": _digest(tensors, metadata["settings"])})
    with replaced(target) as temporary:
        temporary.write_bytes(content)


def load_tensors(path: str | PathLike[str], max_bytes: int = MOST_BYTES) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and settings.

    Raises:
        FileNotFoundError: no such file.
        ReferenceFileError: damaged, truncated, no file of references, larger than `max_bytes`, or of a newer version.
    """
    from safetensors.torch import load

    if not os.path.lexists(path):
        raise FileNotFoundError(f"{path} is not a file.")
    hint = " Pass a larger `max_bytes` if you trust it."
    with opened(Path(path), ReferenceFileError, links=True, most=max_bytes, hint=hint) as file:
        with damaged_unless_consistent(path):
            header = _header(file)
            n_bytes = os.fstat(file.fileno()).st_size - len(header)
            metadata = _checked_header(path, header[8:], n_bytes)
        content = header + file.read(n_bytes)
    with damaged_unless_consistent(path):
        settings: dict[str, Any] = checked(
            json_of(metadata["settings"].encode()), dict[str, int | float | str | bool | None]
        )
        tensors: dict[str, Tensor] = load(content)
        found = _digest(tensors, metadata["settings"])
        if metadata.get("digest", found) != found:
            raise ValueError("it has not the digest that was written with it")
        _check_names(checked(settings, _Settings), tensors)
        return tensors, settings


@contextmanager
def damaged_unless_consistent(path: str | PathLike[str]) -> Iterator[None]:
    """Turn whatever reading meets in a bad file into a ReferenceFileError that names the file."""
    try:
        yield
    except ReferenceFileError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).rstrip('.')}"
        message = f"{path} is damaged or incomplete ({reason}). Put back a copy, or fit again."
        raise ReferenceFileError(message) from error


def _own(tensor: Tensor) -> Tensor:
    """A copy on the CPU that shares memory with no other tensor."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _digest(tensors: Mapping[str, Tensor], settings: str) -> str:
    return digest(*sorted(tensors.items()), ("settings", settings))


def _header(file: BinaryIO) -> bytes:
    """The beginning of a file, up to where its numbers begin. Raises a ValueError if it is too long."""
    length = file.read(8)
    size = int.from_bytes(length, "little")
    if len(length) < 8 or size > min(os.fstat(file.fileno()).st_size - 8, _LARGEST_HEADER):
        raise ValueError("a header longer than the file, or than any that was written")
    return length + file.read(size)


def _checked_header(path: str | PathLike[str], content: bytes, n_bytes: int) -> dict[str, str]:
    """The metadata of a file of which the tensors fill the `n_bytes` and have numbers that references may have.

    Raises:
        ReferenceFileError: a file of something else, or of a newer version.
        ValueError: another thing that is wrong.
    """
    header = checked(json_of(content), dict[str, Any])
    metadata: dict[str, str] = checked(header.pop("__metadata__", {}), dict[str, str])
    if metadata.get("format") != _FORMAT:
        raise ReferenceFileError(f"{path} holds no fitted references (format {metadata.get('format')!r}).")
    version = checked(metadata.get("version"), Annotated[str, Meta(pattern="^[1-9][0-9]{0,8}$")])
    if int(version) > _VERSION:
        raise ReferenceFileError(
            f"{path} was written by a newer version of captum_ext (file version {version}, this one reads up to "
            f"{_VERSION}). Update captum_ext to read it."
        )
    end = 0
    for name, tensor in checked(header, dict[str, _Tensor]).items():
        first, last = tensor.data_offsets
        end = max(end, last)
        sizes = {**_SIZES, **_ID_SIZES} if name.startswith("references.") else _SIZES
        if not 0 < math.prod(tensor.shape) * sizes.get(tensor.dtype, 0) == last - first:
            raise ValueError(f"{name!r} is {tensor.dtype} {tensor.shape} in bytes {first} to {last}")
    if end != n_bytes:
        raise ValueError(f"{n_bytes} bytes of numbers, where {end} are expected")
    return metadata


def _check_names(settings: _Settings, tensors: Mapping[str, Tensor]) -> None:
    """Raise a ValueError unless the tensors are those that the settings tell of."""
    if settings.sets * settings.n_inputs > len(tensors):
        raise ValueError(f"{len(tensors)} tensors, where {settings.sets} x {settings.n_inputs} references are told of")
    expected = {f"density.{i}" for i in range(settings.sets)} | {"centers"}
    expected |= {f"references.{i}.{k}" for i in range(settings.sets) for k in range(settings.n_inputs)}
    wrong = sorted(expected ^ (tensors.keys() - {"probe_outputs"}))
    if wrong:
        raise ValueError(f"{wrong[0]} is missing" if wrong[0] in expected else f"{wrong[0]!r} belongs to no references")
