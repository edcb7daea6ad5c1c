"""Upsamplers against bilinear interpolation with every CAM method, all metrics of faithfulness together."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon
from statsmodels.stats.multitest import multipletests

from examples.benchmarks.engine.claims import LEVEL, Fact, Finding, Kind, Rows
from examples.benchmarks.engine.tables import METRICS, scores_by_method, signed_ranks
from examples.benchmarks.papers.usu.faithfulness import CAMS

#: Of what a map says about the network, whatever its scale is: neither Infidelity as it is nor sparseness.
FAITHFULNESS = ("infidelity_unexplained", "pixel_flipping", "road", "irof", "monotonicity")
FAITHFULNESS += ("insertion", "deletion", "diff_id")
_EXPERIMENT = "usu-faithfulness-imagenet20"
_PRODUCT = "bilinear x score map"


def facts() -> list[Fact]:
    """Whether any upsampler is more faithful with any CAM. The paper's Table 8 has their Infidelity only."""
    return [_better_with_some_cam(method) for method in ("USU, paper", "IWMR, paper", "USU", _PRODUCT)]


def _better_with_some_cam(method: str) -> Fact:
    text = f"{method} > bilinear in faithfulness, with seven CAM methods"

    def judge(rows: Rows) -> Finding | None:
        of_all = rows.get(_EXPERIMENT)
        if of_all is None or not {"cam", *FAITHFULNESS} <= set(of_all) or not set(CAMS) <= set(of_all["cam"]):
            return None
        sides, n = _sides(of_all, method)
        if not n:
            return None
        told = [f"{side}: {', '.join(cells)}" for side, cells in sides.items() if cells]
        n_tests = len(CAMS) * len(FAITHFULNESS)
        number = f"Holm over {len(CAMS)} CAMs x {len(FAITHFULNESS)} metrics: {'; '.join(told) or 'no difference seen'}"
        could_tell = n_tests * 2.0 / 2**n < LEVEL  # if every sample agreed
        return number, n, *_in_words(method, {side: len(cells) for side, cells in sides.items()}, n_tests, could_tell)

    return Fact("USU", "(seven CAMs)", text, judge)


def _sides(rows: pd.DataFrame, method: str) -> tuple[dict[str, list[str]], int]:
    """Where the method is better and worse than bilinear interpolation, in words, and of how many images."""
    found, n = [], 0
    for cam, metric in product(CAMS, FAITHFULNESS):
        scores = scores_by_method(rows[rows["cam"] == cam], metric, (method, "bilinear"))
        if len(scores) < 2:
            return {}, 0
        ours, theirs = scores[method], scores["bilinear"]
        counts = np.isfinite(ours) & np.isfinite(theirs)
        difference = ours[counts] - theirs[counts]
        p = float(wilcoxon(difference).pvalue) if difference.any() else 1.0
        is_better = (signed_ranks(difference) > 0) == METRICS[metric].higher_is_better
        found.append((cam, metric, float(ours[counts].mean()), float(theirs[counts].mean()), p, is_better))
        n = max(n, int(counts.sum()))
    sides: dict[str, list[str]] = {"better": [], "worse": []}
    corrected = multipletests([one[4] for one in found], method="holm")[1]
    for (cam, metric, mine, other, _, is_better), holm in zip(found, corrected, strict=True):
        if holm < LEVEL:
            words = f"{cam} {METRICS[metric].title} {mine:.3g} against {other:.3g} (p {holm:.2g})"
            sides["better" if is_better else "worse"].append(words)
    return sides, n


def _in_words(method: str, sides: dict[str, int], n_tests: int, could_tell: bool) -> tuple[str, Kind]:
    better, worse = sides["better"], sides["worse"]
    if method == _PRODUCT:
        return f"better in {better}, worse in {worse} of {n_tests}", Kind.COMPARISON
    if not could_tell and not better + worse:
        return "too few samples to tell", Kind.TOO_FEW
    if better:
        return f"holds in {better} of {n_tests}, the opposite in {worse}", Kind.PARTLY
    if worse:
        return f"the opposite in {worse} of {n_tests}, else no difference seen", Kind.OPPOSITE
    return "not reproduced: no difference seen", Kind.NOT_REPRODUCED
