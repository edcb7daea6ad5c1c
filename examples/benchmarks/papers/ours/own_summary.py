"""Rows of candidates as the table by which one is chosen."""

from __future__ import annotations

import pandas as pd

from examples.benchmarks.engine.networks import LITE

GAP, STABILITY = 0.05, 0.98


def objective(rows: pd.DataFrame) -> pd.Series:
    """The plan's sum for each row: insertion - deletion + DiffID, and the mean of that by the other networks."""
    own = rows["insertion"] - rows["deletion"] + rows["diff_id"]
    others = [name.rpartition("-")[2] for name in LITE if f"diff_id_{name.rpartition('-')[2]}" in rows]
    if not others:
        return own
    by_others = [rows[f"insertion_{one}"] - rows[f"deletion_{one}"] + rows[f"diff_id_{one}"] for one in others]
    return own + sum(by_others) / len(by_others)


def summary(rows: pd.DataFrame) -> str:
    """Means for each candidate, the largest objective first."""
    table = rows.assign(objective=objective(rows))
    worst = table.groupby("method")["gap"].max()
    means = table.drop(columns=["sample", "target"]).groupby("method").mean()
    means["gap"] = worst
    means["eligible"] = (means["gap"] <= GAP) & (means["stability"] >= STABILITY)
    first = ["objective", "stability", "gap", "eligible", "cost"]
    ordered = means[[*first, *[column for column in means if column not in first]]]
    with pd.option_context("display.max_columns", None, "display.width", 250):
        return f"{table['sample'].nunique()} images\n{ordered.sort_values('objective', ascending=False).round(3)}"
