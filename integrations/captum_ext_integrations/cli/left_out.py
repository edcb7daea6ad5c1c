"""Why a score does not count for every image: which image, which metric, which method, and the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from captum_ext.dataset import DatasetAttributions

_MOST_NAMED = 10
_CONSTANT = "the map is constant, so that it ranks no pixels"
_NOT_POSITIVE = "the score of the class is {score:.3g}: not positive, so that no share of it can be taken"
_OF_SHARES = ("diff_id",)  # metrics that divide by the score of the image


def reasons(runs: Mapping[str, DatasetAttributions], metrics: Sequence[str]) -> list[str]:
    """Lines: for each metric how many images count and why the others do not; nothing where all do.

    Args:
        runs: method -> its run, all over the same images.
        metrics: those that were computed.
    """
    n_images = max(int(run.manifest["n_samples"]) for run in runs.values())
    by_metric = {metric: _of_metric(runs, metric) for metric in metrics}
    lines = []
    for causes in dict.fromkeys(tuple(sorted(found.items())) for found in by_metric.values() if found):
        shared = [metric for metric, found in by_metric.items() if tuple(sorted(found.items())) == causes]
        lines.append(f"{', '.join(shared)}: {n_images - len(causes)} of {n_images} images count. The others:")
        lines += [f"  {text}" for _, text in causes[:_MOST_NAMED]]
        if len(causes) > _MOST_NAMED:
            lines.append(f"  and {len(causes) - _MOST_NAMED} more")
    return lines


def _of_metric(runs: Mapping[str, DatasetAttributions], metric: str) -> dict[int, str]:
    """Image -> its name, and which methods have no score of it, with the reason."""
    texts: dict[int, tuple[str, dict[str, list[str]]]] = {}
    for method, run in runs.items():
        for index, name, reason in _of_run(run, metric):
            texts.setdefault(index, (name, {}))[1].setdefault(reason, []).append(method)
    found = {}
    for index, (name, by_reason) in texts.items():
        parts = [
            reason if len(methods) == len(runs) else f"{', '.join(methods)}: {reason}"
            for reason, methods in by_reason.items()
        ]
        found[index] = f"{name}: {'; '.join(parts)}"
    return found


def _of_run(run: DatasetAttributions, metric: str) -> list[tuple[int, str, str]]:
    """Index, name and reason of the images without a score."""
    found = [(int(one["index"]), str(one.get("name") or one["index"]), str(one["error"])) for one in run.failures]
    if not len(run):
        return found
    table: Any = run.table().to_pydict()
    names = table.get("name", table["index"])
    for index, name, value, score in zip(table["index"], names, table[metric], table["score"], strict=True):
        if value is None or not np.isfinite(value):
            is_share = metric in _OF_SHARES and score is not None and score <= 0
            found.append((index, str(name), _NOT_POSITIVE.format(score=score) if is_share else _CONSTANT))
    return found
