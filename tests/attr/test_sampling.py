"""Points of the stratified rule: shares, strata, weights, and that the estimate is unbiased."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ext.attr import ExpectedGradients
from captum_ext.attr.paths.points import Starts, allocate, stratified_points, systematic_sample
from tests import oracles

positive = st.lists(st.floats(0.05, 1), min_size=1, max_size=8)


def starts_of(weights):
    weight = torch.tensor([weights], dtype=torch.float64)
    count = len(weights)
    return Starts((torch.zeros(count, 1),), torch.arange(count)[None], weight / weight.sum())


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@given(weights=positive, extra=st.integers(0, 60))
def test_shares_are_the_largest_remainder_with_at_least_one_each(weights, extra):
    n_points = len(weights) + extra
    counts = allocate(torch.tensor(weights, dtype=torch.float64), n_points)
    assert int(counts.sum()) == n_points
    assert int(counts.min()) >= 1
    if min(weights) / sum(weights) * n_points >= 1:
        assert sorted(counts.tolist()) == sorted(oracles.largest_remainder(weights, n_points))


def test_a_path_far_below_its_share_still_gets_one_point():
    counts = allocate(torch.tensor([0.98, 0.01, 0.01], dtype=torch.float64), 4)
    assert counts.tolist() == [2, 1, 1]


@given(weights=positive, n_points=st.integers(1, 40), seed=st.integers(0, 99))
def test_every_stratum_of_alpha_holds_one_point_and_weights_sum_to_one(weights, n_points, seed):
    points = stratified_points(starts_of(weights), n_points, [generator(seed)])
    assert sorted((points.alpha * n_points).floor().int().tolist()) == list(range(n_points))
    assert float(points.weight.sum()) == pytest.approx(1, abs=1e-12)
    assert len(points) == n_points


@given(weights=positive, n_points=st.integers(1, 8), seed=st.integers(0, 99))
def test_systematic_sampling_draws_each_path_floor_or_ceil_of_its_share(weights, n_points, seed):
    weight = torch.tensor(weights, dtype=torch.float64)
    counts = torch.bincount(systematic_sample(weight, n_points, generator(seed)), minlength=len(weights))
    share = weight / weight.sum() * n_points
    assert bool((counts >= (share - 1e-9).floor()).all())
    assert bool((counts <= (share + 1e-9).ceil()).all())


@pytest.mark.parametrize("n_steps", [2, 3, 7])
def test_the_stratified_estimate_is_unbiased(n_steps):
    references = torch.tensor([[0.0, 1.0], [2.0, -1.0], [1.0, 4.0]], dtype=torch.float64)
    x = torch.tensor([[1.5, 0.5]], dtype=torch.float64)
    eg = ExpectedGradients(lambda p: (p[:, 0] * p[:, 1] ** 2).sin(), references=references)
    exact = eg.attribute(x, n_steps=60, method="gausslegendre")
    generators = [generator(seed) for seed in range(3000)]
    draws = eg.attribute(x.expand(3000, 2), n_steps=n_steps, generator=generators)
    error = (draws.mean(0) - exact[0]).abs() / (draws.std(0) / len(draws) ** 0.5)
    assert float(error.max()) < 4


def test_stratified_costs_n_steps_gradients_in_total_whatever_the_number_of_references():
    rows = []
    eg = ExpectedGradients(lambda p: (rows.append(len(p)), p.sum(1))[1], references=torch.rand(20, 3))
    eg.attribute(torch.rand(2, 3), n_steps=7)
    assert sum(rows) == 14


def test_one_generator_gives_rows_different_points_and_one_each_makes_them_independent_of_the_batch():
    x, references = torch.ones(2, 3), torch.rand(5, 3, generator=generator(1))
    eg = ExpectedGradients(lambda p: (p**3).sum(1), references=references)
    shared = eg.attribute(x, n_steps=5, generator=generator())
    assert not torch.equal(shared[0], shared[1])
    own = eg.attribute(x, n_steps=5, generator=[generator(), generator()])
    assert torch.equal(own[0], own[1])
    assert torch.equal(own[:1], eg.attribute(x[:1], n_steps=5, generator=generator()))


def test_without_a_generator_calls_differ_and_the_global_state_is_neither_read_nor_changed():
    eg = ExpectedGradients(lambda p: (p**3).sum(1), references=torch.rand(5, 3))
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        state = torch.get_rng_state()
        results.append(eg.attribute(torch.ones(1, 3), n_steps=5))
        assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(*results)
