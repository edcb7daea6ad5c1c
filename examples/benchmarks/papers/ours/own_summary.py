"""Rows of candidates as the table by which one is chosen."""

from __future__ import annotations

import pandas as pd

from examples.benchmarks.engine.networks import LITE

GAP, STABILITY = 0.05, 0.98
LITE_SUFFIXES = tuple(name.rpartition("-")[2] for name in LITE)
_COLUMNS = {
    "objective": "value",
    "own": "own network",
    "transfer": "transfer",
    "insertion": "insertion",
    "deletion": "deletion",
    "diff_id": "DiffID",
    "road": "ROAD",
    "pixel_flipping": "flipping",
    "stability": "stability",
    "cost": "cost",
}


def scored(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the terms of the plan's sum and the sum: insertion - deletion + DiffID, by the own network and by
    the mean of the others, where they have scored.
    """
    own = rows["insertion"] - rows["deletion"] + rows["diff_id"]
    others = [one for one in LITE_SUFFIXES if f"diff_id_{one}" in rows]
    sums = [rows[f"insertion_{one}"] - rows[f"deletion_{one}"] + rows[f"diff_id_{one}"] for one in others]
    transfer = sum(sums) / len(sums) if sums else 0 * own
    return rows.assign(own=own, transfer=transfer, objective=own + transfer)


def table(rows: pd.DataFrame) -> str:
    """Means for each candidate as Markdown, the largest value first; eligible ones are marked.

    Over images on which every number of the value is defined for every candidate; gap and stability are over all.
    """
    with_sums = scored(rows)
    least, worst = (
        with_sums.groupby("method")["stability"].min(),
        with_sums.groupby("method")["gap"].max(),
    )
    stability = with_sums.groupby("method")["stability"].mean()
    undefined = with_sums.loc[with_sums["objective"].isna(), "sample"].unique()
    with_sums = with_sums[~with_sums["sample"].isin(undefined)]
    means = with_sums.groupby("method")[list(_COLUMNS)].mean()
    means["stability"], means["least"], means["gap"] = stability, least, worst
    n, m = with_sums["sample"].nunique(), rows["sample"].nunique()
    lines = [f"Means over {n} of {m} images, the others not having a number for every criterion.", ""]
    lines += [f"| candidate | {' | '.join(_COLUMNS.values())} | least stability | largest gap |"]
    lines += [f"| {'--- | ' * (len(_COLUMNS) + 3)}"]
    for name, row in means.sort_values("objective", ascending=False, kind="stable").iterrows():
        eligible = row["gap"] <= GAP and row["stability"] >= STABILITY
        cells = [f"{row[column]:.2f}" if column != "cost" else f"{row[column]:.1f}" for column in _COLUMNS]
        gap = "not asked" if pd.isna(row["gap"]) else f"{row['gap']:.3g}"
        lines.append(f"| {f'**{name}**' if eligible else name} | {' | '.join(cells)} | {row['least']:.3f} | {gap} |")
    return "\n".join(line.strip() for line in lines)
