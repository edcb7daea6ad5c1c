"""Rows of a run on disk: one parquet file for each part, written at once or not at all."""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from captum_ext.core.atomic import replaced

Row = dict[str, Any]
_SETTINGS, _COMMIT, _MADE = b"settings", b"commit", b"made"


@cache
def current_commit() -> str:
    """The commit of this checkout, with a mark where files differ from it."""
    folder = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True)
        changed = subprocess.run(
            ["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip()[:12] + (" with changes" if changed.stdout.strip() else "")


@cache
def made_on(device: str) -> str:
    """With which PyTorch and on what networks run, which rows do not say: they agree up to rounding."""
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device.upper()
    return f"torch {torch.__version__}, {name}"


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Say which file a full disk left no space for, and that nothing is lost."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        note = f"No space left for {path}. The parts that were finished are kept: free some and go on."
        raise OSError(errno.ENOSPC, note) from error


@dataclass(frozen=True)
class Store:
    """A folder of parts. A part counts only if its file is whole and was made with the same settings.

    Attributes:
        folder: where the files are.
        settings: what the rows depend on, as JSON takes it.
    """

    folder: Path
    settings: dict[str, Any]

    def path(self, part: str) -> Path:
        """File of a part, whose name is EXPERIMENT/PART."""
        return self.folder / f"{part}.parquet"

    def has(self, part: str) -> bool:
        """Whether the part is there, whole, and of these settings."""
        return self.rows(part) is not None

    def rows(self, part: str) -> pd.DataFrame | None:
        """The part's rows; None where it is missing, damaged, or was made with other settings."""
        try:
            table = pq.read_table(self.path(part))
        except (OSError, pa.ArrowException):
            return None
        metadata = table.schema.metadata or {}
        if metadata.get(_SETTINGS, b"").decode() != self._settings():
            return None
        return table.to_pandas()

    def origin(self, part: str) -> tuple[str, str]:
        """The commit with which a part was made, and on what (see `made_on`); nothing where it is not there."""
        try:
            metadata = pq.read_schema(self.path(part)).metadata or {}
        except (OSError, pa.ArrowException):
            return "", ""
        return metadata.get(_COMMIT, b"").decode(), metadata.get(_MADE, b"").decode()

    def save(self, part: str, rows: Iterable[Row], made: str) -> None:
        """Write a part, replacing what was there; `made` is what `origin` says of it."""
        table = pa.Table.from_pandas(pd.DataFrame(list(rows)), preserve_index=False)
        about = {_SETTINGS: self._settings().encode(), _COMMIT: current_commit().encode(), _MADE: made.encode()}
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **about})
        path = self.path(part)
        with room_for(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replaced(path) as temporary:
                pq.write_table(table, temporary)

    def all_rows(self, parts: Iterable[str]) -> pd.DataFrame:
        """The rows of the parts that are there, in the parts' order."""
        tables = [rows for rows in (self.rows(part) for part in parts) if rows is not None and len(rows)]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def _settings(self) -> str:
        return json.dumps(self.settings, sort_keys=True)
