"""Weighted Integrated Gradients: what the weights mean, what they cost, and what a caller can get wrong."""

import math

import pytest
import torch
from torch import nn

from captum_ext import on_nonfinite
from captum_ext.attr import (
    ExpectedGradients,
    IntegratedGradients,
    LocalPathIntegration,
    WeightedIntegratedGradients,
)
from captum_ext.attr.weighted_ig import weighing
from captum_ext.core.fills import corner_mean
from captum_ext.exceptions import ArgumentError, ArgumentsConflictError, ArgumentTypeError, NonFiniteError
from captum_ext.references import standard_baselines
from captum_ext.testing import SmoothModel, TinyConvNet


@pytest.fixture
def model():
    return SmoothModel(6)


@pytest.fixture
def x():
    return torch.sin(torch.arange(12, dtype=torch.float64)).reshape(2, 6)


@pytest.fixture
def references():
    return torch.cos(2 * torch.arange(24, dtype=torch.float64)).reshape(4, 6)


def test_the_reference_whose_map_finds_the_score_sooner_weighs_more():
    # The score is 8 a + b + c + d. From `low` the map's order is a, b, c, d; from `high`, where a and b are as in x,
    # it is c, d, a, b, of which three have to go before half of the score is lost.
    x = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    low, high = torch.zeros(4), torch.tensor([1.0, 1.0, 0.5, 0.0])
    wg = WeightedIntegratedGradients(
        lambda v: 8 * v[:, 0] + v[:, 1] + v[:, 2] + v[:, 3],
        references=torch.stack([low, high]),
        fill=0,
        rtol=0,
    )
    found = wg.evaluate_baselines(x, n_steps=2, method="riemann_left")
    assert found.n_removed.tolist()[0][0] == 1
    assert found.n_removed.tolist()[0][1] in (3, 4)  # a and b are tied
    inverse = [1, 1 / found.n_removed[0, 1].item()]
    assert found.weights[0].tolist() == pytest.approx([value / sum(inverse) for value in inverse])


