"""Rows of all experiments together: from a run, or from a folder that was kept."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from captum_ext.core.atomic import replaced
from examples.benchmarks.engine.experiment import Experiment, Options, parts_of, store_of
from examples.benchmarks.engine.store import room_for

Rows = dict[str, pd.DataFrame]
_PICTURES = ["picture", "photograph"]
_TIMES = ["seconds"]  # the only column that differs between two runs


def rows_of(experiments: Sequence[Experiment], options: Options) -> Rows:
    """Rows of each experiment that has some."""
    tables = {one.name: store_of(one, options).all_rows(parts_of(one)) for one in experiments}
    return {name: rows for name, rows in tables.items() if len(rows)}


def commits_of(experiments: Sequence[Experiment], options: Options) -> list[str]:
    """Commits with which the parts were made."""
    commits = (store_of(one, options).origin(part)[0] for one in experiments for part in parts_of(one))
    return list(dict.fromkeys(commit for commit in commits if commit))


def places_of(experiment: Experiment, options: Options) -> str:
    """On what the parts of an experiment were made, and how many where that differs."""
    places = Counter(store_of(experiment, options).origin(part)[1] for part in parts_of(experiment))
    del places[""]
    return next(iter(places), "") if len(places) < 2 else ", ".join(f"{n} parts {name}" for name, n in places.items())


def accuracy_of(rows: pd.DataFrame) -> str:
    """How often the explained class, the network's first, is the label; nothing where there are no labels."""
    if not {"label", "target"} <= set(rows.columns):
        return ""
    samples = rows.drop_duplicates("sample").dropna(subset=["label", "target"])
    return f" ({100 * (samples['label'] == samples['target']).mean():.0f} % correct)" if len(samples) else ""


def digest(rows: Mapping[str, pd.DataFrame]) -> str:
    """A hash of every number but seconds: equal for two runs that agree bit by bit."""
    total = hashlib.sha256()
    for name in sorted(rows):
        table = rows[name].drop(columns=[*_PICTURES, *_TIMES], errors="ignore")
        columns = sorted(table.columns)
        keys = [column for column in ("network", "coarse", "grid", "cam", "method", "sample") if column in columns]
        ordered = table[columns].sort_values(keys, kind="stable")
        total.update(f"{name}{columns}".encode())
        for column in columns:
            total.update(repr([_plain(value) for value in ordered[column]]).encode())
    return total.hexdigest()[:16]


def _plain(value: Any) -> Any:
    return [float(entry) for entry in value] if hasattr(value, "__len__") and not isinstance(value, str) else str(value)


def keep(rows: Mapping[str, pd.DataFrame], about: Mapping[str, Any], folder: Path) -> None:
    """Write rows, without pictures, and where they come from."""
    with room_for(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in rows.items():
            small = table.drop(columns=_PICTURES, errors="ignore")
            with replaced(folder / f"{name}.parquet") as temporary:
                small.to_parquet(temporary, index=False, compression="zstd")
        with replaced(folder / "run.json") as temporary:
            temporary.write_text(json.dumps(about, indent=2) + "\n")


def kept(folder: Path) -> tuple[Rows, dict[str, Any]]:
    """What `keep` wrote.

    Raises:
        ValueError: there is no such folder of results.
    """
    try:
        about: dict[str, Any] = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"Expected a folder of results with run.json, but got {folder}: {error}") from error
    return {path.stem: pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}, about
