"""Disagreement of maps against ranks that are counted, and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captum_ext_integrations.viewer.disagreement import disagreement, pooled


def counted_ranks(values):
    """How many numbers are below each, and half of those that equal it."""
    return np.array([(values < one).sum() + (values == one).sum() / 2 for one in values])


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.sampled_from([0, 1, 3]),
    st.integers(2, 6),
    st.integers(2, 5),
)
def test_it_is_one_minus_the_rank_correlation_with_ties_and_both_zeros(seed, dtype, digits, height, width):
    chance = np.random.default_rng(seed)
    first, second = (chance.normal(size=(3, height, width)).round(digits).astype(dtype) for _ in range(2))
    first[0, 0, 0], first[0, 0, 1] = 0.0, -0.0
    found = disagreement(first, second)
    for k in range(3):
        a, b = first[k].ravel().astype(np.float64), second[k].ravel().astype(np.float64)
        if len(set(a)) == 1 or len(set(b)) == 1:
            assert np.isnan(found[k])
        else:
            expected = 1 - np.corrcoef(counted_ranks(a), counted_ranks(b))[0, 1]
            assert found[k] == pytest.approx(expected, abs=1e-6)


def test_thousands_of_pixels_of_half_precision_are_ranked_apart():
    ramp = np.linspace(0.0, 1.0, 4096).astype(np.float16).reshape(1, 64, 64)
    assert disagreement(ramp, ramp) == pytest.approx([0.0], abs=1e-12)
    assert disagreement(ramp, -ramp) == pytest.approx([2.0], abs=1e-12)
    last = np.arange(4096, dtype=np.float64).reshape(1, 64, 64)
    last[0, -1, -1] = -1.0  # from the last rank to the first: d^2 is 4095^2 + 4095
    whole = np.arange(4096, dtype=np.float64).reshape(1, 64, 64).astype(np.uint16).view(np.float16)  # in the same order
    expected = 6 * (4095**2 + 4095) / (4096 * (4096**2 - 1))
    assert disagreement(whole, last) == pytest.approx([expected], rel=1e-9)


def test_only_the_order_counts_and_channels_are_summed():
    chance = np.random.default_rng(0)
    maps = chance.normal(size=(2, 3, 4, 4))
    summed = maps.sum(1)
    np.testing.assert_allclose(disagreement(maps, np.exp(summed)), 0, atol=1e-12)
    np.testing.assert_allclose(disagreement(maps, -7 * summed), 2, atol=1e-12)


def test_the_finer_map_is_brought_to_the_cells_of_the_coarser_one():
    coarse = np.array([[[1.0, 2.0], [4.0, 3.0]]])
    fine = np.kron(coarse, np.ones((1, 3, 3)))
    np.testing.assert_allclose(pooled(fine, (2, 2)), coarse)
    np.testing.assert_allclose(disagreement(coarse, fine), 0, atol=1e-12)
    np.testing.assert_allclose(pooled(np.array([[[0.0, 3.0, 6.0]]]), (1, 2)), [[[1.0, 5.0]]])


def test_maps_that_are_constant_or_not_finite_have_none():
    ramp = np.arange(4.0).reshape(1, 2, 2)
    assert np.isnan(disagreement(np.ones((1, 2, 2)), ramp)).all()
    assert np.isnan(disagreement(ramp * np.array([np.nan, 1, 1, 1]).reshape(1, 2, 2), ramp)).all()
