"""Several methods on the same inputs: means with intervals, and paired tests against a control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from captum_ext.core.checks import MOST_STEPS, check_number, check_positive_int, check_seed, describe
from captum_ext.core.optional import require
from captum_ext.core.text import in_markdown
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.metrics.curves import PerturbationCurve

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_EXTRA = "compare"
_ROUNDING = 1e-12  # of differences, relative to the scores: below it they do not vary
_RESAMPLED = 2_000_000  # numbers of a bootstrap in memory at once


@dataclass(frozen=True)
class Comparison:
    """What `compare` returns.

    Attributes:
        table: a pandas DataFrame, one row for each method (see `compare` for its columns).
        scores: method -> (n,) scores of the samples that count for all methods.
        control: the method that the others are compared with.
        higher_is_better: direction of the scores.
        curves: method -> (fractions, mean scores) where curves were given.
    """

    table: pd.DataFrame
    scores: dict[str, NDArray[np.float64]]
    control: str
    higher_is_better: bool
    curves: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict)

    def to_markdown(self, digits: int = 3) -> str:
        """The table in markdown.

        Args:
            digits: significant digits of its numbers.
        """
        header = ["method", *self.table.columns]
        lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
        for method, row in self.table.iterrows():
            cells = [in_markdown(method), *(_cell(value, digits) for value in row)]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def plot(self) -> Figure:
        """Mean curves (where there are any), scores, and paired differences from the control with their mean.

        `captum_ext.visualize.show_scores` draws it, which takes several comparisons, too.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from captum_ext.visualize import show_scores  # here, since whoever compares need not draw

        return show_scores({"score": self})


