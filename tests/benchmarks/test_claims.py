"""Verdicts and tables from rows whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from examples.benchmarks.engine.claims import Claim, Fact, Judged, Kind, judge
from examples.benchmarks.engine.page import page
from examples.benchmarks.engine.summary import networks_table, overview, summary, verdict_rows
from examples.benchmarks.engine.tables import METRICS, View, fill
from examples.benchmarks.report import claims, views

pytestmark = pytest.mark.long

ABOUT = {
    "versions": {"torch": "2"},
    "machine": {"processor": "p", "cores": 2, "memory": "1 GB"},
    "commit": "c",
    "seed": 0,
    "size": "full",
    "data": "offline",
    "digest": "d",
    "workers": "2",
    "cost": "all in a minute",
}
N = 12


def rows(**scores):
    """Rows with insertion = a base that differs between samples, plus what a method adds."""
    base = np.linspace(0, 1, N)
    found = []
    for method, added in scores.items():
        for k, value in enumerate(base + np.broadcast_to(added, N)):
            row = {"method": method, "sample": k, "insertion": value, "deletion": value}
            found.append({**row, "gradients": 20.0, "forwards": 2.0, "seconds": 0.5, "cam": "A"})
    return pd.DataFrame(found)


def verdict(table, metric="insertion", controls=()):
    claim = Claim("SAMP", "Table 1", "ours > theirs", "paths-x", metric, "ours", "theirs", controls)
    return judge([claim], {"paths-x": table})


WAVE = np.where(np.arange(N) % 2, 1.0, -1.0)


def test_a_claim_holds_when_every_comparison_is_better():
    (found,) = verdict(rows(ours=0.5, theirs=0.0, fair=0.1), controls=("fair",))
    assert (found.verdict, found.kind) == ("holds", Kind.HOLDS)
    assert found.n == N
    first, second = verdict_rows([found])
    assert first[:9] == ["Table 1", "ours > theirs", "x", "insertion", "theirs", "1", "0.5", "+0.5", "0.5 to 0.5"]
    assert first[-1] == "holds"
    assert second[:6] == ["", "", "x", "insertion", "fair", "1"]
    assert second[-1] == "better"
    assert [one.holm for one in found.comparisons] == pytest.approx([2 * 2 / 2**N] * 2)


def test_a_claim_that_a_control_explains_holds_only_against_the_papers_comparison():
    (found,) = verdict(rows(ours=0.5, theirs=0.0, fair=0.5 + 0.1 * WAVE), controls=("fair",))
    assert found.verdict == "holds only against theirs, not against fair"
    assert found.comparisons[1].side == "no difference seen"
    (found,) = verdict(rows(ours=0.5, theirs=0.0, fair=0.9), controls=("fair",))
    assert found.verdict == "holds only against theirs, not against fair"
    assert found.comparisons[1].side == "worse"
    assert found.kind is Kind.PARTLY
    (found,) = verdict(rows(ours=0.5, theirs=0.0), controls=("fair",))
    assert (found.verdict, found.kind) == ("holds only against theirs, not against fair", Kind.PARTLY)
    assert (found.comparisons[1].side, found.comparisons[1].seen) == ("not run", None)


def test_nothing_is_seen_and_the_opposite_is_said():
    (found,) = verdict(rows(ours=0.1 * WAVE, theirs=0.0))
    assert (found.verdict, found.kind) == ("not reproduced: no difference seen", Kind.NOT_REPRODUCED)
    (found,) = verdict(rows(ours=-0.5, theirs=0.0))
    assert (found.verdict, found.kind) == ("the opposite", Kind.OPPOSITE)


def test_lower_is_better_where_the_metric_says_so():
    assert verdict(rows(ours=-0.5, theirs=0.0), "deletion")[0].verdict == "holds"
    assert verdict(rows(ours=0.5, theirs=0.0), "deletion")[0].verdict == "the opposite"


def test_p_is_corrected_over_all_comparisons_of_a_paper():
    """Ten samples of twelve better: p is small alone, and not among forty comparisons."""
    added = np.where(np.arange(N) < 10, 0.5, -0.4)
    table = rows(ours=added, theirs=0.0, **{f"c{k}": 0.1 * WAVE for k in range(40)})
    assert verdict(table)[0].verdict == "holds"
    controls = tuple(f"c{k}" for k in range(40))
    assert verdict(table, controls=controls)[0].verdict == "not reproduced: no difference seen"


def test_samples_without_a_number_do_not_count_and_missing_rows_have_no_verdict():
    table = rows(ours=0.5, theirs=0.0)
    table.loc[table["sample"] < 3, "insertion"] = np.nan
    assert verdict(table)[0].n == N - 3
    assert verdict(rows(ours=0.5)) == []
    assert judge([Claim("SAMP", "", "", "paths-y", "insertion", "a", "b")], {"paths-x": table}) == []
    fact = Fact("SAMP", "Figure 1", "two is even", lambda rows: ("2", 1, "holds", Kind.HOLDS) if rows else None)
    assert judge([fact], {}) == []
    assert judge([fact], {"paths-x": table})[0].verdict == "holds"


def test_a_table_has_intervals_costs_failures_and_its_control():
    table = rows(ours=0.5, theirs=0.0)
    broken = pd.DataFrame([{"method": "broken", "sample": k, "error": "ValueError: no"} for k in range(N)])
    view = View("key", "A table", "paths-x", ("insertion", "deletion", "irof"), "theirs", plotted="insertion")
    found = fill(view, {"paths-x": pd.concat([table, broken])}, n_resamples=200)
    assert found.methods == ["ours", "theirs", "broken"]
    assert list(found.comparisons) == ["insertion", "deletion"]
    assert found.failed == {"broken": N}
    assert found.costs["ours"] == {"gradients": 20.0, "forwards": 2.0, "seconds": 0.5}
    text = summary({"SAMP": verdict(table)}, [found], ABOUT, {"SAMP": "Two words."}, {})
    assert "Two words." in text
    assert "| ours | 1* [" in text
    assert "20 + 2 | 0.5 |" in text
    assert "| broken | failed | failed |  |  |" in text
    assert "**holds**" in text


def test_a_cell_may_hold_what_ends_a_cell_in_markdown():
    fact = Fact("SAMP", "Figure 1", "|x|", lambda _: ("1 | 2", 1, "holds", Kind.HOLDS))
    text = summary({"SAMP": judge([fact], {})}, [], ABOUT, {}, {})
    assert r"| Figure 1 | \|x\| | 1 \| 2 | 1 | **holds** |" in text


def test_the_overview_counts_kinds_of_verdicts_and_leaves_out_our_own_comparisons():
    def one(kind, where="Table 1"):
        return Judged("SAMP", where, "", "", "", "", 1, "in words", kind)

    (header, row) = overview({"SAMP": [*map(one, Kind), one(Kind.HOLDS), one(Kind.HOLDS, "(our settings)")]})
    counts = dict(zip(header, row, strict=True))
    assert counts.pop("paper") == "SAMP"
    assert counts == {
        "claims x data": "7",
        "holds": "2",
        "holds only against the paper's comparison": "1",
        "no difference claimed, none seen": "1",
        "not reproduced": "1",
        "the opposite": "1",
        "too few samples to tell": "1",
    }


def test_a_verdict_says_on_how_many_networks_it_holds():
    def on(experiment, added):
        claim = Claim("SAMP", "Table 1", "ours > theirs", experiment, "insertion", "ours", "theirs")
        return judge([claim], {experiment: rows(ours=added, theirs=0.0)})

    tried = [*on("paths-imagenet20", 0.5), *on("paths-imagenet20-lite1", 0.1 * WAVE), *on("paths-digits", 0.5)]
    tried += on("paths-imagenet20-lite2", 0.5)
    head, row = networks_table(tried)
    assert head[4:] == ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "holds on"]
    assert row == ["Table 1", "ours > theirs", "imagenet20", "insertion", "holds", "not reproduced", "holds", "2 of 3"]
    assert networks_table(tried[:1]) == []


def test_no_line_of_the_summary_is_too_long_to_read():
    controls = tuple(f"control number {k}" for k in range(30))
    table = rows(ours=0.5, theirs=0.0, **dict.fromkeys(controls, 0.1))
    text = summary({"SAMP": verdict(table, controls=controls)}, [], ABOUT, {}, {})
    assert max(map(len, text.splitlines())) < 400
    assert sum("| control number" in line for line in text.splitlines()) == 30


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_it_shows():
    table = rows(ours=0.5, theirs=0.0).assign(picture=b"webp", photograph=b"webp")
    table["insertion_curve"] = [list(np.linspace(0, 1, 11))] * len(table)
    view = View("key", "A <b>table</b>", "paths-x", ("insertion",), "theirs", plotted="insertion", curve="insertion")
    found = fill(view, {"paths-x": table}, n_resamples=200)
    text = page({"SAMP": verdict(table)}, {"SAMP": [found]}, {"paths-x": table}, ABOUT, {"SAMP": "Two <i>words</i>."})
    assert "Two &lt;i&gt;words&lt;/i&gt;." in text
    assert "A &lt;b&gt;table" in text
    assert "http" not in text.replace("http-equiv", "")
    assert text.count("data:image/png;base64,") == 2
    assert '"methods": ["ours", "theirs"]' in text


def test_every_view_and_claim_names_metrics_that_are_explained():
    for found in views({}).values():
        for view in found:
            assert set(view.metrics) <= set(METRICS)
            assert view.methods is None or view.control in view.methods
    for found in claims({}).values():
        assert found
        for claim in found:
            if isinstance(claim, Claim):
                assert claim.metric in METRICS


@pytest.mark.parametrize("name", ["paths-imagenet", "usu-faithfulness-cub200"])
def test_a_users_own_data_get_the_same_tables_and_claims(name):
    names = ("LPI, 1 n.", "LPI, 5 n.", "LPI, 9 n.", "LPI, 5 n., equal densities", "EG")
    rows = {name: pd.DataFrame({"method": names})}
    tables = [view for found in views(rows).values() for view in found if view.experiment == name]
    judged = [claim for found in claims(rows).values() for claim in found if getattr(claim, "experiment", "") == name]
    assert len(tables) == (10 if name == "paths-imagenet" else 8)
    assert len(judged) > 20
    if name == "paths-imagenet":
        assert any(view.methods is not None and "LPI, 9 n." in view.methods for view in tables)


def test_a_claim_of_equality_is_consistent_unless_the_method_is_worse():
    for added, expected, kind in (
        (0.1 * WAVE, "consistent: no difference seen", Kind.NOT_CONTRADICTED),
        (0.5, "consistent: better", Kind.HOLDS),
        (-0.5, "the opposite: worse", Kind.OPPOSITE),
    ):
        claim = Claim("LPI", "", "", "paths-x", "insertion", "ours", "theirs", is_equality=True)
        (found,) = judge([claim], {"paths-x": rows(ours=added, theirs=0.0)})
        assert (found.verdict, found.kind) == (expected, kind)


def test_a_few_samples_do_not_turn_the_direction_round_and_too_few_have_no_verdict():
    skewed = np.where(np.arange(N) < 1, 100.0, -0.5)
    (found,) = verdict(rows(ours=skewed, theirs=0.0))
    assert found.verdict == "the opposite (by ranks; a few samples turn the mean round)"
    table = rows(ours=0.5, theirs=0.0)
    (found,) = verdict(table[table["sample"] < 4])
    assert (found.n, found.verdict) == (4, "too few samples to tell")
