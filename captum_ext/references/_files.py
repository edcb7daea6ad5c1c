"""Files of fitted references: safetensors with settings, versioned, written whole or not at all, without pickle."""

from __future__ import annotations

import json
import os
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from captum_ext.exceptions import ReferenceFileError

_FORMAT = "captum_ext.ReferenceDistribution"
_VERSION = 1


def save_tensors(
    path: str | PathLike[str], tensors: dict[str, Tensor], settings: dict[str, int], overwrite: bool
) -> None:
    """Write tensors and settings to `path`.

    Raises:
        FileExistsError: the path exists and `overwrite` is off.
    """
    from safetensors.torch import save_file

    target = Path(path)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace it.")
    metadata = {"format": _FORMAT, "version": str(_VERSION), "settings": json.dumps(settings)}
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def load_tensors(path: str | PathLike[str]) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Read tensors and settings, and check that they belong together.

    Raises:
        FileNotFoundError: no such file.
        ReferenceFileError: damaged, truncated, not a reference file, or of a newer version.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is not a file.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise ReferenceFileError(f"{path} holds no fitted references (format {metadata.get('format')!r}).")
            if int(metadata.get("version", "0")) > _VERSION:
                raise ReferenceFileError(
                    f"{path} was written by a newer version of captum_ext (file version {metadata['version']}, "
                    f"this one reads up to {_VERSION}). Update captum_ext to read it."
                )
            settings = json.loads(metadata["settings"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        _check_contents(tensors, settings)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, ReferenceFileError):
            raise
        raise ReferenceFileError(f"{path} is damaged or incomplete: {error!r}.") from error
    return tensors, settings


def _check_contents(tensors: dict[str, Tensor], settings: dict[str, int]) -> None:
    if len(tensors["centers"]) != settings["sets"]:
        raise ValueError("as many centres as sets of references are needed")
    for i in range(settings["sets"]):
        density = tensors[f"density.{i}"]
        if not torch.isclose(density.sum(), torch.ones(()), atol=1e-4):
            raise ValueError(f"densities of set {i} do not sum to one")
        if any(len(tensors[f"references.{i}.{k}"]) != len(density) for k in range(settings["n_inputs"])):
            raise ValueError(f"set {i} has not one density for each reference")
