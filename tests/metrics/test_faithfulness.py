"""Infidelity, Sensitivity-N and Monotonicity: exact on additive models, Captum's numbers, undefined maps."""

import captum.metrics
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ext.exceptions import ArgumentError
from captum_ext.metrics import infidelity, monotonicity, sensitivity_n
from captum_ext.metrics.faithfulness import correlation, kept_outside_patches, mean_ranks


def additive(x):
    return 3 * x.flatten(1).sum(1)


@pytest.fixture
def images():
    return torch.rand(3, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def curved(x):
    return torch.tanh(x.flatten(1) @ torch.linspace(-1, 1, x[0].numel(), dtype=x.dtype)) + x.flatten(1)[:, 0] ** 2


def test_a_map_that_is_right_up_to_a_factor_has_no_scale_free_infidelity(images):
    found = infidelity(additive, images, images, baselines=0, n_samples=20)
    torch.testing.assert_close(found.factor, torch.full((3,), 3.0, dtype=torch.float64))
    assert float(found.scale_free.max()) < 1e-20
    assert float(found.unexplained.max()) < 1e-20
    assert float(found.raw.min()) > 1
    exact = infidelity(additive, images, 3 * images, baselines=0, n_samples=20)
    assert float(exact.raw.max()) < 1e-20


def test_raw_infidelity_grows_with_the_map_and_the_others_do_not(images):
    small, large = (infidelity(curved, images, k * images) for k in (1, 100))
    assert bool((large.raw > 100 * small.raw).all())
    torch.testing.assert_close(large.scale_free, small.scale_free)
    torch.testing.assert_close(large.unexplained, small.unexplained)
    torch.testing.assert_close(large.factor, small.factor / 100)


GRADIENTS = torch.randn(3, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
N_SAMPLES = 11


def infidelity_of_gradients(images):
    maps = GRADIENTS * (images - 0.25)
    return infidelity(curved, images, maps, baselines=0.25, n_samples=N_SAMPLES, patch=0.5, seed=4)


def test_infidelity_of_gradients_times_the_difference_is_the_papers_definition(images):
    kept = kept_outside_patches((images,), N_SAMPLES, 0.5, seed=4)[0]
    actual = infidelity_of_gradients(images).raw
    for row, (x, gradient) in enumerate(zip(images, GRADIENTS, strict=True)):
        squares = []
        for mask in kept:
            taken = torch.where(mask, 0.0, x - 0.25)  # I: what is subtracted, with baselines where nothing is kept
            change = curved(x[None]) - curved((x - taken)[None])
            squares.append(float((taken * gradient).sum() - change) ** 2)
        assert float(actual[row]) == pytest.approx(sum(squares) / N_SAMPLES)


@pytest.mark.parametrize("normalize", [False, True])
def test_infidelity_of_gradients_times_the_difference_is_that_of_captum(images, normalize):
    kept = kept_outside_patches((images,), N_SAMPLES, 0.5, seed=4)[0]

    def perturb(inputs):  # Captum repeats every row N_SAMPLES times, row by row
        removed = (~kept).repeat(len(inputs) // N_SAMPLES, 1, 1, 1).to(inputs.dtype)
        taken = (inputs - 0.25) * removed
        return taken, inputs - taken

    expected = captum.metrics.infidelity(
        curved, perturb, images, GRADIENTS, n_perturb_samples=N_SAMPLES, normalize=normalize
    )
    actual = infidelity_of_gradients(images)
    torch.testing.assert_close(actual.scale_free if normalize else actual.raw, expected.double())


def test_sensitivity_n_is_one_for_additive_models_and_a_literal_correlation_otherwise(images):
    result = sensitivity_n(additive, images, images, fractions=(0.1, 0.5))
    torch.testing.assert_close(result, torch.ones(3, 2, dtype=torch.float64))
    x, maps = images.flatten(2)[:, 0, :5], images.flatten(2)[:, 1, :5]
    seen = []

    def recorded(points):
        seen.append(points.clone())
        return curved(points)

    found = sensitivity_n(recorded, x, maps, fractions=(0.4,), n_samples=7, internal_batch_size=1000)
    perturbed = next(points for points in seen if len(points) == 21).reshape(7, 3, 5).transpose(0, 1)
    for row in range(3):
        sums = [float((maps[row] * (perturbed[row, k] == 0)).sum()) for k in range(7)]
        changes = [float(curved(x[row : row + 1]) - curved(perturbed[row, k : k + 1])) for k in range(7)]
        assert float(found[row, 0]) == pytest.approx(scipy.stats.pearsonr(sums, changes).statistic)
        assert all(int((perturbed[row, k] == 0).sum()) == 2 for k in range(7))


def test_monotonicity_is_the_rank_correlation_of_groups_alone(images):
    x = images.flatten(1)[:, :12]
    maps = x.roll(3, 1)
    found = monotonicity(curved, x, maps, n_steps=4)
    for row in range(3):
        order = maps[row].abs().argsort(descending=True)
        sums, changes = [], []
        for group in order.split(3):
            changed = x[row].clone()
            changed[group] = 0
            sums.append(float(maps[row, group].abs().sum()))
            changes.append(float(curved(x[row : row + 1]) - curved(changed[None])) ** 2)
        assert float(found[row]) == pytest.approx(scipy.stats.spearmanr(sums, changes).statistic)


@given(values=st.lists(st.integers(0, 4), min_size=3, max_size=8), seed=st.integers(0, 99))
def test_rank_correlation_with_ties_is_that_of_scipy(values, seed):
    one = torch.tensor([values], dtype=torch.float64)
    other = torch.randint(0, 4, one.shape, generator=torch.Generator().manual_seed(seed)).double()
    actual = float(correlation(mean_ranks(one), mean_ranks(other)))
    if float(one.std()) == 0 or float(other.std()) == 0:
        assert actual != actual
    else:
        assert actual == pytest.approx(scipy.stats.spearmanr(one[0], other[0]).statistic)


@pytest.mark.parametrize("metric", [infidelity, sensitivity_n, monotonicity])
def test_rows_do_not_depend_on_their_batch_or_chunks_and_bad_maps_are_nan(metric, images):
    maps = images.sin()
    maps[1, 0, 0, 0] = float("nan")

    def values(rows, **arguments):
        found = metric(curved, images[rows], maps[rows], **arguments)
        return found.scale_free if metric is infidelity else found

    together = values(slice(None))
    assert together[1].isnan().all()
    for row in (0, 2):
        torch.testing.assert_close(values(slice(row, row + 1))[0], together[row])
        assert together[row].isfinite().all()
    torch.testing.assert_close(values(slice(None), internal_batch_size=4), together, equal_nan=True)


def test_tuples_of_inputs_are_perturbed_together(images):
    numbers = torch.rand(3, 4, dtype=torch.float64)
    model = lambda a, b: a.flatten(1).sum(1) + 2 * b.sum(1)  # noqa: E731
    maps = (images, 2 * numbers)
    assert float(infidelity(model, (images, numbers), maps).raw.max()) < 1e-20
    assert float(sensitivity_n(model, (images, numbers), maps).min()) > 1 - 1e-9
    assert monotonicity(model, (images, numbers), maps, n_steps=5).shape == (3,)


@pytest.mark.parametrize(
    ("metric", "arguments", "reason"),
    [
        (infidelity, {"patch": 0}, "`patch` to be a share between 0 and 1"),
        (infidelity, {"patch": 1}, "`patch` to be a share between 0 and 1"),
        (infidelity, {"n_samples": 0}, "`n_samples` to be an integer of at least 1"),
        (infidelity, {"n_samples": 1}, "`n_samples` to be at least 2"),
        (sensitivity_n, {"fractions": (0.5, 2)}, "`fractions` to be increasing numbers strictly between 0 and 1"),
        (monotonicity, {"n_steps": 2}, "`n_steps` to be at least 3"),
        (monotonicity, {"n_steps": 99}, "`n_steps` to be at most 36, the number of pixels"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(metric, arguments, reason, images):
    with pytest.raises(ArgumentError, match=reason):
        metric(additive, images, images, **arguments)
