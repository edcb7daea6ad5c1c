"""The report of docs/own-method.md: what it tests, what it asks for, and what it says."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import wilcoxon
from torch import nn

from examples.benchmarks.engine.networks import Network
from examples.benchmarks.papers.ours import own_page, own_report
from examples.benchmarks.papers.ours.mapped import Mapped
from examples.benchmarks.papers.ours.own_report import DECIDING, conditions, report
from examples.benchmarks.papers.ours.own_rounding import agreement
from examples.real_data import Preparation

pytestmark = pytest.mark.long

CRITERIA = ("insertion", "deletion", "diff_id", "road", "pixel_flipping", "diff_id_lite1", "diff_id_lite2")


def rows(edge=1.0, n=20, **changes):
    """A method that is better than each rival on every image, by about `edge`; in three criteria lower is better."""
    generator = np.random.default_rng(0)
    tables = []
    for method in ("ours", *DECIDING, "SAMP++"):
        sign = {name: -1.0 if name in ("deletion", "road", "pixel_flipping") else 1.0 for name in CRITERIA}
        table = {name: sign[name] * (edge * (method == "ours") + 0.1 * generator.random(n)) for name in CRITERIA}
        gap = np.full(n, 0.01 if method == "ours" else np.nan)
        others = {"gap": gap, "stability": 0.99, "layouts": 0.99, "float64": 0.98, "cost": 25.0}
        made = {"method": method, "sample": range(n), **table, **others}
        tables.append(pd.DataFrame(made).assign(**(changes if method == "ours" else {})))
    return pd.concat(tables, ignore_index=True)


def failed(found):
    return [one.text for one in found if not one.holds]


def of(tables, method="ours", rivals=(*DECIDING, "SAMP++")):
    tested = own_report.tested_against(tables, method, rivals)
    return tested, conditions(tables, method, tested)


def test_a_method_that_is_better_in_everything_meets_every_condition():
    tested, found = of({"lite0": rows(), "lite1": rows()})
    assert len(tested) == 2 * 5 * 6
    assert failed(found) == []
    assert {one.side for one in tested} == {"better"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"gap": 0.2}, "gap at most 0.05 on every image"),
        ({"gap": np.nan}, "gap at most 0.05 on every image"),
        ({"stability": 0.9}, "stability at least 0.98 under other last digits, mean on each network"),
        ({"layouts": 0.9}, "at least 0.98 between two layouts in float32, mean on each network"),
        ({"insertion": 0.05}, "better in insertion than every rival on every network"),
        ({"diff_id_lite1": -5.0}, "better in DiffID, transferred than every rival on every network"),
        ({"deletion": 5.0}, "not worse in deletion than every rival on every network"),
    ],
)
def test_what_is_missing_on_one_network_is_missing(changes, text):
    _, found = of({"lite0": rows(), "lite1": rows(**changes)})
    assert failed(found) == [text]


def test_that_no_difference_is_seen_is_enough_for_not_worse_and_not_for_better():
    _, found = of({"lite0": rows(edge=0.0)})
    assert len(failed(found)) == 3
    assert all(text.startswith("better in") for text in failed(found))


def test_a_rival_that_does_not_decide_is_tested_and_not_asked_for():
    table = rows()
    table.loc[table["method"] == "SAMP++", "insertion"] = 100.0
    tested, found = of({"lite0": table})
    assert failed(found) == []
    [shown] = [one for one in tested if one.rival == "SAMP++" and one.criterion == "insertion"]
    assert shown.side == "worse"


def test_a_difference_is_that_of_the_images_that_both_have_and_is_positive_where_ours_is_better():
    table = rows()
    table.loc[(table["method"] == "XRAI") & (table["sample"] < 3), "deletion"] = np.nan
    tested, _ = of({"lite0": table})
    [one] = [one for one in tested if one.rival == "XRAI" and one.criterion == "deletion"]
    wide = table.pivot(index="sample", columns="method", values="deletion")
    expected = (wide["XRAI"] - wide["ours"])[3:]
    assert one.n == 17
    assert one.difference == pytest.approx(expected.mean())
    assert one.low < one.difference < one.high
    assert one.p == pytest.approx(wilcoxon(expected).pvalue)


def test_p_is_corrected_over_everything_tested():
    tested, _ = of({"lite0": rows(n=8)})
    values = sorted(one.p for one in tested)
    assert min(one.holm for one in tested) == pytest.approx(min(1, values[0] * len(values)))
    assert {one.side for one in tested} == {"no difference seen"}  # eight images and thirty tests: 30 * 2 / 2^8 > .05


def test_a_network_that_nothing_else_has_scored_has_no_transfer():
    table = rows().drop(columns=["diff_id_lite1", "diff_id_lite2"])
    tested, found = of({"five-layers": table, "lite0": rows()})
    assert {one.network for one in tested if one.criterion == "transferred"} == {"lite0"}
    assert failed(found) == []


def test_the_report_says_each_condition_each_mean_and_each_test():
    text = report({"lite0": rows(gap=0.2)}, "ours")
    assert "| gap at most 0.05 on every image | largest 0.2; above on 20 of 20 (EfficientNet-Lite0) | **no** |" in text
    assert "| better in insertion than every rival on every network | 4 of 4 | yes |" in text
    assert text.count("\n| EfficientNet-Lite0 | ") == 5 * 6
    assert "p after Holm over 30 tests" in text
    assert "| ours | 1.0" in text


def test_a_linear_network_is_the_same_in_both_layouts_and_in_float64():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    network = Network("tiny", model, Preparation(size=8), model[0], 2)
    seen = []

    def gradient(network, image, target, budget, seed):
        seen.append((image.dtype, image.is_contiguous(memory_format=torch.channels_last)))
        leaf = image.clone().requires_grad_()
        network.model(leaf)[0, target[0]].backward()
        return Mapped(leaf.grad * image)

    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = agreement(gradient, network, image, [1], 25, 0, wide=True)
    assert found["layouts"] == pytest.approx(1, abs=1e-6)
    assert found["float64"] == pytest.approx(1, abs=1e-6)
    assert seen == [(torch.float32, False), (torch.float32, True), (torch.float64, False)]
    assert str(agreement(gradient, network, image, [1], 25, 0, wide=False)["float64"]) == "nan"
    assert next(model.parameters()).dtype == torch.float32


def test_the_page_of_the_report_is_what_the_kept_rows_say():
    name = "2 moves, deletion 0.33, growth 1.5"
    assert own_page.PAGE.read_text() == own_page.page(name)
