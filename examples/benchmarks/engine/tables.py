"""Tables over the rows of a run: every number with its interval, its paired test, and what it cost."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from captum_ext.metrics import Comparison, compare

_MOST_DEFINED = 0.9  # a method needs numbers on this share of the control's samples to be compared


@dataclass(frozen=True)
class Metric:
    """A column of the rows.

    Attributes:
        title: for readers.
        higher_is_better: its direction.
        meaning: its definition.
    """

    title: str
    higher_is_better: bool
    meaning: str


_RANGE = "logits as (s - low) / (F(x) - low), low the score of the baseline"
METRICS = {
    "insertion": Metric("insertion", True, f"Area, from the blurred image. Path methods: {_RANGE}; CAMs: probability."),
    "deletion": Metric("deletion", False, f"Area, to zero. Path methods: {_RANGE}; CAMs: probability."),
    "deletion_corners": Metric("deletion (WG)", False, f"Area, to the mean colour of the corners. {_RANGE}."),
    "insertion_mean": Metric("insertion (LPI)", True, "Area of F / F(x); missing pixels are the mean of those kept."),
    "deletion_mean": Metric("deletion (LPI)", False, "Area of F / F(x); missing pixels are the mean of those kept."),
    "diff_id": Metric("DiffID", True, "Area of (F without the least - F without the most important) / F(x)."),
    "diff_id_accuracy": Metric("DiffID, accuracy", True, "The same of whether the class is still first."),
    "sensitivity_5": Metric("Sensitivity-N, 5 %", True, "Correlation of sums and changes over sets of 5 % of pixels."),
    "sensitivity_25": Metric("Sensitivity-N, 25 %", True, "The same with 25 % of the pixels."),
    "sensitivity_60": Metric("Sensitivity-N, 60 %", True, "The same with 60 % of the pixels."),
    "gap": Metric("gap", False, "|sum of attributions - difference of scores|."),
    "variance": Metric("Var(A)", True, "Variance of the pixels' attributions; comparable where their sums are."),
    "relative_gap": Metric("gap / difference", False, "The gap over the difference of scores."),
    "iou": Metric("IoU", True, "The |mask| largest pixels against the mask."),
    "iou_best": Metric("IoU, best threshold", True, "IoU at the threshold that suits the map best."),
    "concentration": Metric("concentration", True, "Share of the positive mass inside the mask."),
    "pointing_game": Metric("pointing game", True, "Share of the largest pixels inside the mask."),
    "pixel_flipping": Metric("pixel flipping", False, "Area of the probability, most important pixels to black first."),
    "road": Metric("ROAD", False, "Mean probability without the most important 10, 30, 60 % of pixels, imputed."),
    "irof": Metric("IROF", True, "Area over the probability, segments to the mean colour, most important first."),
    "monotonicity": Metric("monotonicity", True, "Rank correlation of ten groups' attribution and squared change."),
    "sparseness": Metric("sparseness", True, "Gini index; random scores raise it, too."),
    "infidelity": Metric("Infidelity, as it is", False, "Squares of 56 pixels to black, logit; depends on scale."),
    "infidelity_by_maximum": Metric("Infidelity, map / maximum", False, "The same of the map over its maximum."),
    "infidelity_by_mass": Metric("Infidelity, map / mass", False, "The same of the map over its sum."),
    "infidelity_unexplained": Metric(
        "Infidelity, unexplained", False, "Share of the squared change that no multiple of the map explains."
    ),
    "d1_error": Metric("D1 error", False, "Mass displaced between the cells of a 7 x 7 grid, over the whole mass."),
}
_LITE = ("lite0", "lite1", "lite2")
METRICS |= {
    **{
        f"ins_del_{name}": Metric(f"ins - del, {name}", True, f"insertion - deletion as {name} scores the images.")
        for name in _LITE
    },
    **{f"diff_id_{name}": Metric(f"DiffID, {name}", True, f"DiffID as {name} scores the images.") for name in _LITE},
    **{
        f"gain_{name}": Metric(
            f"gain, {name}", True, f"Logits by which {name} puts the best inserted part of the image above the whole."
        )
        for name in _LITE
    },
    "ins_del_zero": Metric("ins - del, zero", True, "insertion - deletion, both with the mean colour."),
    "ins_del_black": Metric("ins - del, black", True, "insertion - deletion, both with black."),
    "ins_del_noise1": Metric("ins - del, noise 1", True, "insertion - deletion with Gaussian noise of 1 grey level."),
    "ins_del_noise8": Metric("ins - del, noise 8", True, "insertion - deletion with Gaussian noise of 8 grey levels."),
    "stability": Metric("stability", True, "Rank correlation with the map of the same image with other last digits."),
    "mosaic_concentration": Metric("mosaic, mass", True, "Share of the positive mass in the quarter with the class."),
    "mosaic_pointing_game": Metric("mosaic, pointing", True, "Share of the largest pixels in that quarter."),
}


@dataclass(frozen=True)
class View:
    """A table that somebody wants to see.

    Attributes:
        key: its anchor on the page.
        title: what it shows, with the paper's table.
        experiment: where its rows are.
        metrics: its columns.
        control: with which the other methods are compared.
        methods: in order; None: all.
        select: column -> value of the rows that count.
        note: what to know when reading.
        plotted: the metric whose scores and differences are drawn; None: not drawn.
        curve: name of a curve, without "_curve", that is drawn.
    """

    key: str
    title: str
    experiment: str
    metrics: tuple[str, ...]
    control: str
    methods: tuple[str, ...] | None = None
    select: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    plotted: str | None = None
    curve: str | None = None

    def rows(self, all_rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """The rows that count, those of methods that failed on an image included."""
        rows = all_rows.get(self.experiment, pd.DataFrame())
        for column, value in self.select.items():
            if column in rows:
                rows = rows[rows[column] == value]
        if self.methods is not None and len(rows):
            rows = rows[rows["method"].isin(self.methods)]
        return rows


@dataclass(frozen=True)
class Table:
    """A view filled in.

    Attributes:
        view: what was asked for.
        comparisons: metric -> what `compare` found.
        methods: those that ran, in order.
        costs: method -> mean gradients, forwards and seconds for an image.
        failed: method -> images on which it failed.
        curves: method -> mean curve.
    """

    view: View
    comparisons: dict[str, Comparison]
    methods: list[str]
    costs: dict[str, dict[str, float]]
    failed: dict[str, int]
    curves: dict[str, list[float]]


def scores_by_method(rows: pd.DataFrame, metric: str, methods: Sequence[str]) -> dict[str, np.ndarray]:
    """Scores by method, of the same samples in the same order; NaN where a method failed or is not defined."""
    table = rows.pivot(index="sample", columns="method", values=metric).sort_index()
    return {method: table[method].to_numpy(np.float64) for method in methods if method in table}


def signed_ranks(difference: np.ndarray) -> float:
    """Wilcoxon's sum of signed ranks: the direction that its test sees, which a few samples cannot turn round."""
    changed = difference[difference != 0]
    return float((np.sign(changed) * rankdata(np.abs(changed))).sum())


