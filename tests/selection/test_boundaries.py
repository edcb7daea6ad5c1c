"""Boundaries against published ones, and against simulated sums of normal increments."""

import numpy as np
import pytest

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.selection import boundaries

FIFTHS = [0.2, 0.4, 0.6, 0.8, 1.0]


def test_five_equal_looks_have_the_published_boundaries_of_lan_and_demets():
    published = [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]
    np.testing.assert_allclose(boundaries(0.025, FIFTHS), published, atol=2e-4)


def test_one_look_has_the_boundary_of_an_ordinary_test():
    np.testing.assert_allclose(boundaries(0.025, [1.0]), [1.959964], atol=1e-6)


def literal_crossings(limits, fractions, n=400_000, seed=0):
    """Share of sums of normal increments that exceed a boundary by each look, drawn one by one."""
    generator = np.random.default_rng(seed)
    total, crossed, shares, before = np.zeros(n), np.zeros(n, dtype=bool), [], 0.0
    for limit, fraction in zip(limits, fractions, strict=True):
        total += np.sqrt(fraction - before) * generator.standard_normal(n)
        crossed |= total / np.sqrt(fraction) >= limit
        shares.append(crossed.mean())
        before = fraction
    return shares


@pytest.mark.parametrize("fractions", [FIFTHS, [0.05, 0.1, 0.55, 1.0], list(np.arange(1, 21) / 20)], ids=str)
@pytest.mark.parametrize("level", [0.025, 0.005])
def test_simulated_sums_exceed_them_as_often_as_the_level_says(level, fractions):
    share = literal_crossings(boundaries(level, fractions), fractions)[-1]
    assert abs(share - level) < 4 * np.sqrt(level / 400_000)


def test_a_look_that_may_spend_nothing_has_no_boundary():
    assert np.isinf(boundaries(0.001, [0.01, 1.0])[0])


@pytest.mark.parametrize("level", [0, 0.5, -1, float("nan")])
def test_a_level_that_is_none_is_refused(level):
    with pytest.raises(ArgumentError, match="`level` to be a level of one side between 0 and 0.5"):
        boundaries(level, FIFTHS)


@pytest.mark.parametrize("fractions", [[], [0.5, 0.5], [0.5, 0.4], [0.0, 1.0], [0.5, 1.2], [float("nan")]], ids=str)
def test_shares_that_do_not_ascend_up_to_one_are_refused(fractions):
    with pytest.raises(ArgumentError, match="`fractions` to be ascending shares"):
        boundaries(0.025, fractions)


def test_a_level_that_is_no_number_is_refused():
    with pytest.raises(ArgumentTypeError, match="`level`"):
        boundaries("small", FIFTHS)
