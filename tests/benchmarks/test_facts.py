"""Claims that a function of the rows decides, on rows whose answer is known."""

import pandas as pd
import pytest

from examples.benchmarks.engine.claims import Fact, Kind, judge
from examples.benchmarks.papers.samp.samp_methods import BOUNDS
from examples.benchmarks.papers.usu.all_cams import FAITHFULNESS
from examples.benchmarks.papers.usu.faithfulness import CAMS
from examples.benchmarks.report import claims

CAM_DATA = "usu-faithfulness-imagenet20"


def judged(text, rows):
    """The verdict of the fact with this text; None where the rows cannot tell."""
    facts = [one for found in claims({}).values() for one in found if isinstance(one, Fact) and one.text == text]
    found = [one for fact in facts for one in judge([fact], rows)]
    assert facts
    assert len(found) <= 1
    return found[0] if found else None


def gaps(**changed):
    """Three samples whose median gap is the number given, and whose mean is not."""
    names = ["SAMP, 14 groups", "SAMP + bound, 14 groups", *(f"SAMP + bound, R = {bound}" for bound in BOUNDS)]
    median = dict(zip(names, (0.9, 0.5, 0.3, 0.2, 0.1), strict=True)) | {"IG (blur + zero)": 0.01} | changed
    rows = [
        {"method": name, "sample": k, "relative_gap": value * factor}
        for name, value in median.items()
        for k, factor in enumerate((0.5, 1, 30))
    ]
    return {"paths-digits": pd.DataFrame(rows)}


def test_completeness_is_judged_by_the_median_gap_of_the_tightest_bound():
    text, last = "the bound restores completeness", f"SAMP + bound, R = {BOUNDS[-1]}"
    found = judged(text, gaps())
    assert (found.verdict, found.kind) == ("the gap shrinks, but not to 5 %", Kind.NOT_REPRODUCED)
    assert found.n == 3
    assert found.number.startswith("digits: median gap / difference: SAMP, 14 groups 0.9, SAMP + bound, 14 groups 0.5")
    assert judged(text, gaps(**{last: 0.05})).verdict == "holds"
    found = judged(text, gaps(**{last: 0.25}))
    assert (found.verdict, found.kind) == ("not reproduced", Kind.NOT_REPRODUCED)


def test_completeness_has_no_verdict_where_a_bound_did_not_run():
    rows = gaps()["paths-digits"]
    kept = rows[rows["method"] != f"SAMP + bound, R = {BOUNDS[0]}"]
    assert judged("the bound restores completeness", {"paths-digits": kept}) is None
    assert judged("the bound restores completeness", {}) is None


def infidelities(paper, random, cam="GradCAM", metric="infidelity_by_maximum"):
    """Two images with ratios half and twice what is given: only their geometric mean is what is given."""
    ratios = {"bilinear": 1.0, "USU, paper": paper, "IWMR, paper": 7.0, "USU": 3.0, "USU, paper, random scores": random}
    rows = []
    for name, ratio in ratios.items():
        for sample, (value, part) in enumerate(((2.0, 0.5), (8.0, 2.0))):
            skewed = part if name != "bilinear" else 1.0
            rows.append({"cam": cam, "method": name, "sample": sample, metric: value / (ratio * skewed)})
    return pd.DataFrame(rows)


def test_the_factor_of_infidelity_is_a_geometric_mean_over_images():
    metric, text = "infidelity", "USU lowers Infidelity by one to four orders of magnitude"
    found = judged(text, {CAM_DATA: infidelities(20.0, 1.0, metric=metric)})
    assert (found.verdict, found.kind, found.n) == ("holds", Kind.HOLDS, 2)
    assert found.number == (
        "imagenet20, maps as they are: bilinear over USU, paper: 20, IWMR, paper: 7, USU: 3, "
        "USU, paper, random scores: 1"
    )
    found = judged(text, {CAM_DATA: infidelities(9.0, 1.0, metric=metric)})
    assert (found.verdict, found.kind) == ("not reproduced", Kind.NOT_REPRODUCED)


def test_a_factor_that_random_scores_have_too_is_an_artefact():
    found = judged("USU lowers Infidelity by one to four orders of magnitude", {CAM_DATA: infidelities(100.0, 11.0)})
    assert (found.verdict, found.kind) == (
        "an artefact of scale: random scores do the same",
        Kind.NOT_REPRODUCED,
    )
    assert "each map divided by its maximum" in found.number


@pytest.mark.parametrize(("last", "kind"), [(101.0, Kind.PARTLY), (300.0, Kind.NOT_REPRODUCED)])
def test_the_factor_is_compared_between_the_seven_methods_that_make_maps(last, kind):
    text = "the factor is the same for seven CAM methods (CV below 10 %)"
    factors = [100.0] * (len(CAMS) - 1) + [last]
    tables = [infidelities(factor, 1.0, cam) for cam, factor in zip(CAMS, factors, strict=True)]
    found = judged(text, {CAM_DATA: pd.concat(tables)})
    assert found.kind is kind
    assert f"{CAMS[-1]} {last:.3g}" in found.number
    assert judged(text, {CAM_DATA: pd.concat(tables[1:])}) is None