def fill(view: View, all_rows: Mapping[str, pd.DataFrame], n_resamples: int = 10_000) -> Table | None:
    """The table of a view; None where it has no rows (yet)."""
    rows = view.rows(all_rows)
    if not len(rows):
        return None
    present = list(dict.fromkeys(rows["method"]))
    methods = [method for method in view.methods or present if method in present]
    comparisons = dict(_comparisons(view, rows, methods, n_resamples))
    failed = rows[rows["error"].notna()].groupby("method").size().to_dict() if "error" in rows else {}
    counted = rows.reindex(columns=["method", "gradients", "forwards", "seconds"])
    costs = counted.groupby("method").mean().to_dict("index")
    curves: dict[str, list[float]] = {}
    if view.curve is not None and f"{view.curve}_curve" in rows:
        for method, group in rows[rows[f"{view.curve}_curve"].notna()].groupby("method"):
            kept = group[group[view.curve].notna()]
            if len(kept):
                curves[method] = np.stack(kept[f"{view.curve}_curve"].to_list()).mean(0).tolist()
    return Table(view, comparisons, methods, costs, failed, curves)


def _comparisons(
    view: View, rows: pd.DataFrame, methods: Sequence[str], n_resamples: int
) -> Iterator[tuple[str, Comparison]]:
    for metric in view.metrics:
        if metric not in rows:
            continue
        scores = scores_by_method(rows, metric, methods)
        if view.control not in scores:
            continue
        least = _MOST_DEFINED * np.isfinite(scores[view.control]).sum()  # one sparse method would leave out all others'
        scores = {method: values for method, values in scores.items() if np.isfinite(values).sum() >= max(least, 1)}
        if view.control not in scores or np.logical_and.reduce([np.isfinite(v) for v in scores.values()]).sum() < 2:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # two samples have no interval
            yield (
                metric,
                compare(
                    scores,
                    view.control,
                    higher_is_better=METRICS[metric].higher_is_better,
                    n_resamples=n_resamples,
                ),
            )
