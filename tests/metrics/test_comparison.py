"""Comparisons: the statistics of scipy and statsmodels, the same samples for all, and what is missing said."""

import numpy as np
import pytest
import scipy.stats
import torch

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.metrics import compare, insertion

pytest.importorskip("pandas")
pytest.importorskip("statsmodels")


@pytest.fixture
def scores():
    generator = np.random.default_rng(0)
    control = generator.normal(size=20)
    return {
        "control": control,
        "better": torch.from_numpy(control + 0.5 + 0.1 * generator.normal(size=20)),
        "other": (control + 0.3 * generator.normal(size=20)).tolist(),
        "same": control.copy(),
    }


def test_numbers_are_those_of_scipy_and_the_definitions(scores):
    table = compare(scores, "control").table
    control, better = scores["control"], scores["better"].numpy()
    assert table.loc["better", "mean"] == pytest.approx(better.mean())
    assert table.loc["better", "difference"] == pytest.approx((better - control).mean())
    assert table.loc["better", "p"] == pytest.approx(scipy.stats.wilcoxon(better - control).pvalue)
    assert table.loc["better", "cohens_d"] == pytest.approx((better - control).mean() / (better - control).std(ddof=1))
    assert table.loc["better", "better_on"] == 20
    assert table.loc["control", ["difference", "p", "p_holm"]].isna().all()
    low, high = table.loc["control", ["ci_low", "ci_high"]]
    assert low < control.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * control.std(ddof=1) / 20**0.5, rel=0.2)


def test_p_values_are_corrected_for_the_methods_that_are_compared(scores):
    table = compare(scores, "control").table
    p = table["p"].drop("control").astype(float)
    assert table.loc["same", "p"] == 1
    assert table["p_bonferroni"].drop("control").tolist() == pytest.approx(np.minimum(3 * p, 1).tolist())
    ranked = p.sort_values()
    holm = np.minimum(np.maximum.accumulate(ranked.to_numpy() * [3, 2, 1]), 1)
    assert table.loc[ranked.index, "p_holm"].tolist() == pytest.approx(holm.tolist())


def test_only_samples_that_are_defined_for_all_methods_count(scores):
    scores["other"][3] = float("nan")
    scores["control"][7] = float("inf")
    comparison = compare(scores, "control")
    assert comparison.table["n"].tolist() == [18] * 4
    assert comparison.table["excluded"].tolist() == [2] * 4
    assert len(comparison.scores["better"]) == 18


def test_intervals_are_repeatable_and_leave_the_global_random_state_alone(scores):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (compare(scores, "control", n_resamples=200).table for _ in range(2))
    assert first.equals(second)
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert not compare(scores, "control", n_resamples=200, seed=1).table.equals(first)


def test_constant_scores_and_constant_differences_have_no_effect_size():
    table = compare({"a": [1.0, 1.0, 1.0], "b": [2.0, 2.0, 2.0]}, "a").table
    assert table.loc["b", ["mean", "ci_low", "ci_high"]].tolist() == [2, 2, 2]
    assert np.isnan(table.loc["b", "cohens_d"])


def test_curves_are_compared_by_their_areas_and_direction(tmp_path):
    x = torch.rand(5, 6, generator=torch.Generator().manual_seed(0)) + 0.5
    model = lambda v: v.sum(1)  # noqa: E731
    curves = {"right": insertion(model, x, x, baselines=0), "wrong": insertion(model, x, -x, baselines=0)}
    comparison = compare(curves, "wrong")
    assert comparison.higher_is_better
    assert comparison.table.loc["right", "better_on"] == 5
    assert comparison.curves["right"][1].shape == (11,)
    figure = comparison.plot()
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["score, curves", "score (higher is better)", "score, less that of wrong"]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), comparison.curves["right"][1])
    assert [text.get_text() for text in figure.axes[1].get_yticklabels()] == ["right", "wrong"]
    assert [text.get_text() for text in figure.axes[2].get_yticklabels()] == ["", ""]
    figure.savefig(tmp_path / "comparison.png")