def desiderata(**changed):
    names = {"USU": "1111", "nearest": "1101", "bilinear": "0000", "bicubic": "0000", "lanczos": "0000"}
    names |= {"IWMR, paper": "0110"} | changed
    rows = [
        {"method": name, "cases": 32, **{f"d{k + 1}": digit == "1" for k, digit in enumerate(digits)}}
        for name, digits in names.items()
    ]
    return {"usu-axioms": pd.DataFrame(rows)}


def test_desiderata_are_named_and_nearest_is_told_apart():
    assert judged("USU satisfies D1 to D4", desiderata()).verdict == "holds"
    assert judged("USU satisfies D1 to D4", desiderata(USU="0111")).verdict == "not reproduced"
    found = judged("interpolation satisfies none of them", desiderata())
    assert found.verdict == "holds only without nearest, which satisfies D1, D2, D4 and is not in the paper's table"
    assert judged("interpolation satisfies none of them", desiderata(nearest="0000")).verdict == "holds"
    assert judged("interpolation satisfies none of them", desiderata(bicubic="0100")).verdict == "not reproduced"


@pytest.mark.parametrize(
    ("kept", "error", "verdict"),
    [("0111", 4e-4, "holds"), ("0110", 4e-4, "not reproduced"), ("0111", 0.5, "not reproduced")],
)
def test_iwmr_needs_its_desiderata_and_the_small_error_of_the_paper(kept, error, verdict):
    table = pd.DataFrame({"cam": "GradCAM", "method": "IWMR, paper", "sample": [0, 1], "d1_error": [error, error]})
    rows = desiderata(**{"IWMR, paper": kept}) | {CAM_DATA: table}
    assert judged("IWMR satisfies D2 to D4 and misses D1 by 4e-4 only", rows).verdict == verdict


def shapes(iou=1.0, share=0.99):
    rows = [
        {"method": "Oracle-IWMR", "network": "RRR-CNN", "sample": k, "iou": value} for k, value in ((0, 1.0), (1, iou))
    ]
    inside = {"method": "coarse map before pooling", "concentration": share, "test_accuracy": 0.9}
    rows += [{**inside, "network": network, "sample": 0} for network in ("RRR-CNN", "vanilla-CNN")]
    return {"usu-shapes": pd.DataFrame(rows)}


def test_one_oracle_map_that_is_wrong_is_enough():
    assert judged("Oracle-IWMR has IoU 1.00", shapes()).kind is Kind.HOLDS
    assert judged("Oracle-IWMR has IoU 1.00", shapes(iou=0.9)).verdict == "not reproduced"
    assert judged("Oracle-IWMR has IoU 1.00", {}) is None


def test_only_networks_trained_to_it_are_held_to_have_their_gradient_inside():
    text = "{}: gradients are near zero outside of the shape"
    assert judged(text.format("RRR-CNN"), shapes()).verdict == "holds"
    found = judged(text.format("RRR-CNN"), shapes(share=0.4))
    assert found.verdict == "not reproduced: much of it lies outside"
    assert found.number == "40 % of |input gradient| inside the shape; test accuracy 90.0 %"
    assert judged(text.format("vanilla-CNN"), shapes(share=0.4)).kind is Kind.COMPARISON


def faithful(sign, changed=("XGradCAM", "insertion"), n=20):
    """Images on which all methods score alike with every CAM, but for one metric of one CAM."""
    rows = []
    for cam in CAMS:
        for method in ("bilinear", "USU, paper", "IWMR, paper", "USU", "bilinear x score map"):
            for sample in range(n):
                moved = sign * (1 + sample) / 100 if method != "bilinear" else 0
                values = {metric: 0.5 + moved * ((cam, metric) == changed) for metric in FAITHFULNESS}
                rows.append({"cam": cam, "method": method, "sample": sample, **values})
    return {CAM_DATA: pd.DataFrame(rows)}


def test_one_cam_and_metric_in_which_an_upsampler_is_better_is_named_with_its_numbers():
    text = "USU, paper > bilinear in faithfulness, with seven CAM methods"
    found = judged(text, faithful(1))
    assert (found.verdict, found.kind, found.n) == ("holds in 1 of 56, the opposite in 0", Kind.PARTLY, 20)
    assert found.number == (
        "Holm over 7 CAMs x 8 metrics: better: XGradCAM insertion 0.605 against 0.5 (p 0.00011)"  # 56 * 2 / 2^20
    )
    found = judged(text, faithful(1, ("GradCAM", "deletion")))
    assert (found.verdict, found.kind) == ("the opposite in 1 of 56, else no difference seen", Kind.OPPOSITE)
    found = judged(text, faithful(0))
    assert (found.verdict, found.kind) == ("not reproduced: no difference seen", Kind.NOT_REPRODUCED)
    assert judged(text, faithful(0, n=5)).verdict == "too few samples to tell"
    found = judged("bilinear x score map > bilinear in faithfulness, with seven CAM methods", faithful(1))
    assert (found.verdict, found.kind) == ("better in 1, worse in 0 of 56", Kind.COMPARISON)


def test_without_all_cams_there_is_no_verdict_on_them():
    rows = faithful(1)[CAM_DATA]
    text = "USU > bilinear in faithfulness, with seven CAM methods"
    assert judged(text, {CAM_DATA: rows[rows["cam"] != "FullGrad"]}) is None
    assert judged(text, {CAM_DATA: rows[rows["method"] != "USU"]}) is None
    assert judged(text, {}) is None
