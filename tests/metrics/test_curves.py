"""Insertion, deletion and DiffID: exact values, slow oracles, and rows that do not know each other."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ext import on_nonfinite
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, NonFiniteError
from captum_ext.images import gaussian_blur
from captum_ext.metrics import Ranking, deletion, diff_id, insertion
from tests import oracles

seeds = st.integers(0, 9999)


def random_images(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_model(seed, n_features):
    weight = torch.randn(n_features, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return lambda x: 4 + torch.sin(x.flatten(1) @ weight)


def test_insertion_and_deletion_of_a_linear_model_are_partial_sums():
    x = torch.tensor([[1.0, 4.0, 2.0, 3.0]])
    inserted = insertion(lambda x: x.sum(1), x, x, baselines=0, n_steps=4)
    assert inserted.scores.tolist() == [[0, 4, 7, 9, 10]]
    assert inserted.auc.tolist() == pytest.approx([(0 / 2 + 4 + 7 + 9 + 10 / 2) / 4])
    deleted = deletion(lambda x: x.sum(1), x, x, n_steps=4)
    assert deleted.scores.tolist() == [[10, 6, 3, 1, 0]]
    assert inserted.fractions.tolist() == deleted.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert (inserted.higher_is_better, deleted.higher_is_better) == (True, False)


def test_diff_id_of_a_linear_model_is_least_minus_most_important_removed():
    x = torch.tensor([[1.0, 4.0, 2.0, 3.0]])
    curve = diff_id(lambda x: x.sum(1), x, x, baselines=0, fractions=(0.25, 0.5, 0.75))
    assert curve.scores.flatten().tolist() == pytest.approx([(9 - 6) / 10, (7 - 3) / 10, (4 - 1) / 10])
    assert float(curve.auc) == pytest.approx((0.3 + 0.4 + 0.3) / 4)
    raw = diff_id(lambda x: x.sum(1), x, x, baselines=0, fractions=(0.25, 0.5, 0.75), normalize="none")
    torch.testing.assert_close(raw.scores, curve.scores * curve.input_scores[:, None])


@given(seed=seeds, side=st.integers(3, 5), n_channels=st.integers(1, 3), limit=st.integers(1, 30))
def test_diff_id_with_mean_imputation_equals_the_oracle(seed, side, n_channels, limit):
    x = random_images(seed, 2, n_channels, side, side)
    maps = random_images(seed + 1, 2, n_channels, side, side) - 0.5
    model, fractions = random_model(seed, n_channels * side * side), (0.3, 0.5, 0.9)
    curve = diff_id(model, x, maps, 1, fractions=fractions, internal_batch_size=limit)
    for row in range(2):
        scores, area = oracles.diff_id(lambda p: model(p)[:, 1], x[row], maps[row], fractions)
        assert curve.scores[row].tolist() == pytest.approx(scores, abs=1e-9)
        assert float(curve.auc[row]) == pytest.approx(area, abs=1e-9)


@given(seed=seeds, side=st.integers(2, 5), n_steps=st.integers(1, 6), absolute=st.booleans())
def test_insertion_and_deletion_equal_the_oracle_with_a_tensor_baseline(seed, side, n_steps, absolute):
    x, baseline = random_images(seed, 2, 2, side, side), random_images(seed + 1, 2, 2, side, side)
    maps, model = random_images(seed + 2, 2, 2, side, side) - 0.5, random_model(seed, 2 * side * side)
    arguments = {"baselines": baseline, "n_steps": n_steps, "ranking": Ranking(absolute)}
    inserted, deleted = insertion(model, x, maps, 2, **arguments), deletion(model, x, maps, 2, **arguments)
    for row in range(2):
        order = oracles.pixels_by_importance(maps[row], absolute)
        for k in range(n_steps + 1):
            count = round(k / n_steps * len(order))
            for curve, kept in ((inserted, order[:count]), (deleted, order[count:])):
                point = oracles.image_with_pixels(x[row], baseline[row], kept)[None]
                assert float(curve.scores[row, k]) == pytest.approx(float(model(point)[0, 2]), abs=1e-9)


@pytest.mark.parametrize("metric", [insertion, deletion, diff_id])
@given(seed=seeds, limit=st.integers(1, 40))
def test_a_rows_score_does_not_depend_on_its_batch_nor_on_the_batch_size(metric, seed, limit):
    x, maps = random_images(seed, 3, 2, 4, 4), random_images(seed + 1, 3, 1, 4, 4).round(decimals=1)
    model, target, scale = random_model(seed, 32), [0, 2, 1], torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    scaled = lambda x, s: model(x) * s[:, None]  # noqa: E731
    together = metric(scaled, x, maps, target, scale, internal_batch_size=limit)
    for row in range(3):
        one = slice(row, row + 1)
        alone = metric(scaled, x[one], maps[one], target[one], scale[one])
        torch.testing.assert_close(together.scores[one], alone.scores, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(together.auc[one], alone.auc, rtol=1e-12, atol=1e-12)


def test_at_most_internal_batch_size_rows_are_scored_at_once_and_no_pass_is_wasted():
    sizes = []
    model = lambda x: (sizes.append(len(x)), x.sum((1, 2, 3)) + 1)[1]  # noqa: E731
    x = torch.rand(2, 3, 4, 4)
    diff_id(model, x, x, internal_batch_size=5)
    assert max(sizes) <= 5
    assert sum(sizes) == 2 * (2 * 9 + 1)
    sizes.clear()
    insertion(model, x, x, n_steps=6)
    assert sum(sizes) == 2 * 7


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 1, 4, 4), (2, 4, 4)])
def test_maps_with_all_one_or_no_channel_rank_the_same_pixels(shape):
    x = torch.rand(2, 3, 4, 4)
    importance = torch.rand(2, 1, 4, 4)
    maps = importance.expand(2, 3, 4, 4) if shape[1:] == (3, 4, 4) else importance.reshape(shape)
    model = lambda x: (x * torch.arange(48).reshape(3, 4, 4)).sum((1, 2, 3))  # noqa: E731
    torch.testing.assert_close(deletion(model, x, maps).scores, deletion(model, x, importance).scores)


def test_absolute_values_are_taken_for_each_channel_before_the_sum():
    maps = torch.tensor([[[[5.0, 1.0]], [[-5.0, 1.0]]]])
    x = torch.tensor([[[[10.0, 1.0]], [[0.0, 0.0]]]])
    model = lambda x: x.sum((1, 2, 3))  # noqa: E731
    signed = deletion(model, x, maps, n_steps=2)
    assert signed.scores.tolist() == [[11, 10, 0]]
    assert deletion(model, x, maps, n_steps=2, ranking=Ranking(absolute=True)).scores.tolist() == [[11, 1, 0]]


def test_ties_are_broken_at_random_by_seed_and_not_in_raster_order():
    x = torch.arange(1.0, 65).reshape(1, 64)
    constant = torch.zeros_like(x)
    weighted = lambda x: x.sum(1)  # noqa: E731
    rankings = [Ranking(seed=seed) for seed in range(40)]
    curves = [deletion(weighted, x, constant, n_steps=2, ranking=one).scores[0, 1].item() for one in rankings]
    assert len(set(curves)) > 20
    assert sum(curves) / 40 == pytest.approx(float(x.sum()) / 2, rel=0.1)
    assert deletion(weighted, x, constant, n_steps=2, ranking=Ranking(seed=3)).scores[0, 1].item() == curves[3]


def test_a_tuple_of_inputs_has_one_ranking_over_all_of_them():
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[[[5.0, 9.0]]]])
    maps = torch.tensor([[0.0, 3.0]]), torch.tensor([[[[2.0, 1.0]]]])
    curve = insertion(lambda a, b: a.sum(1) + b.sum((1, 2, 3)), (a, b), maps, baselines=(0, 0), n_steps=4)
    assert curve.scores.tolist() == [[0, 2, 7, 16, 17]]


def test_blur_keeps_constants_lowers_contrast_and_is_the_default_where_nothing_is_inserted():
    x = torch.rand(1, 3, 32, 32)
    blurred = gaussian_blur(x)
    torch.testing.assert_close(gaussian_blur(torch.full_like(x, 0.3)), torch.full_like(x, 0.3))
    assert float(blurred.std()) < 0.5 * float(x.std())
    model = lambda x: (x**2).sum((1, 2, 3))  # noqa: E731
    torch.testing.assert_close(insertion(model, x, x).scores[:, 0], model(blurred))


def test_correct_says_where_the_target_is_first():
    x = torch.tensor([[3.0, 2.0]])
    curve = deletion(lambda x: torch.stack([x[:, 0], x[:, 1]], 1), x, x, target=0, n_steps=2)
    assert curve.correct.tolist() == [[1, 0, 1]]
    assert deletion(lambda x: x.sum(1), x, x).correct is None
    games = diff_id(lambda x: torch.stack([x[:, 0], x[:, 1]], 1), x, x, 0, baselines=0, fractions=(0.5,))
    assert games.correct.tolist() == [[1]]


def test_rows_without_a_positive_score_are_kept_and_reported():
    x = torch.tensor([[3.0, 1.0], [-3.0, -1.0], [0.0, 0.0]])
    curve = diff_id(lambda x: x.sum(1), x, x, baselines=0, fractions=(0.5,))
    assert curve.valid.tolist() == [True, False, False]
    assert curve.scores.shape == (3, 1)
    assert curve.input_scores.tolist() == [4, -4, 0]


def test_the_range_normalisation_of_samp_runs_from_zero_to_one_and_reports_small_ranges():
    x = torch.tensor([[3.0, 1.0], [0.1, 0.1]])
    model = lambda x: x.sum(1) + 2  # noqa: E731
    for metric, ends in ((insertion, [0, 1]), (deletion, [1, 0])):
        curve = metric(model, x, x, baselines=0, n_steps=2, normalize="range")
        assert curve.scores[:, [0, -1]].tolist() == [ends, ends]
        assert curve.scores[0, 1] == pytest.approx(0.75 if metric is insertion else 0.25)
        assert curve.valid.tolist() == [True, False]


def test_a_row_that_explains_nothing_is_not_valid():
    x = torch.ones(2, 3)
    model = lambda x: torch.relu(x.sum(1) - 9)  # noqa: E731
    assert insertion(model, x, x, baselines=0, normalize="range").valid.tolist() == [False, False]
    infinite = lambda x: x.sum(1) / 0  # noqa: E731
    with pytest.raises(NonFiniteError, match=r"finite scores at the inputs, .* row 0 \(2 of 2 rows affected\)"):
        deletion(infinite, x, x)
    with on_nonfinite("nan"):
        assert deletion(infinite, x, x).valid.tolist() == [False, False]


def test_integer_maps_rank_and_fractions_may_be_an_array():
    x = torch.tensor([[1.0, 4.0, 2.0, 3.0]])
    ranks = torch.tensor([[1, 4, 2, 3]])
    assert deletion(lambda x: x.sum(1), x, ranks, n_steps=4).scores.tolist() == [[10, 6, 3, 1, 0]]
    curve = diff_id(lambda x: x.sum(1), x, ranks, baselines=0, fractions=torch.tensor([0.5]))
    assert curve.scores.tolist() == [[pytest.approx(0.4)]]


def test_rows_of_one_number_are_scored():
    x = torch.tensor([1.0, 2.0])
    assert insertion(lambda x: x, x, x, baselines=0, n_steps=1).scores.tolist() == [[0, 1], [0, 2]]
    assert diff_id(lambda x: x, x, x, fractions=(0.4,)).scores.tolist() == [[0], [0]]


def test_half_precision_and_time_series_are_scored():
    x = torch.rand(2, 3, 8).half()
    curve = diff_id(lambda x: x.sum((1, 2)), x, x)
    assert curve.scores.dtype == torch.float32
    assert bool((curve.auc > 0).all())


def test_nothing_is_changed_and_gradients_are_off():
    grads = []
    x = torch.rand(2, 3, requires_grad=True)
    state = torch.get_rng_state()
    curve = insertion(lambda x: (grads.append(torch.is_grad_enabled()), x.sum(1))[1], x, x, baselines=0)
    assert not any(grads)
    assert not curve.scores.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_deleting_to_the_corners_is_deleting_to_their_mean_colour():
    x = torch.zeros(2, 1, 20, 30)
    x[:, :, :2, :3], x[:, :, -2:, :3], x[:, :, :2, -3:], x[:, :, -2:, -3:] = 1, 2, 3, 6
    x[1] *= 2
    maps = torch.arange(600.0).reshape(1, 1, 20, 30).expand(2, -1, -1, -1)
    model = lambda x: x.sum((1, 2, 3))  # noqa: E731
    by_word = deletion(model, x, maps, baselines="corners")
    assert by_word.scores[:, -1].tolist() == [600 * 3, 600 * 6]
    by_hand = deletion(model, x, maps, baselines=torch.tensor([3.0, 6.0]).reshape(2, 1, 1, 1).expand_as(x))
    assert torch.equal(by_word.scores, by_hand.scores)


def test_corners_are_refused_for_inputs_without_them():
    x = torch.ones(2, 3)
    with pytest.raises(
        ArgumentError, match=r'a tensor or "mean" for inputs that are not images, \(2, 3\), but got "cor'
    ):
        deletion(lambda x: x.sum(1), x, x, baselines="corners")


BAD = [
    (
        {"attributions": torch.rand(2, 5)},
        ArgumentError,
        r"`attributions` to be of the input's shape \(2, 3, 4, 4\), \(N, 1",
    ),
    ({"attributions": torch.rand(3, 3, 4, 4)}, ArgumentError, "of 2 rows like the inputs"),
    ({"attributions": torch.ones(2, 4, 4, dtype=torch.bool)}, ArgumentTypeError, "`attributions` to be a tensor or a"),
    (
        {"baselines": "white"},
        ArgumentError,
        '`baselines` to be a number, a tensor or one of "blur", "rise", "corners", "mean", "overall-mean", but',
    ),
    ({"baselines": torch.zeros(5, 3, 4, 4)}, ArgumentError, "`baselines` to be of the input's shape"),
    ({"n_steps": 0}, ArgumentError, "`n_steps` to be an integer of at least 1"),
    ({"normalize": "max"}, ArgumentError, '`normalize` to be one of "none", "input", "range"'),
    ({"internal_batch_size": 0}, ArgumentError, "`internal_batch_size` to be an integer of at least 1"),
    ({"target": 9}, ArgumentError, "`target` to be an index from 0 to 2"),
]


@pytest.mark.parametrize(
    ("change", "error", "message"), BAD, ids=[next(iter(c)) + str(i) for i, (c, _, _) in enumerate(BAD)]
)
def test_bad_arguments_are_named(change, error, message):
    x = torch.rand(2, 3, 4, 4)
    arguments = {"attributions": x, "target": 1, **change}
    with pytest.raises(error, match=message):
        insertion(lambda x: x.sum((2, 3)), x, **arguments)


@pytest.mark.parametrize("fractions", [(), (0.0, 0.5), (0.5, 1.0), (0.5, 0.2), (0.5, 0.5)])
def test_fractions_are_increasing_and_exclude_the_ends(fractions):
    with pytest.raises(ArgumentError, match="`fractions` to be increasing numbers strictly between 0 and 1"):
        diff_id(lambda x: x.sum(1), torch.ones(1, 4), torch.ones(1, 4), fractions=fractions)


def test_blur_is_for_images():
    with pytest.raises(ArgumentError, match='a number, a tensor or "mean" for inputs that are not images'):
        insertion(lambda x: x.sum(1), torch.ones(1, 4), torch.ones(1, 4))


@pytest.mark.parametrize("metric", [insertion, deletion, diff_id])
def test_a_map_that_orders_no_pixels_is_marked_and_the_others_are_scored(metric):
    inputs = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    maps = inputs.sum(1)
    maps[1], maps[2], maps[3, 0, 0] = 0, 0.5, float("nan")
    curve = metric(lambda x: x.flatten(1), inputs, maps, target=5)
    assert curve.valid.tolist() == [True, False, False, False]
    assert curve.auc.isnan().tolist() == [False, False, False, True]
    alone = metric(lambda x: x.flatten(1), inputs[:1], maps[:1], target=5)
    torch.testing.assert_close(curve.auc[:1], alone.auc)


@pytest.mark.parametrize("metric", [insertion, deletion])
@pytest.mark.parametrize("normalize", ["none", "input", "range"])
def test_scores_that_are_not_finite_are_marked(metric, normalize):
    x = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    model = lambda v: torch.where((v == 0).sum(1) == 1, torch.inf, v.sum(1))  # noqa: E731
    assert metric(model, x, x, baselines=0, n_steps=3, normalize=normalize).valid.tolist() == [False, False]


def test_models_that_begin_in_place_leave_the_callers_tensor_alone():
    from captum_ext.attr import ExpectedGradients
    from captum_ext.metrics import infidelity, monotonicity, road, sensitivity_n

    images = torch.rand(2, 1, 4, 4)
    before = images.clone()

    def model(v):
        v = v.clone() if v.requires_grad else v
        return v.sub_(1).flatten(1)

    for metric in (insertion, diff_id, infidelity, monotonicity, road, sensitivity_n):
        metric(model, images, images, 3)
    eg = ExpectedGradients(model, references=before * 2)
    eg.attribute(images, target=3, n_steps=4, return_convergence_delta=True)
    assert torch.equal(images, before)


def test_the_overall_mean_is_one_number_for_all_channels_of_what_is_kept():
    x = torch.tensor([[[[1.0, 2.0]], [[5.0, 8.0]]]])
    maps = torch.tensor([[[2.0, 1.0]]])
    seen = []

    def model(images):
        seen.extend(images.squeeze(2).tolist())
        return images.sum((1, 2, 3))

    deletion(model, x, maps, baselines="overall-mean", n_steps=2)
    # of the whole image; of the second pixel, 2 and 8; of the whole image again where nothing is kept
    assert seen == [[[1, 2], [5, 8]], [[5, 2], [5, 8]], [[4, 4], [4, 4]]]
    seen.clear()
    deletion(model, x, maps, baselines="mean", n_steps=2)
    assert seen == [[[1, 2], [5, 8]], [[2, 2], [8, 8]], [[1.5, 1.5], [6.5, 6.5]]]


@given(seed=st.integers(0, 10**6))
def test_diff_id_with_the_overall_mean_is_the_game_of_its_authors(seed):
    generator = torch.Generator().manual_seed(seed)
    x, maps = (torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    weights = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    model = lambda images: (images * weights).tanh().sum((1, 2, 3))  # noqa: E731
    curve = diff_id(model, x, maps, baselines="overall-mean", fractions=(0.25, 0.6), normalize="none")
    for row in range(2):
        order = sorted(range(20), key=lambda k: -float(maps[row].abs().sum(0).flatten()[k]))
        for place, share in enumerate((0.25, 0.6)):
            scores = []
            for removed in (order[20 - round(20 * share) :], order[: round(20 * share)]):
                kept = [k for k in range(20) if k not in removed]
                image = x[row].reshape(3, 20).clone()
                image[:, removed] = image[:, kept].mean()
                scores.append(float(model(image.reshape(1, 3, 4, 5))))
            assert float(curve.scores[row, place]) == pytest.approx(scores[0] - scores[1], abs=1e-9)
