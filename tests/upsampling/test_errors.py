"""Pooling and the errors of upsampling: the literal sums, and how they and redistribution fit together."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ext.exceptions import ArgumentError, ArgumentTypeError, NonFiniteError
from captum_ext.upsampling import (
    InterpolationUpsampler,
    alpha_error,
    beta_error,
    mass_deficit,
    mass_excess,
    pool_attribution,
    redistribute,
)
from tests import oracles

seeds = st.integers(0, 9999)
sizes = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(0, 12), st.integers(0, 12))


def random_maps(seed, shape, low=-0.5):
    """Two signed maps (2, H, W), a score map, and a grid."""
    h, w, more, wider = shape
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(3, 2, h + more, w + wider, generator=generator, dtype=torch.float64)
    return drawn[0] + low, drawn[1] + low, drawn[2], (h, w)


@given(seed=seeds, shape=sizes)
def test_pooling_is_the_literal_mean_of_each_cell(seed, shape):
    fine, _, _, grid = random_maps(seed, shape)
    coarse = pool_attribution(fine, grid)
    assert coarse.shape == (2, 1, *grid)
    for row in range(2):
        torch.testing.assert_close(coarse[row, 0], oracles.pooled(fine[row], grid), rtol=1e-12, atol=1e-14)


@given(seed=seeds, shape=sizes, temperature=st.floats(0.05, 2))
def test_pooling_undoes_redistribution_and_redistribution_keeps_what_was_pooled(seed, shape, temperature):
    fine, _, scores, grid = random_maps(seed, shape)
    coarse = pool_attribution(fine, grid)
    again = redistribute(coarse, scores, temperature=temperature)
    torch.testing.assert_close(pool_attribution(again, grid), coarse, rtol=1e-12, atol=1e-12)
    assert float(mass_excess(again, fine, grid).max()) < 1e-12
    assert float(mass_deficit(again, fine, grid).max()) < 1e-12


def test_cells_of_sizes_that_do_not_divide_do_not_overlap():
    fine = torch.tensor([[[1.0, 3.0, 0.0, 2.0, 4.0]]])
    torch.testing.assert_close(pool_attribution(fine, (1, 2)), torch.tensor([[[[4 / 3, 3.0]]]]))
    overlapping = torch.nn.functional.adaptive_avg_pool2d(fine[None], (1, 2))
    torch.testing.assert_close(overlapping, torch.tensor([[[[4 / 3, 2.0]]]]))


def test_pooling_is_differentiable_and_the_errors_are_plain_numbers():
    fine = torch.rand(2, 1, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda maps: pool_attribution(maps, (2, 3)), (fine,))
    assert not alpha_error(fine, torch.zeros(1, 5, 4)).requires_grad


@given(seed=seeds, shape=sizes)
def test_the_errors_are_the_literal_ones(seed, shape):
    fine, truth, _, grid = random_maps(seed, shape)
    found = (alpha_error(fine, truth), beta_error(fine, truth))
    found += (mass_excess(fine, truth, grid), mass_deficit(fine, truth[:, None], grid))
    for row in range(2):
        for actual, expected in zip(found, oracles.upsampling_errors(fine[row], truth[row], grid), strict=True):
            torch.testing.assert_close(actual[row, 0], expected, rtol=1e-10, atol=1e-12)


@given(seed=seeds, shape=sizes)
def test_one_error_of_a_pixel_is_zero_and_both_sum_to_the_difference_of_magnitudes(seed, shape):
    fine, truth, _, _ = random_maps(seed, shape)
    alpha, beta = alpha_error(fine, truth), beta_error(fine, truth)
    assert not bool(((alpha > 0) & (beta > 0)).any())
    torch.testing.assert_close(alpha + beta, (fine.abs() - truth.abs()).abs()[:, None])


@given(seed=seeds, shape=sizes)
def test_mass_errors_are_lower_bounds_of_the_pixels_errors_where_nothing_is_negative(seed, shape):
    fine, truth, _, grid = random_maps(seed, shape, low=0.0)
    nothing = torch.zeros_like(truth)
    for pixels, cells in ((alpha_error, mass_excess), (beta_error, mass_deficit)):
        summed = mass_excess(pixels(fine, truth), nothing, grid)  # sums of what is nowhere negative
        assert bool((summed >= cells(fine, truth, grid) - 1e-12).all())


def test_a_wrong_sign_is_no_error_of_pixels_but_one_of_mass():
    fine, truth = torch.tensor([[[2.0, 2.0]]]), torch.tensor([[[2.0, -2.0]]])
    assert not bool(alpha_error(fine, truth).any())
    assert not bool(beta_error(fine, truth).any())
    assert mass_excess(fine, truth, (1, 1)).tolist() == [[[[4.0]]]]


def test_interpolation_has_mass_errors_where_the_coarse_map_is_the_truth_pooled():
    truth = torch.rand(2, 12, 8, generator=torch.Generator().manual_seed(0))
    coarse = pool_attribution(truth, (3, 2))
    fine = InterpolationUpsampler("bilinear")(coarse, torch.zeros(2, 3, 12, 8))
    assert float(mass_excess(fine, truth, (3, 2)).sum()) > 0.1
    assert float(mass_deficit(fine, truth, (3, 2)).sum()) > 0.1
    kept = redistribute(coarse, torch.rand(1, 12, 8, generator=torch.Generator().manual_seed(1)), temperature=0.1)
    assert float(mass_excess(kept, truth, (3, 2)).max()) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_one_truth_serves_a_batch_and_half_precision_is_computed_in_float32(dtype):
    fine, truth = torch.full((3, 1, 2, 4), 2.0, dtype=dtype), torch.ones(1, 2, 4, dtype=torch.float64)
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    for found in (alpha_error(fine, truth), mass_excess(fine, truth, (1, 2)), pool_attribution(fine, (1, 2))):
        assert found.dtype == expected
        assert len(found) == 3
    assert mass_excess(fine, truth, (1, 2)).unique().tolist() == [4.0]


MAPS = torch.ones(2, 4, 4)
BAD = [
    ((None,), ArgumentTypeError, "`attributions` to be a tensor"),
    ((np.ones((2, 4, 4)),), ArgumentTypeError, "`attributions` to be a tensor"),
    ((MAPS > 0,), ArgumentTypeError, "`attributions` to be of a floating point dtype"),
    ((MAPS * float("nan"),), NonFiniteError, "`attributions` to be finite, but got NaN in row 0"),
    ((MAPS[0],), ArgumentError, r"`attributions` to be of shape \(N, h, w\) or \(N, 1, h, w\)"),
    ((torch.ones(2, 3, 4, 4),), ArgumentError, r"`attributions` to be of shape \(N, h, w\) or \(N, 1, h, w\)"),
]
BAD_TRUTH = [
    (
        torch.ones(2, 4, 5),
        ArgumentError,
        r"`truth` to be of one row or 2 rows like the attributions, and of their size",
    ),
    (torch.ones(3, 4, 4), ArgumentError, "`truth` to be of one row or 2 rows like the attributions"),
    (torch.full((1, 4, 4), float("inf")), NonFiniteError, "`truth` to be finite, but got infinity in row 0"),
    (torch.ones(2, 4, 4, dtype=torch.int64), ArgumentTypeError, "`truth` to be of a floating point dtype"),
    (1.0, ArgumentTypeError, "`truth` to be a tensor"),
]
BAD_GRID = [
    ((5, 2), ArgumentError, r"`grid` to be no larger than the map's size \(4, 4\), but got \(5, 2\)"),
    ((2, 0), ArgumentError, r"`grid\[1\]` to be an integer of at least 1, but got 0"),
    ((2, 2.0), ArgumentTypeError, r"`grid\[1\]` to be an integer"),
    ((2,), ArgumentError, r"`grid` to be two integers"),
    (2, ArgumentTypeError, r"`grid` to be one to three integers"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_maps_that_are_none_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        pool_attribution(*arguments, (2, 2))
    with pytest.raises(error, match=message):
        alpha_error(*arguments, MAPS)
    with pytest.raises(error, match=message):
        mass_deficit(*arguments, MAPS, (2, 2))


@pytest.mark.parametrize(("truth", "error", "message"), BAD_TRUTH, ids=[str(i) for i in range(len(BAD_TRUTH))])
def test_a_truth_that_does_not_fit_is_named(truth, error, message):
    for function, more in ((alpha_error, ()), (beta_error, ()), (mass_excess, ((2, 2),)), (mass_deficit, ((2, 2),))):
        with pytest.raises(error, match=message):
            function(MAPS, truth, *more)


@pytest.mark.parametrize(("grid", "error", "message"), BAD_GRID, ids=[str(i) for i in range(len(BAD_GRID))])
def test_a_grid_that_does_not_fit_is_named(grid, error, message):
    for call in (lambda: pool_attribution(MAPS, grid), lambda: mass_excess(MAPS, MAPS, grid)):
        with pytest.raises(error, match=message):
            call()
