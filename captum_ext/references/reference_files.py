"""Files of fitted references: safetensors with settings, versioned, written whole or not at all, without pickle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from torch import Tensor

from captum_ext.core.atomic import replaced
from captum_ext.exceptions import ReferenceFileError

_FORMAT = "captum_ext.ReferenceDistribution"
_VERSION = 1


def save_tensors(
    path: str | PathLike[str], tensors: dict[str, Tensor], settings: dict[str, int], overwrite: bool
) -> None:
    """Write tensors and settings to `path`.

    Raises:
        FileExistsError: the path exists and `overwrite` is off.
        FileNotFoundError: the folder does not exist.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    target = Path(path)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace it.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target.parent} is not a folder.")
    metadata = {"format": _FORMAT, "version": str(_VERSION), "settings": json.dumps(settings)}
    with replaced(target) as temporary:
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)
        except SafetensorError as error:  # a full disk, for one
            raise OSError(f"{target} could not be written: {error}") from error


def load_tensors(path: str | PathLike[str]) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Read tensors and settings.

    Raises:
        FileNotFoundError: no such file.
        ReferenceFileError: damaged, truncated, not a reference file, or of a newer version.
    """
    from safetensors import safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is not a file.")
    with damaged_unless_consistent(path), safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != _FORMAT:
            raise ReferenceFileError(f"{path} holds no fitted references (format {metadata.get('format')!r}).")
        if int(metadata.get("version", "0")) > _VERSION:
            raise ReferenceFileError(
                f"{path} was written by a newer version of captum_ext (file version {metadata['version']}, "
                f"this one reads up to {_VERSION}). Update captum_ext to read it."
            )
        settings: dict[str, int] = json.loads(metadata["settings"])
        return {name: file.get_tensor(name) for name in file.keys()}, settings  # noqa: SIM118 (not a dict)


@contextmanager
def damaged_unless_consistent(path: str | PathLike[str]) -> Iterator[None]:
    """Turn whatever reading meets in a bad file into a ReferenceFileError that names the file."""
    from safetensors import SafetensorError

    try:
        yield
    except ReferenceFileError:
        raise
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ReferenceFileError(f"{path} is damaged or incomplete ({type(error).__name__}: {error}).") from error