def test_lower_may_be_better(scores):
    table = compare(scores, "control", higher_is_better=False).table
    assert table.loc["better", "better_on"] == 0


def test_markdown_has_a_line_for_each_method_and_leaves_unknown_cells_empty(scores):
    lines = compare(scores, "control").to_markdown().splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("| method | n | excluded | mean | ci_low")
    assert lines[2].endswith("|  |  |  |  |  |  |")


def test_plots_without_curves_have_two_panels(scores):
    assert len(compare(scores, "control").plot().axes) == 2


@pytest.mark.parametrize(
    ("scores", "error", "reason"),
    [
        ({"a": [1.0, 2.0]}, ArgumentError, "`control` to be one of a, but got str 'b'"),
        ({"a": [1.0, 2.0], "b": [1.0]}, ArgumentError, r"of the same samples .* numbers of samples \{'a': 2, 'b': 1\}"),
        (
            {"a": [1.0, float("nan")], "b": [1.0, 2.0]},
            ArgumentError,
            "defined for at least two samples in every",
        ),
        ({"a": [[1.0]], "b": [1.0]}, ArgumentError, r"`scores\['a'\]` to be one number for each sample"),
        ({"a": ["x", "y"], "b": [1.0, 2.0]}, ArgumentTypeError, r"`scores\['a'\]` to be numbers"),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(scores, error, reason):
    with pytest.raises(error, match=reason):
        compare(scores, "b")


def test_curves_of_both_directions_are_refused():
    from captum_ext.metrics import deletion

    x = torch.rand(3, 4)
    model = lambda v: v.sum(1)  # noqa: E731
    with pytest.raises(ArgumentError, match="`scores` to be curves of one direction"):
        compare({"a": insertion(model, x, x, baselines=0), "b": deletion(model, x, x)}, "a")


def test_differences_that_are_constant_but_for_rounding_have_no_effect_size():
    own = np.array([1.0, 2.0, 3.0, 4.7])
    assert np.isnan(compare({"a": own, "b": own + 0.1}, "a").table.loc["b", "cohens_d"])


def test_the_direction_is_checked(scores):
    assert not compare(scores, "control", higher_is_better=np.bool_(False)).higher_is_better
    with pytest.raises(ArgumentTypeError, match="`higher_is_better` to be True, False or None, but got int 0"):
        compare(scores, "control", higher_is_better=0)
    x = torch.rand(4, 3)
    curves = {name: insertion(lambda v: v.sum(1), x, x, baselines=0) for name in "ab"}
    with pytest.raises(ArgumentError, match="`higher_is_better` to be True, as the curves say, but got False"):
        compare(curves, "a", higher_is_better=False)


def test_scores_that_differ_by_rounding_only_have_an_interval_without_width():
    scores = np.array([0.1 + 0.2, 0.3, 0.3])
    table = compare({"a": scores, "b": np.zeros(3)}, control="b").table
    assert table.loc["a", ["ci_low", "ci_high"]].tolist() == pytest.approx([0.3, 0.3])


def test_names_are_plain_text_in_the_table_and_in_the_figure():
    name = "a|b <!-- $\\frac$ \x1b[2J\n"
    comparison = compare({name: [1.0, 2.0, 3.0], "b": [2.0, 3.0, 5.0]}, control=name)
    head, rule, *rows = comparison.to_markdown().splitlines()
    assert len(rows) == 2
    assert rows[0].startswith("| a\\|b \\<!-- \\$\\\\frac\\$ \\\\x1b\\[2J\\\\n | 3 |")
    assert rows[0].replace("\\|", "").count("|") == head.count("|") == rule.count("|")
    figure = comparison.plot()
    figure.canvas.draw()
    assert figure.axes[0].get_yticklabels()[0].get_text() == "a|b <!-- \\$\\frac\\$ \\x1b[2J\\n"