def compare(
    scores: Mapping[str, Any],
    control: str,
    *,
    higher_is_better: bool | None = None,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare methods on the same samples with a control: intervals, paired tests, corrections, effect sizes.

    A sample counts only if its score is finite (and valid) for every method, so that all means are over the same
    samples. Nothing is called better here: read n, the interval and the corrected p together.

    Columns of the table:
        n, excluded: samples that count, and those that do not.
        mean, ci_low, ci_high: mean and its bootstrap interval (BCa; scipy).
        difference: mean of the paired differences from the control.
        better_on: samples on which the method is strictly better than the control.
        p, p_bonferroni, p_holm: paired Wilcoxon signed-rank test, two-sided (scipy), and corrected for the number of
            methods compared (statsmodels); 1 where all differences are zero.
        cohens_d: mean of the paired differences over their standard deviation (d_z); NaN where they do not vary.

    Args:
        scores: method -> scores (N,) as an array, tensor or list, or a `PerturbationCurve`, whose areas are compared.
        control: name of the method that the others are compared with.
        higher_is_better: direction; None: as the curves say, else True.
        confidence: of the intervals.
        n_resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ArgumentError: an unknown control, numbers of samples that differ, or fewer than two that count.
        MissingExtraError: pandas, scipy or statsmodels is not installed (extra "compare").

    Example:
        >>> from captum_ext.metrics import compare
        >>> comparison = compare({"IG": [1.0, 2.0, 3.0, 4.0], "LPI": [1.5, 2.5, 3.0, 5.0]}, control="IG")
        >>> comparison.table.loc["LPI", ["n", "difference", "better_on"]].tolist()
        [4.0, 0.5, 3.0]
    """
    pandas = require("pandas", _EXTRA)
    if not isinstance(scores, Mapping) or not scores:
        raise ArgumentTypeError("scores", "a mapping from methods to their scores", describe(scores))
    if not isinstance(control, str) or control not in scores:
        raise ArgumentError("control", "one of " + ", ".join(map(str, scores)), describe(control))
    n_resamples = check_positive_int("n_resamples", n_resamples, MOST_STEPS)
    confidence = check_number("confidence", confidence, "a number between 0 and 1", lambda value: 0 < value < 1)
    seed = check_seed("seed", seed)
    directions = {value.higher_is_better for value in scores.values() if isinstance(value, PerturbationCurve)}
    if len(directions) > 1:
        raise ArgumentError(
            "scores", "curves of one direction", "some of which higher and some of which lower is better"
        )
    if higher_is_better is not None and not isinstance(higher_is_better, bool | np.bool_):
        raise ArgumentTypeError("higher_is_better", "True, False or None", describe(higher_is_better))
    if higher_is_better is not None and directions and bool(higher_is_better) not in directions:
        raise ArgumentError("higher_is_better", f"{not higher_is_better}, as the curves say", str(higher_is_better))
    higher = directions.pop() if directions else higher_is_better is None or bool(higher_is_better)
    columns = {name: _scores_of(name, value) for name, value in scores.items()}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        sizes = {name: len(column) for name, column in columns.items()}
        raise ArgumentError("scores", "of the same samples for every method", f"numbers of samples {sizes}")
    counts = np.logical_and.reduce([np.isfinite(column) for column in columns.values()])
    if counts.sum() < 2:
        raise ArgumentError("scores", "defined for at least two samples in every method", f"{int(counts.sum())}")
    kept = {name: column[counts] for name, column in columns.items()}
    rows = {
        name: _summary(kept[name], kept[control], name == control, higher, confidence, n_resamples, seed)
        | {"excluded": int((~counts).sum())}
        for name in kept
    }
    _correct(rows, control)
    order = ["n", "excluded", "mean", "ci_low", "ci_high", "difference", "better_on"]
    order += ["p", "p_bonferroni", "p_holm", "cohens_d"]
    table = pandas.DataFrame.from_dict(rows, orient="index")[order]
    table.index.name = "method"
    curves = {
        name: _mean_curve(value, counts) for name, value in scores.items() if isinstance(value, PerturbationCurve)
    }
    return Comparison(table, kept, control, higher, curves)


def _scores_of(name: str, value: Any) -> NDArray[np.float64]:
    """Scores (N,) with NaN where they do not count."""
    if isinstance(value, PerturbationCurve):
        value = torch.where(value.valid, value.auc, torch.nan)
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().double().numpy()
    try:
        column = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(f"scores[{name!r}]", "numbers or a PerturbationCurve", describe(value)) from error
    if column.ndim != 1:
        raise ArgumentError(f"scores[{name!r}]", "one number for each sample, (N,)", f"shape {column.shape}")
    return column


def _summary(
    scores: NDArray[np.float64],
    control: NDArray[np.float64],
    is_control: bool,
    higher: bool,
    confidence: float,
    n_resamples: int,
    seed: int,
) -> dict[str, Any]:
    low, high = _interval(scores, confidence, n_resamples, seed)
    row: dict[str, Any] = {"n": len(scores), "mean": scores.mean(), "ci_low": low, "ci_high": high}
    if is_control:
        return row | {"difference": np.nan, "better_on": None, "p": np.nan, "cohens_d": np.nan}
    difference = scores - control
    spread = difference.std(ddof=1)
    varies = spread > _ROUNDING * max(np.abs(scores).max(), np.abs(control).max())
    return row | {
        "difference": difference.mean(),
        "better_on": int((difference > 0 if higher else difference < 0).sum()),
        "p": _wilcoxon(difference),
        "cohens_d": difference.mean() / spread if varies else np.nan,
    }


def _interval(values: NDArray[np.float64], confidence: float, n_resamples: int, seed: int) -> tuple[float, float]:
    if np.ptp(values) <= _ROUNDING * np.abs(values).max():
        return float(values.min()), float(values.max())  # all resamples are alike
    stats = require("scipy.stats", _EXTRA)
    result = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=confidence,
        n_resamples=n_resamples,
        method="BCa",
        vectorized=True,
        batch=max(1, _RESAMPLED // len(values)),
        random_state=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _wilcoxon(difference: NDArray[np.float64]) -> float:
    changed = difference[difference != 0]  # as Wilcoxon does; versions of scipy differ in what they say
    if len(changed) == 0:
        return 1.0
    return float(require("scipy.stats", _EXTRA).wilcoxon(changed).pvalue)


def _correct(rows: dict[str, dict[str, Any]], control: str) -> None:
    """Add corrected p-values to all rows but the control's."""
    tested = [name for name in rows if name != control]
    rows[control] |= {"p_bonferroni": np.nan, "p_holm": np.nan}
    if len(tested) < 2:
        for name in tested:  # nothing to correct
            rows[name] |= {"p_bonferroni": rows[name]["p"], "p_holm": rows[name]["p"]}
        return
    multitest = require("statsmodels.stats.multitest", _EXTRA)
    for method in ("bonferroni", "holm"):
        corrected = multitest.multipletests([rows[name]["p"] for name in tested], method=method)[1]
        for name, value in zip(tested, corrected, strict=True):
            rows[name][f"p_{method}"] = float(value)


def _mean_curve(curve: PerturbationCurve, counts: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scores = curve.scores.detach().cpu().double().numpy()[counts]
    return curve.fractions.detach().cpu().double().numpy(), scores.mean(0)


def _cell(value: Any, digits: int) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.{digits}g}"
    return f"{int(value)}"
