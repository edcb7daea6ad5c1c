"""The operator: mass in every cell, the literal equations, all sizes, potentials and temperatures."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ext.exceptions import ArgumentError, NonFiniteError
from captum_ext.upsampling import redistribute
from captum_ext.upsampling.neighbourhoods import Cells
from tests import oracles

seeds = st.integers(0, 9999)
sizes = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(0, 25), st.integers(0, 25))
POTENTIALS = ["tensor", "power", "log-odds"]


def random_case(seed, shape, dtype=torch.float64, signed=True):
    h, w, more, wider = shape
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, h, w, generator=generator, dtype=dtype) - (0.4 if signed else 0)
    scores = torch.rand(2, h + more, w + wider, generator=generator, dtype=dtype)
    return coarse, scores.round(decimals=1)


def relative_mass_error(coarse, fine):
    cells = Cells(tuple(coarse.shape[1:]), tuple(fine.shape[-2:]), fine.device)
    mass = coarse.double() * cells.pixels
    return float((cells.sum(fine[:, 0].double()) - mass).abs().sum() / mass.abs().sum())


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@given(
    seed=seeds,
    shape=sizes,
    temperature=st.floats(1e-4, 10),
    gamma=st.floats(0.1, 5),
    potential=st.sampled_from(POTENTIALS),
)
def test_every_cell_keeps_its_mass(dtype, bound, seed, shape, temperature, gamma, potential):
    coarse, scores = random_case(seed, shape, dtype)
    fine = redistribute(coarse, scores, temperature=temperature, potential=potential, gamma=gamma)
    assert fine.dtype == dtype
    assert bool(torch.isfinite(fine).all())
    assert relative_mass_error(coarse, fine) <= bound


@given(seed=seeds, shape=sizes, temperature=st.floats(0.05, 2), gamma=st.floats(0.5, 3))
def test_the_result_equals_the_literal_equations(seed, shape, temperature, gamma):
    coarse, scores = random_case(seed, shape)
    potentials = {
        "tensor": lambda s: math.exp((s - 0.5) / temperature),
        "power": lambda s: max(s, 1e-6) ** gamma,
        "log-odds": lambda s: (min(max(s, 1e-3), 0.999) / (1 - min(max(s, 1e-3), 0.999))) ** gamma,
    }
    for name, potential in potentials.items():
        fine = redistribute(coarse, scores, temperature=temperature, potential=name, gamma=gamma)
        for row in range(2):
            expected = oracles.redistributed(coarse[row], scores[row], potential)
            torch.testing.assert_close(fine[row, 0], expected, rtol=1e-10, atol=1e-12)


@given(seed=seeds, shape=sizes, temperature=st.floats(0.05, 2), importance=st.floats(0.05, 2), by_mass=st.booleans())
def test_global_redistributions_share_the_whole_mass_among_cells(seed, shape, temperature, importance, by_mass):
    coarse, scores = random_case(seed, shape, signed=not by_mass)
    fine = redistribute(
        coarse,
        scores,
        temperature=temperature,
        redistribution="global-mass" if by_mass else "global-area",
        importance_temperature=importance,
    )
    for row in range(2):
        shared = oracles.globally_shared(coarse[row], scores[row], importance, by_mass)
        expected = oracles.redistributed(shared, scores[row], lambda s: math.exp((s - 0.5) / temperature))
        torch.testing.assert_close(fine[row, 0], expected, rtol=1e-10, atol=1e-12)


@given(seed=seeds, shape=sizes, temperature=st.floats(0.05, 2), importance=st.floats(0.05, 2))
def test_equal_importances_give_usu_back_with_global_mass_and_with_global_area_equal_cells(
    seed, shape, temperature, importance
):
    coarse, scores = random_case(seed, shape, signed=False)
    cells = Cells(tuple(coarse.shape[1:]), tuple(scores.shape[1:]), torch.device("cpu"))
    scores = scores - cells.spread(cells.amax(scores)) + 1  # the best score of every cell is 1
    scores = scores.clamp(0, 1)
    options = {"temperature": temperature, "importance_temperature": importance}
    by_mass = redistribute(coarse, scores, redistribution="global-mass", **options)
    torch.testing.assert_close(by_mass, redistribute(coarse, scores, temperature=temperature), rtol=1e-12, atol=1e-14)
    by_area = redistribute(coarse, scores, redistribution="global-area", **options)
    mean = (coarse * cells.pixels).sum((1, 2), keepdim=True) / cells.pixels.sum()
    torch.testing.assert_close(cells.sum(by_area[:, 0]), mean * cells.pixels, rtol=1e-12, atol=1e-14)


def test_equal_importances_do_not_give_usu_back_with_the_papers_equation_13():
    coarse, scores = torch.tensor([[[1.0, 3.0]]]), torch.full((1, 1, 4), 0.5)
    assert redistribute(coarse, scores, temperature=0.1).flatten().tolist() == [1, 1, 3, 3]
    by_mass = redistribute(coarse, scores, temperature=0.1, redistribution="global-mass")
    by_area = redistribute(coarse, scores, temperature=0.1, redistribution="global-area")
    assert by_mass.flatten().tolist() == [1, 1, 3, 3]
    assert by_area.flatten().tolist() == [2, 2, 2, 2]


@given(seed=seeds, shape=sizes)
def test_global_area_forgets_the_coarse_map_but_for_its_total_and_is_linear_in_it(seed, shape):
    coarse, scores = random_case(seed, shape)
    options = {"temperature": 0.1, "redistribution": "global-area"}
    fine = redistribute(coarse, scores, **options)
    cells = Cells(tuple(coarse.shape[1:]), tuple(scores.shape[1:]), torch.device("cpu"))
    mean = (coarse * cells.pixels).sum((1, 2), keepdim=True) / cells.pixels.sum()
    torch.testing.assert_close(redistribute(mean.expand_as(coarse), scores, **options), fine, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(redistribute(-2 * coarse, scores, **options), -2 * fine, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(fine.sum((1, 2, 3)), (coarse * cells.pixels).sum((1, 2)), rtol=1e-9, atol=1e-9)


def test_masses_of_both_signs_cancel_in_the_total_that_global_area_shares():
    coarse, scores = torch.tensor([[[1.0, -1.0]]]), torch.tensor([[[0.1, 0.9, 0.4, 0.2]]])
    assert not bool(redistribute(coarse, scores, temperature=0.1, redistribution="global-area").any())


def test_mass_is_kept_where_the_most_important_cell_has_none():
    coarse, scores = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    fine = redistribute(coarse, scores, temperature=1e-4, redistribution="global-mass")
    assert fine.flatten().tolist() == [1, 1, 0, 0]


@given(shape=sizes)
def test_cells_are_those_of_the_integer_rule_and_of_nearest_interpolation(shape):
    h, w, more, wider = shape
    size = (h + more, w + wider)
    cells = Cells((h, w), size, torch.device("cpu"))
    numbers = torch.arange(h * w, dtype=torch.float64).reshape(1, h, w)
    spread = cells.spread(numbers)[0]
    literal = [[numbers[0][oracles.cell_of(i, j, (h, w), size)] for j in range(size[1])] for i in range(size[0])]
    assert torch.equal(spread, torch.tensor(literal))
    assert torch.equal(cells.amax(spread[None]), numbers)
    assert torch.equal(cells.sum(spread[None]), numbers * cells.pixels)
    assert torch.equal(cells.combine_(spread[None].clone(), numbers, torch.Tensor.sub_), torch.zeros(1, *size).double())
    assert int(cells.pixels.sum()) == size[0] * size[1]


@given(seed=seeds, shape=sizes)
def test_equal_scores_give_nearest_interpolation_exactly(seed, shape):
    coarse, scores = random_case(seed, shape, torch.float32)
    fine = redistribute(coarse, torch.full_like(scores, 0.3), temperature=0.1)
    cells = Cells(tuple(coarse.shape[1:]), tuple(scores.shape[1:]), torch.device("cpu"))
    torch.testing.assert_close(fine[:, 0], cells.spread(coarse), rtol=1e-6, atol=0)


def test_the_best_scored_pixels_take_all_at_a_tiny_temperature():
    scores = torch.tensor([[[0.2, 0.9, 0.9, 0.1]]])
    fine = redistribute(torch.ones(1, 1, 1), scores, temperature=1e-4)
    assert fine.flatten().tolist() == [0, 2, 2, 0]


def test_negative_mass_is_redistributed_linearly():
    coarse, scores = random_case(3, (2, 3, 5, 4))
    fine = redistribute(coarse, scores, temperature=0.3)
    torch.testing.assert_close(redistribute(-2 * coarse, scores, temperature=0.3), -2 * fine)


def test_higher_scores_get_more_in_their_cell_and_other_cells_do_not_matter():
    coarse, scores = random_case(4, (2, 2, 6, 6), signed=False)
    fine = redistribute(coarse, scores, temperature=0.3)[:, 0]
    block, score = fine[0, :4, :4].flatten(), scores[0, :4, :4].flatten()
    order = score.argsort()
    assert bool((block[order].diff() >= -1e-12).all())
    changed = scores.clone()
    changed[:, 4:] = 1 - changed[:, 4:]
    torch.testing.assert_close(redistribute(coarse, changed, temperature=0.3)[:, 0, :4], fine[:, :4])


def test_a_gradient_flows_to_the_coarse_map_and_not_to_the_scores():
    coarse = torch.rand(1, 2, 2, dtype=torch.float64, requires_grad=True)
    scores = torch.rand(1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: redistribute(c, scores.detach(), temperature=0.3), (coarse,))
    redistribute(coarse, scores, temperature=0.3).sum().backward()
    assert scores.grad is None


def test_half_precision_is_computed_and_returned_in_float32_and_one_score_map_serves_a_batch():
    coarse, scores = random_case(5, (3, 3, 9, 8))
    fine = redistribute(coarse.half()[:, None], scores[:1].half(), temperature=0.3)
    assert fine.dtype == torch.float32
    assert fine.shape == (2, 1, 12, 11)
    expected = redistribute(coarse, scores[:1], temperature=0.3).float()
    torch.testing.assert_close(fine, expected, rtol=5e-3, atol=5e-3)


def test_a_map_without_mass_stays_empty():
    for redistribution in ("local", "global-mass", "global-area"):
        fine = redistribute(torch.zeros(1, 2, 2), torch.rand(1, 5, 5), temperature=0.1, redistribution=redistribution)
        assert not bool(fine.any())


ONES, SCORES = torch.ones(1, 2, 2), torch.rand(1, 4, 4)
BAD = [
    ((torch.full((1, 2, 2), float("nan")), SCORES), {}, NonFiniteError, "`coarse` to be finite, but got NaN"),
    ((ONES, torch.full((1, 4, 4), float("inf"))), {}, NonFiniteError, "`score_map` to be finite, but got infinity"),
    ((torch.ones(1, 5, 2), SCORES), {}, ArgumentError, r"no larger than the image \(4, 4\), but got a grid \(5, 2\)"),
    ((ONES, SCORES * 3), {}, ArgumentError, "`score_map` to be between 0 and 1, but got values from"),
    ((ONES, torch.rand(3, 4, 4)), {}, ArgumentError, "`score_map` to be of 1 rows like the coarse map, or one"),
    ((torch.ones(1, 3, 2, 2), SCORES), {}, ArgumentError, r"`coarse` to be of shape \(N, h, w\) or \(N, 1, h, w\)"),
    (
        (-ONES, SCORES),
        {"redistribution": "global-mass"},
        ArgumentError,
        '`coarse` to be non-negative for "global-mass"',
    ),
    ((ONES, SCORES), {"temperature": 0}, ArgumentError, "`temperature` to be a finite positive number, but got int 0"),
    ((ONES, SCORES), {"importance_temperature": -1.0}, ArgumentError, "`importance_temperature` to be a finite"),
    ((ONES, SCORES), {"potential": "linear"}, ArgumentError, '`potential` to be one of "tensor", "power", "log-odds"'),
    ((ONES, SCORES), {"redistribution": "none"}, ArgumentError, '`redistribution` to be one of "local"'),
]


@pytest.mark.parametrize(("maps", "options", "error", "message"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_bad_arguments_are_named(maps, options, error, message):
    with pytest.raises(error, match=message):
        redistribute(*maps, **{"temperature": 0.3, **options})
