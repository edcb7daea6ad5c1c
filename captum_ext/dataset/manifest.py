"""The manifest of a run: written whole, with a checksum; read only if it fits that and a schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from captum_ext.core.atomic import replaced
from captum_ext.core.files import canonical, checked, json_of, read
from captum_ext.core.plain_checks import describe
from captum_ext.dataset.shard_files import indices_of_name
from captum_ext.exceptions import RunFolderError

#: The file of a run's folder that says what the others are.
MANIFEST = "manifest.json"
_FORMAT, _VERSION = "captum_ext.dataset", 2  # 1: without checksum and digests
_MOST_BYTES = 1 << 28
_MOST_SAMPLES = 10**9
_MOST_FAILURES = 50_000  # that are listed, each with so many characters of its error: so it can always be read
_MOST_CHARACTERS = 500

_Count = Annotated[int, Meta(ge=0, le=_MOST_SAMPLES)]
_ShardName = Annotated[str, Meta(pattern=r"^rows-[0-9a-zA-Z-]+\.parquet$", max_length=200)]
_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]


class ManifestDamagedError(RunFolderError):
    """A file that is no manifest, or not what was written."""


class Said(NamedTuple):
    """What a manifest says of samples: which have a row (n_samples,), which failed, and digests of shards by name."""

    done: NDArray[np.bool_]
    failures: list[dict[str, Any]]
    digests: dict[str, str | None]


class _Failure(Struct):
    index: _Count
    error: str
    name: str | None = None


class _Manifest(Struct):
    configuration: dict[str, Any]
    versions: dict[str, str]
    n_samples: _Count
    n_done: _Count
    done: list[tuple[_Count, _Count]]
    failures: list[_Failure]
    shards: dict[_ShardName, _Digest | None] = {}


class _Fields(Struct):
    fields: list[str] = []


def write_manifest(path: Path, content: dict[str, Any]) -> None:
    """Write what `_Manifest` has; of failures no more than can be read again."""
    failures = sorted(content["failures"], key=lambda entry: int(entry["index"]))[:_MOST_FAILURES]
    failures = [{name: _readable(value) for name, value in entry.items()} for entry in failures]
    content = {"format": _FORMAT, "version": _VERSION, **content, "failures": failures}
    with replaced(path) as temporary:
        temporary.write_text(json.dumps({**content, "checksum": checksum(content)}, indent=1), encoding="utf-8")


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest in a file.

    Raises:
        ManifestDamagedError: there is none, or it is not one, or not what was written.
        RunFolderError: a link or no file, larger than any manifest, or of a newer version.
    """
    try:
        manifest = json_of(read(path, RunFolderError, links=False, most=_MOST_BYTES))
    except (OSError, ValueError) as error:
        if isinstance(error, RunFolderError):
            raise
        raise ManifestDamagedError(f"{path} is not the manifest of a run: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise ManifestDamagedError(f"{path} is not the manifest of a run.")
    version = manifest.get("version")
    if isinstance(version, int) and version > _VERSION:
        raise RunFolderError(f"{path} was written by a newer version of captum_ext; update it to go on.")
    try:
        _check(manifest)
    except ValueError as error:
        message = f"{path} is damaged, or was changed by hand: {error}. Run again with the same settings to mend it."
        raise ManifestDamagedError(message) from error
    return manifest


def beside_others(manifest: dict[str, Any], said: Said, mine: NDArray[np.bool_], lost: Iterable[str]) -> Said:
    """What the manifest says of other ranks' samples, with what one rank says of its own.

    Of others' rows in shards that were `lost` it says nothing any more: they are done if these say so again.
    """
    others = np.zeros(len(mine), dtype=bool)
    for first, last in manifest["done"]:
        others[first : last + 1] = True
    for name in lost:
        others[indices_of_name(Path(name))] = False
    done: NDArray[np.bool_] = np.where(mine, said.done, others)
    failures = [one for one in manifest["failures"] if not mine[one["index"]] and not done[one["index"]]]
    digests = {name: one for name, one in manifest.get("shards", {}).items() if name not in lost}
    return Said(done, [*failures, *said.failures], {**digests, **said.digests})


def differences_of(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """What differs between two JSON values, by name."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{name}.{key}" if name else str(key)
            yield from differences_of(old.get(key), new.get(key), inner)
    elif old != new:
        yield f"{name} was {describe(old)}, now {describe(new)}"


def plain(configuration: dict[str, Any]) -> dict[str, Any]:
    """A configuration as it comes back from JSON in UTF-8."""
    text = json.dumps(configuration, ensure_ascii=False)
    return dict(json_of(text.encode("utf-8", "xmlcharrefreplace")))


def run_of(configuration: dict[str, Any], versions: dict[str, str]) -> str:
    """By what the shards of a run know that they are its own."""
    return _digest([configuration, versions])


def checksum(content: dict[str, Any]) -> str:
    """Of a manifest, but for the checksum in it."""
    return _digest({name: value for name, value in content.items() if name != "checksum"})


def _check(manifest: dict[str, Any]) -> None:
    """Raise a ValueError that says what is wrong, if something is."""
    version = checked(manifest.get("version"), Annotated[int, Meta(ge=1)])
    found = checked(manifest, _Manifest)
    checked(found.configuration, _Fields)
    expected = checksum(manifest)  # also where there is none: not every text can be written
    if version > 1 and manifest.get("checksum") != expected:
        raise ValueError("its checksum is that of another content")
    _check_ranges(found.done, found.n_samples)
    if sum(last - first + 1 for first, last in found.done) != found.n_done:
        raise ValueError("`done` has not as many samples as `n_done` says")
    if any(failure.index >= found.n_samples for failure in found.failures):
        raise ValueError("`failures` has a sample that the data set does not have")


def _check_ranges(done: Sequence[tuple[int, int]], n_samples: int) -> None:
    previous = -1
    for first, last in done:
        if not previous < first <= last < n_samples:
            raise ValueError(f"`done` has {[first, last]}, of {n_samples} samples in ascending order")
        previous = last


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()[:32]


def _readable(text: Any) -> Any:
    """A text that UTF-8 can say, and no longer than a manifest keeps; other values as they are."""
    if not isinstance(text, str):
        return text
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."