def test_attributions_sum_to_the_score_above_the_weighted_references(model, x, references):
    wg = WeightedIntegratedGradients(model, references=references)
    arguments = {"target": 1, "n_steps": 200, "method": "gausslegendre"}
    maps, delta = wg.attribute(x, return_convergence_delta=True, **arguments)
    weights = wg.baseline_weights(x, **arguments)
    expected = model(x)[:, 1] - weights @ model(references)[:, 1]
    torch.testing.assert_close(maps.sum(1) - delta, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(maps.sum(1), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", [None, "gausslegendre", "adaptive"])
def test_one_reference_is_integrated_gradients_without_any_forward_pass(model, x, references, method):
    seen = []

    def forward(points):
        seen.append(torch.is_grad_enabled())
        return model(points)

    wg = WeightedIntegratedGradients(forward, references=references[:1])
    actual = wg.attribute(x, target=2, n_steps=9, method=method)
    expected = IntegratedGradients(model).attribute(x, references[:1], target=2, n_steps=9, method=method)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    assert all(seen)


def test_equal_references_have_equal_weights(model, x, references):
    wg = WeightedIntegratedGradients(model, references=references[:1].repeat(3, 1))
    found = wg.evaluate_baselines(x, target=1, n_steps=9, method="riemann_middle")
    torch.testing.assert_close(found.weights, torch.full((2, 3), 1 / 3, dtype=torch.float64))
    expected = IntegratedGradients(model).attribute(x, references[:1], target=1, n_steps=9, method="riemann_middle")
    torch.testing.assert_close(found.attributions, expected, rtol=1e-12, atol=1e-12)


def test_a_reference_that_is_the_input_is_left_out_with_a_warning(model, x, references):
    wg = WeightedIntegratedGradients(model, references=torch.cat([x[1:], references]))
    with pytest.warns(UserWarning, match="1 of 2 inputs are among their own references") as seen:
        found = wg.evaluate_baselines(x, target=1, n_steps=9, method="riemann_middle")
    assert seen[0].filename == __file__
    assert found.weights[1, 0] == 0
    assert found.n_removed[1, 0] == 0
    assert (found.weights[0] > 0).all()
    without = WeightedIntegratedGradients(
        model, references=references, fill=torch.cat([x[1:], references]).mean(0)[None]
    )
    expected = without.attribute(x[1:], target=1, n_steps=9, method="riemann_middle")
    torch.testing.assert_close(found.attributions[1:], expected)


def test_without_references_the_standard_baselines_are_weighted(model, x):
    seeded = {"target": 1, "n_steps": 14, "method": "riemann_middle"}
    own = WeightedIntegratedGradients(model, references=lambda inputs: standard_baselines(inputs))
    actual = WeightedIntegratedGradients(model).attribute(x, **seeded)
    torch.testing.assert_close(actual, own.attribute(x, **seeded))
    assert WeightedIntegratedGradients(model).baseline_weights(x, **seeded).shape == (2, 6)


def test_references_of_their_own_can_be_given_to_expected_gradients_too(model, x):
    eg = ExpectedGradients(model, references=standard_baselines)
    actual = eg.attribute(x, target=1, n_steps=9, method="gausslegendre")
    ig = IntegratedGradients(model)
    maps = [ig.attribute(x, r, target=1, n_steps=9) for r in standard_baselines(x).unbind(1)]
    torch.testing.assert_close(actual, torch.stack(maps).mean(0))
    with pytest.raises(ArgumentTypeError, match="a fitted distribution or samples, but got function"):
        LocalPathIntegration(model, references=standard_baselines)


def test_fitness_costs_no_gradient_and_at_most_ceil_log2_n_forwards_a_reference():
    passes = {True: 0, False: 0}
    net = TinyConvNet()

    def forward(points):
        passes[torch.is_grad_enabled()] += len(points)
        return net(points) * 5

    x = torch.rand(3, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for search, most in (("bisection", 7 * (math.ceil(math.log2(64)) + 2) + 2), ("grid", 7 * 3 * 16 + 2)):
        passes[True] = passes[False] = 0
        wg = WeightedIntegratedGradients(forward, search=search, score="logit", rtol=0)
        wg.attribute(x, target=torch.tensor([0, 1, 2]), n_steps=14)
        assert passes[True] == 3 * 14
        assert 0 < passes[False] <= 3 * most


def test_finished_rows_leave_the_search_and_the_first_forward_is_shared_with_the_delta(model, x, references):
    rows = []

    def forward(points):
        if not torch.is_grad_enabled():
            rows.append(len(points))
        return model(points)

    wg = WeightedIntegratedGradients(forward, references=references, score="logit", rtol=0)
    wg.attribute(x, target=1, n_steps=8, internal_batch_size=1000)
    assert rows[:2] == [2, 2]  # the inputs, and the inputs filled
    assert rows[2:] == sorted(rows[2:], reverse=True)
    n_without_delta = len(rows)
    wg.attribute(x, target=1, n_steps=8, internal_batch_size=1000, return_convergence_delta=True)
    assert len(rows) - n_without_delta == n_without_delta + 1  # one more call: the references


def test_weights_do_not_depend_on_the_batch_its_chunks_or_the_groups_that_fit_into_memory(monkeypatch):
    net, x = TinyConvNet(), torch.rand(5, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    wg = WeightedIntegratedGradients(net, score="logit", rtol=0)
    target = torch.tensor([0, 1, 2, 1, 0])

    def run(rows, **arguments):
        generators = [torch.Generator().manual_seed(3) for _ in range(5)][: len(x[rows])]
        return wg.evaluate_baselines(x[rows], target=target[rows], n_steps=21, generator=generators, **arguments)

    expected = run(slice(None))
    assert len(set(expected.n_removed.flatten().tolist())) > 5
    for arguments in ({"internal_batch_size": 1}, {"internal_batch_size": 13}):
        torch.testing.assert_close(run(slice(None), **arguments).weights, expected.weights)
    for row in range(5):
        torch.testing.assert_close(run(slice(row, row + 1)).attributions, expected.attributions[row : row + 1])
    monkeypatch.setattr(weighing, "_KEPT_BYTES", 2 * 7 * 2 * 64 * 8)
    grouped = run(slice(None))
    torch.testing.assert_close(grouped.attributions, expected.attributions)
    assert torch.equal(grouped.n_removed, expected.n_removed)


def test_groups_share_one_generator_as_the_whole_batch_would(monkeypatch, model, x, references):
    wg = WeightedIntegratedGradients(model, references=references)
    expected = wg.attribute(x, target=1, n_steps=9, generator=torch.Generator().manual_seed(5))
    monkeypatch.setattr(weighing, "_KEPT_BYTES", 1)
    actual = wg.attribute(x, target=1, n_steps=9, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(actual, expected)


def test_with_fewer_gradients_than_references_only_the_drawn_ones_weigh(model, x, references):
    wg = WeightedIntegratedGradients(model, references=references)
    generator = torch.Generator().manual_seed(0)
    weights = wg.baseline_weights(x, target=1, n_steps=2, generator=generator)
    assert (weights > 0).sum(1).tolist() == [2, 2]
    torch.testing.assert_close(weights.sum(1), torch.ones(2, dtype=torch.float64))


def test_keep_drops_weights_below_a_fraction_of_the_mean_and_says_how_many():
    removed = torch.tensor([[1, 10, 100, 0], [4, 4, 4, 4]])
    weight, dropped = weighing.weights_of(removed, 0.25)
    assert weight[0].tolist() == pytest.approx([10 / 11, 1 / 11, 0, 0])
    assert weight[1].tolist() == [0.25] * 4
    assert dropped.tolist() == [1, 0]
    weight, dropped = weighing.weights_of(removed, None)
    assert weight[0].tolist() == pytest.approx([100 / 111, 10 / 111, 1 / 111, 0])
    assert dropped.tolist() == [0, 0]


def test_equal_references_survive_keep_one(model, x):
    wg = WeightedIntegratedGradients(lambda v: v.sum(1), references=torch.zeros(3, 6).double(), keep=1, fill=0)
    weights = wg.baseline_weights(x.abs() + 1, n_steps=3, method="riemann_middle")
    torch.testing.assert_close(weights, torch.full((2, 3), 1 / 3, dtype=torch.float64))


def test_an_input_that_equals_all_of_its_references_gets_zero_with_a_warning():
    wg = WeightedIntegratedGradients(lambda v: 3 * v[:, 0], references=torch.full((2, 1), 2.0))
    with pytest.warns(UserWarning, match="an input that equals all of its references gets zero"):
        assert wg.attribute(torch.tensor([[2.0]])).tolist() == [[0.0]]


def test_a_map_that_is_not_finite_is_named(x):
    wg = WeightedIntegratedGradients(lambda v: v.sum(1).abs().sqrt(), references=torch.zeros(2, 6).double())
    with pytest.raises(NonFiniteError, match="NaN or infinity in the map of row 0 from its reference 0"):
        wg.attribute(x, n_steps=3, method="riemann_left")


def test_several_references_are_refused_where_gradients_come_from_elsewhere(model, x, references):
    wg = WeightedIntegratedGradients(model, references=references)
    wg.gradient_func = lambda **arguments: (torch.ones_like(arguments["inputs"][0]),)
    with pytest.raises(
        ArgumentError, match="`references` to be one for each input, since a layer or neuron variant is at work"
    ):
        wg.attribute(x, target=1)


def test_tol_looks_at_each_input_once_however_many_groups(monkeypatch, model, x, references):
    rows = []

    def forward(points):
        if not torch.is_grad_enabled():
            rows.append(len(points))
        return model(points)

    wg = WeightedIntegratedGradients(forward, references=references, score="logit")
    counts = []
    for kept in (1 << 20, 1):
        monkeypatch.setattr(weighing, "_KEPT_BYTES", kept)
        rows.clear()
        wg.attribute(x, target=1, method="adaptive", tol=0.5, n_steps=9)
        counts.append(sum(rows))
    assert counts[1] <= counts[0] + len(references)  # the shared references are scored once for each group


def test_a_score_function_that_loses_rows_is_named(model, x, references):
    wg = WeightedIntegratedGradients(model, references=references, score=lambda outputs: outputs.mean())
    with pytest.raises(ArgumentError, match="`score` to be a function that returns a tensor of 2 rows"):
        wg.attribute(x, target=1)


def test_a_goal_that_is_never_reached_gives_equal_weights_that_say_nothing_with_a_warning(x, references):
    wg = WeightedIntegratedGradients(lambda v: 5 - v.square().sum(1) * 0.1, references=references, fill=0)
    named = r"of 2 of 2 inputs \(row 0, 1\) is above its goal \(alpha=0\.5\) with all 6 pixels replaced"
    with pytest.warns(UserWarning, match=named) as seen:
        found = wg.evaluate_baselines(x, n_steps=8, method="riemann_middle")
    assert (found.n_removed == 6).all()
    assert found.weights.tolist() == [[0.25] * 4] * 2
    assert found.informative.tolist() == [False, False]
    assert [one.filename for one in seen] == [__file__]
    with pytest.warns(UserWarning, match=named) as seen:
        wg.attribute(x, n_steps=8, method="riemann_middle", internal_batch_size=3)
    assert [one.filename for one in seen] == [__file__]


def test_a_goal_that_only_the_last_pixel_reaches_says_nothing_either(recwarn):
    # 2 falls by 1 with each pixel: to a tenth with both of them.
    wg = WeightedIntegratedGradients(
        lambda v: v.sum(1), references=torch.tensor([[0.0, 0.0], [0.0, 0.5]]), fill=0, alpha=0.1, rtol=0
    )
    with pytest.warns(
        UserWarning, match=r"The order of no reference brings .* \(row 0\) to its goal \(alpha=0.1\) before"
    ):
        found = wg.evaluate_baselines(torch.ones(1, 2), n_steps=2, method="riemann_middle")
    assert found.n_removed.tolist() == [[2, 2]]
    assert not bool(found.informative)


def test_a_score_that_dips_below_its_goal_and_rises_again_is_named_by_what_it_ends_with():
    # 1 + 2a - 2b is 1 at (1, 1), -1 without the first and 1 without both, above the goal of a half.
    wg = WeightedIntegratedGradients(
        lambda v: 1 + 2 * v[:, 0] - 2 * v[:, 1], references=torch.tensor([[0.0, 0.0], [0.5, 0.5]]), fill=0
    )
    wg.score = lambda outputs: outputs
    with pytest.warns(UserWarning, match=r"is above its goal \(alpha=0.5\) with all 2 pixels replaced .* no number of"):
        found = wg.evaluate_baselines(torch.ones(1, 2), n_steps=5, method="gausslegendre")
    assert found.n_removed.tolist() == [[2, 2]]


def test_only_rows_whose_references_all_miss_the_goal_are_named(monkeypatch):
    # From zero to (4, 1) the first pixel is enough; to (0, -1) filling raises the score: the goal cannot be reached.
    x = torch.tensor([[4.0, 1.0], [0.0, -1.0], [1.0, 4.0], [-1.0, 0.0]])
    wg = WeightedIntegratedGradients(lambda v: v.sum(1), references=torch.tensor([[0.0, 0.0], [0.0, 0.5]]), fill=0)
    for kept in (1 << 20, 1):
        monkeypatch.setattr(weighing, "_KEPT_BYTES", kept)
        with pytest.warns(UserWarning, match=r"2 of 4 inputs \(row 1, 3\)") as seen:
            found = wg.evaluate_baselines(x, n_steps=2, method="riemann_middle")
        assert len(seen) == 1
        assert found.informative.tolist() == [True, False, True, False]


def test_the_warning_names_ten_rows_at_most():
    wg = WeightedIntegratedGradients(lambda v: v.sum(1), references=torch.tensor([[1.0, 0.0], [0.0, 1.0]]), fill=0)
    with pytest.warns(UserWarning, match=r"12 of 12 inputs \(row 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\.\)"):
        wg.attribute(-torch.ones(12, 2), n_steps=2, method="riemann_middle")


def test_one_reference_has_nothing_to_be_compared_with_and_no_warning(recwarn):
    wg = WeightedIntegratedGradients(lambda v: v.sum(1), references=torch.zeros(1, 2), fill=0)
    assert wg.evaluate_baselines(-torch.ones(1, 2), n_steps=2, method="riemann_middle").informative.tolist() == [True]
    assert len(recwarn) == 0


def test_rows_that_are_left_out_say_nothing_and_are_not_named(recwarn):
    wg = WeightedIntegratedGradients(lambda v: v.sum(1), references=torch.tensor([[0.0, 0.0], [0.0, 0.5]]), fill=0)
    with on_nonfinite("nan"):
        found = wg.evaluate_baselines(torch.tensor([[4.0, 1.0], [math.nan, 1.0]]), n_steps=2, method="riemann_middle")
    assert found.informative.tolist() == [True, False]
    assert not any("goal" in str(one.message) for one in recwarn)


def test_the_absolute_ranking_adds_magnitudes_of_channels_and_the_signed_one_their_values():
    # Contributions of four pixels in two channels: 3 and -3, 2 and 0, 1 and 0, 0 and 1; the score is 4. Signed, the
    # second pixel alone is half of it. By magnitude the first goes before it, which changes nothing.
    image = torch.tensor([[[[3.0, 2.0], [1.0, 0.0]], [[-3.0, 0.0], [0.0, 1.0]]]])
    settings = {"references": torch.stack([torch.zeros(2, 2, 2), -torch.ones(2, 2, 2)]), "fill": 0, "rtol": 0}
    for ranking, expected in (("signed", 1), ("absolute", 2)):
        wg = WeightedIntegratedGradients(lambda v: v.sum((1, 2, 3)), ranking=ranking, **settings)
        assert wg.evaluate_baselines(image, n_steps=2, method="riemann_middle").n_removed[0, 0] == expected


def test_an_improbable_target_is_weighted_by_its_logit_with_a_warning(model, x, references):
    shifted = lambda v: model(v) + torch.tensor([0.0, -40.0, 0.0], dtype=torch.float64)  # noqa: E731
    with pytest.warns(UserWarning, match=r"probability is below 0\.001 for 2 of 2 inputs") as seen:
        actual = WeightedIntegratedGradients(shifted, references=references).baseline_weights(
            x, target=1, n_steps=9, method="riemann_middle"
        )
    assert seen[0].filename == __file__
    by_logit = WeightedIntegratedGradients(shifted, references=references, score="logit")
    assert torch.equal(actual, by_logit.baseline_weights(x, target=1, n_steps=9, method="riemann_middle"))


def test_the_score_may_be_a_function_of_the_outputs(model, x, references):
    arguments = {"target": 1, "n_steps": 9, "method": "riemann_middle"}
    softmax = WeightedIntegratedGradients(model, references=references).baseline_weights(x, **arguments)
    by_hand = WeightedIntegratedGradients(model, references=references, score=lambda out: out.softmax(1))
    assert torch.equal(by_hand.baseline_weights(x, **arguments), softmax)
    selected = WeightedIntegratedGradients(model, references=references, score=lambda out: out.softmax(1)[:, 1])
    assert torch.equal(selected.baseline_weights(x, **arguments), softmax)


def test_the_fill_of_images_is_the_mean_colour_of_their_corners():
    image = torch.zeros(1, 1, 20, 30)
    image[..., :2, :3], image[..., -2:, :3], image[..., :2, -3:], image[..., -2:, -3:] = 1, 2, 3, 6
    assert corner_mean((image,)).values[0].tolist() == [[[[3.0]]]]
    assert corner_mean((torch.arange(4.0).reshape(1, 1, 2, 2),)).values[0].item() == 1.5


def test_softmax_is_refused_for_a_model_without_classes(x, references):
    wg = WeightedIntegratedGradients(lambda v: v.sum(1), references=references, score="softmax")
    with pytest.raises(ArgumentError, match=r'"logit" or a function for a model without classes \(outputs of shape'):
        wg.attribute(x)


def test_a_corner_fill_is_refused_for_inputs_that_are_not_images(model, x, references):
    wg = WeightedIntegratedGradients(model, references=references, fill="corners")
    with pytest.raises(ArgumentError, match=r"not images, \(2, 6\), but got \"corners\""):
        wg.attribute(x, target=0)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"alpha": 0}, "`alpha` to be a number between 0 and 1"),
        ({"alpha": 1}, "`alpha` to be a number between 0 and 1"),
        ({"keep": 0}, r"`keep` to be None or a number in \(0, 1\]"),
        ({"keep": 2}, r"`keep` to be None or a number in \(0, 1\]"),
        ({"score": "margin"}, '`score` to be one of "softmax", "logit"'),
        ({"ranking": "magnitude"}, '`ranking` to be one of "signed", "absolute", but got'),
        ({"score": int}, '`score` to be one of "softmax", "logit", but got'),
        ({"search": "scan"}, '`search` to be one of "bisection", "grid"'),
        ({"fill": "black"}, '`fill` to be one of "corners", "references"'),
        ({"rtol": -0.1}, r"`rtol` to be a number in \[0, 1\)"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(model, settings, reason):
    with pytest.raises(ArgumentError, match=reason):
        WeightedIntegratedGradients(model, **settings)


def test_a_fill_that_does_not_fit_and_references_of_a_wrong_shape_are_named(model, x, references):
    with pytest.raises(ArgumentError, match=r"`fill` to be of the input's shape \(2, 6\)"):
        WeightedIntegratedGradients(model, references=references, fill=torch.ones(1, 5)).attribute(x, target=0)
    with pytest.raises(NonFiniteError, match="`fill` to be finite"):
        WeightedIntegratedGradients(model, references=references, fill=float("nan")).attribute(x, target=0)
    for returned, reason in ((torch.ones(2, 6), r"shape \(2, K, 6\)"), ((x, x), r"a tuple of 1 tensor\(s\)")):
        wg = WeightedIntegratedGradients(model, references=lambda _, returned=returned: returned)
        with pytest.raises(ArgumentError, match=reason):
            wg.attribute(x, target=0)


def test_a_tuple_of_an_image_and_numbers_is_filled_by_kind():
    seen = []

    def forward(image, numbers):
        if not torch.is_grad_enabled():
            seen.append((image[-1].clone(), numbers[-1].clone()))
        return image.sum((1, 2, 3)) + numbers.sum(1)

    image, numbers = torch.rand(1, 1, 4, 4) + 1, torch.rand(1, 3) + 1
    references = (torch.zeros(2, 1, 4, 4), torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]))
    WeightedIntegratedGradients(forward, references=references).attribute((image, numbers), n_steps=4)
    filled_image, filled_numbers = seen[1]
    torch.testing.assert_close(filled_image, corner_mean((image,)).values[0][0].expand(1, 4, 4))
    assert filled_numbers.tolist() == [0.5, 1.0, 1.5]


def test_captums_layer_variant_is_refused_since_no_reference_would_be_weighted():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    import captum.attr

    layer = captum.attr.LayerIntegratedGradients(net, net[0])
    for references in (None, torch.rand(2, 3).double()):
        layer.ig = WeightedIntegratedGradients(net, references=references)
        with pytest.raises(ArgumentsConflictError, match="Use captum_ext.attr.LayerWeightedIntegratedGradients"):
            layer.attribute(torch.ones(2, 3, dtype=torch.float64), target=1, n_steps=9)
