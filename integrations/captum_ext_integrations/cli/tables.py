"""Scores of several methods: one table, with tests where there are enough images for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from captum_ext.core.optional import require
from captum_ext.core.text import in_csv
from captum_ext.dataset import DatasetAttributions
from captum_ext.metrics import compare
from captum_ext_integrations.cli.messages import say_table, warn
from captum_ext_integrations.cli.methods import METRICS

_ABOUT_MEANS = ("n", "excluded", "mean", "ci_low", "ci_high", "difference", "better_on")
_OF_TESTS = ("p", "p_bonferroni", "p_holm", "cohens_d")


def scores_of(run: DatasetAttributions, metrics: Sequence[str]) -> Any:
    """A data frame of the metrics by index, without rows where no image has any."""
    pandas = require("pandas", "cli")
    if not len(run):
        return pandas.DataFrame(columns=list(metrics), index=pandas.Index([], dtype="int64"), dtype=float)
    return run.table(["index", *metrics]).to_pandas().set_index("index").astype(float)


def compared(scores: Mapping[str, Any], metrics: Sequence[str], control: str) -> Any:
    """One row for each metric and method, with the columns of `captum_ext.metrics.compare`.

    A metric that fewer than two images have for every method has means and no test; a warning names it.
    """
    pandas = require("pandas", "cli")
    rows: list[dict[str, Any]] = []
    for metric in metrics:
        columns = pandas.concat({name: table[metric] for name, table in scores.items()}, axis=1)
        values = {name: columns[name].to_numpy(dtype=float) for name in scores}
        if np.isfinite(columns.to_numpy(dtype=float)).all(1).sum() < 2:
            rows += _means(metric, values)
        else:
            comparison = compare(values, control, higher_is_better=METRICS[metric][0])
            rows += [{"metric": metric, **row} for row in comparison.table.reset_index().to_dict("records")]
    table = pandas.DataFrame(rows, columns=["metric", "method", *_ABOUT_MEANS, *_OF_TESTS])
    return table.astype({"better_on": "Int64"})


def as_csv(table: Any) -> bytes:
    """The table as a file; its names are no formulas of a spreadsheet, its numbers stay numbers."""
    text = {name: table[name].map(in_csv) for name in ("metric", "method")}
    content: str = table.assign(**text).to_csv(index=False)
    return content.encode()


def show(table: Any, control: str) -> None:
    """The table on the screen; of one method without the tests against it."""
    rows: list[list[str]] = []
    for _, row in table.iterrows():
        p = "" if row["method"] == control else _number(row["p_holm"], 2)
        interval = "" if np.isnan(row["ci_low"]) else f"{row['ci_low']:.3g} to {row['ci_high']:.3g}"
        rows.append([row["metric"], row["method"], f"{row['n']:.0f}", _number(row["mean"], 3), interval, p])
    head = ["metric", "method", "n", "mean", "95 % interval", f"p against {control} (Holm)"]
    n_columns = len(head) if table["method"].nunique() > 1 else len(head) - 1
    say_table(head[:n_columns], [row[:n_columns] for row in rows])


def _means(metric: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Means of the valid scores of each method, of which there are too few in common for a test."""
    rows = []
    for name, column in values.items():
        valid = column[np.isfinite(column)]
        mean = valid.mean() if len(valid) else np.nan
        rows.append(
            {"metric": metric, "method": name, "n": len(valid), "excluded": len(column) - len(valid), "mean": mean}
        )
    counts = ", ".join(f"{row['method']} {row['n']}" for row in rows)
    warn(
        f"Fewer than two images have a {metric} score with every method (images: {counts}). Its means are those of "
        "the images that each method has, without interval and test."
    )
    return rows


def _number(value: float, digits: int) -> str:
    return "none" if np.isnan(value) else f"{value:.{digits}g}"
