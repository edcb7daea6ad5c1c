"""Hierarchical refinement: transitions, nested levels, what is refined, and that mass is kept.

The propositions are those of section C of the USU paper.
"""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ext.exceptions import ArgumentError
from captum_ext.upsampling import USU, Refinement, USUUpsampler
from captum_ext.upsampling.neighbourhoods import Cells
from captum_ext.upsampling.refinement import (
    has_changed,
    heterogeneity,
    merged,
    mixing_coefficient,
    nested,
    refine,
    to_refine,
    transitions,
)
from tests import oracles

KERNELS = ["max-min", "diagonal"]
seeds = st.integers(0, 9999)
STEP = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]])[None]


def test_max_min_is_the_step_of_the_scores_and_the_diagonal_kernel_is_blind_to_straight_edges():
    assert transitions(STEP, "max-min")[0, 1].tolist() == [0, 1, 1, 0]
    assert not bool(transitions(STEP, "diagonal").any())
    corner = torch.tensor([[0.0, 0, 0], [0, 1, 1], [0, 1, 1]])[None]
    assert float(transitions(corner, "diagonal")[0, 0, 0]) == 1


@pytest.mark.parametrize("kernel", KERNELS)
def test_constant_scores_have_no_transition_at_the_border_either(kernel):
    assert not bool(transitions(torch.full((2, 4, 5), 0.7), kernel).any())


def random_scores(seed, n=2):
    return torch.rand(n, 2, 5, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seed=seeds)
def test_the_h_map_and_the_mixture_are_the_literal_equations(seed):
    coarse, fine = random_scores(seed)
    h = heterogeneity(coarse)
    mixed = merged(coarse, fine, mixing_coefficient(h.abs(), Refinement(mu=0.4, tau=0.15)))
    for row in range(2):
        expected = oracles.h_map(coarse[row])
        torch.testing.assert_close(h[row], expected, rtol=1e-10, atol=1e-12)
        for i, j in itertools.product(range(5), range(6)):
            at = (float(coarse[row, i, j]), float(fine[row, i, j]), float(expected[i, j]))
            assert float(mixed[row, i, j]) == pytest.approx(oracles.merged_scores(*at, 0.4, 0.15), rel=1e-9)


@given(seed=seeds, factor=st.floats(-3, 3))
def test_proposition_3_the_h_map_is_linear(seed, factor):
    first, second = random_scores(seed)
    torch.testing.assert_close(heterogeneity(first + second), heterogeneity(first) + heterogeneity(second))
    torch.testing.assert_close(heterogeneity(factor * first), factor * heterogeneity(first))


@given(seed=seeds, level=st.floats(0, 1))
def test_proposition_4_the_h_map_is_zero_where_a_window_is_constant(seed, level):
    scores = random_scores(seed)[0]
    scores[:, 1:4, 2:5] = level
    assert heterogeneity(scores)[:, 2, 3].tolist() == [0, 0]


@given(seed=seeds, thresholds=st.tuples(st.floats(0.01, 2), st.floats(0.01, 2)), kernel=st.sampled_from(KERNELS))
def test_proposition_5_a_lower_threshold_refines_no_fewer_segments(seed, thresholds, kernel):
    labels = torch.unique(torch.randint(4, (5, 6), generator=torch.Generator().manual_seed(seed)), return_inverse=True)[
        1
    ]
    transition = transitions(random_scores(seed)[0], kernel)[0]
    low, high = (to_refine(labels, transition, Refinement(threshold=theta)) for theta in sorted(thresholds))
    assert bool((low | ~high).all())


@given(seed=seeds, tolerance=st.floats(0, 1))
def test_propositions_6_and_7_the_comparator_is_symmetric_and_ends_where_nothing_changes(seed, tolerance):
    first, second = random_scores(seed)
    assert torch.equal(has_changed(first, second, tolerance), has_changed(second, first, tolerance))
    assert has_changed(first, first, tolerance).tolist() == [False, False]
    frobenius = [float(torch.linalg.norm(difference)) for difference in first - second]
    assert has_changed(first, second, tolerance).tolist() == [norm > tolerance * 30**0.5 for norm in frobenius]


@given(mu=st.floats(0, 2), tau=st.floats(0.01, 1))
def test_the_mixing_coefficient_has_its_five_properties(mu, tau):
    refinement = Refinement(mu=mu, tau=tau)

    def alpha(transition):
        return float(mixing_coefficient(torch.tensor([transition], dtype=torch.float64), refinement))

    steps = [mu + tau * k for k in (-7, -5.1, -2, 0, 2, 5.1, 7)]
    values = [alpha(step) for step in steps]
    assert all(0 < value < 1 for value in values)
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(values)
    assert values[3] == 0.5
    assert max(values[5:]) < 0.01
    assert min(values[:2]) > 0.99


@given(seed=seeds, alpha=st.floats(0, 1))
def test_propositions_8_to_10_merged_scores_lie_between_and_equal_ones_stay(seed, alpha):
    for dtype in (torch.float32, torch.float64):
        coarse, fine = random_scores(seed).to(dtype)
        coarse[0, 0], fine[0, 1] = 1.0, 0.0
        weight = torch.full_like(coarse, alpha)
        mixed = merged(coarse, fine, weight)
        assert bool((mixed >= torch.minimum(coarse, fine)).all())
        assert bool((mixed <= torch.maximum(coarse, fine)).all())
        assert torch.equal(merged(coarse, coarse, weight), coarse)


def test_without_mu_and_tau_the_mixture_is_centred_at_the_threshold_and_a_tenth_of_it_wide():
    transition = torch.linspace(0, 2, 30, dtype=torch.float64)
    given = mixing_coefficient(transition, Refinement(threshold=0.3, mu=0.3, tau=0.03))
    assert torch.equal(mixing_coefficient(transition, Refinement(threshold=0.3)), given)
    wider = mixing_coefficient(transition, Refinement(threshold=0.3, tau=0.3))
    assert bool((wider[transition < 0.25] < given[transition < 0.25]).all())


@pytest.mark.parametrize("small", [5e-324, 1e-45, 1e-30])
@pytest.mark.parametrize("name", ["threshold", "tau"])
def test_extreme_widths_of_the_mixture_give_their_limit(name, small):
    transition = torch.tensor([0.0, 0.1, 1.0])
    step = Refinement(mu=0.1, **{name: small})
    assert mixing_coefficient(transition, step).tolist() == [1.0, 0.5, 0.0]
    flat = Refinement(mu=1e308, tau=1e308)
    assert torch.allclose(mixing_coefficient(transition, flat), torch.tensor(1.0).sigmoid().expand(3))


def test_mu_and_tau_decide_what_refined_scores_are():
    coarse, fine = torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 1, 2, 3]]])
    scores = torch.tensor([[[0.2, 0.2, 0.8, 0.8]]])

    def refined(**options):
        refinement = Refinement(depth=2, threshold=0.1, **options)
        return refine(scores, [coarse, fine], lambda labels: [torch.arange(5.0)], refinement)

    kept = refined(mu=5.0, tau=0.01)
    assert torch.equal(kept, scores)
    replaced = refined(mu=0.0, tau=0.001)[0, 0, 1:3]
    torch.testing.assert_close(replaced, torch.tensor([0.2 / 3, 0.8 * 2 / 3]))


@given(seed=st.integers(0, 999))
def test_levels_are_nested_and_each_fine_segment_joins_the_majority(seed):
    generator = torch.Generator().manual_seed(seed)
    raw = [torch.unique(torch.randint(n, (1, 6, 7), generator=generator), return_inverse=True)[1] for n in (3, 6, 12)]
    levels = nested(raw)
    assert torch.equal(levels[-1], raw[-1])
    for coarse, fine in itertools.pairwise(levels):
        for label in fine.unique():
            assert len(coarse[fine == label].unique()) == 1
        assert coarse.unique().tolist() == list(range(len(coarse.unique())))
    votes = raw[1][0][levels[2][0] == 0].bincount(minlength=6)
    same = raw[1][0].flatten()[levels[1].flatten() == levels[1][levels[2] == 0][0]]
    assert int(votes.argmax()) in same.tolist()


def test_segments_are_refined_by_threshold_or_budget():
    labels = torch.tensor([[0, 0, 1, 1, 2, 2]])
    transition = torch.tensor([[0.0, 0.2, 0.5, 0.1, 0.9, 0.0]])
    assert to_refine(labels, transition, Refinement(threshold=0.3)).tolist() == [False, True, True]
    assert to_refine(labels, transition, Refinement(threshold=0.6)).tolist() == [False, False, True]
    assert to_refine(labels, transition, Refinement(budget=1)).tolist() == [False, False, True]
    assert to_refine(labels, torch.zeros(1, 6), Refinement(budget=2)).tolist() == [False, False, False]


def test_refined_parts_lie_between_zero_and_their_segments_score_and_the_rest_stays():
    coarse, fine = torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 1, 2, 3]]])
    scores = torch.tensor([[[0.0, 0.0, 0.8, 0.8]]])
    asked = []

    def score(labels):
        asked.append(labels.clone())
        return [torch.arange(int(labels.max()) + 1, dtype=torch.float32)]

    refined = refine(scores, [coarse, fine], score, Refinement(depth=2, threshold=0.1, budget=2))
    assert len(asked) == 1
    assert float(refined.min()) >= 0
    assert bool((refined <= scores).all())
    assert refined[0, 0, :2].tolist() == [0, 0]
    assert float(refined[0, 0, 2]) < 0.8


def test_without_transitions_nothing_is_scored_again():
    def never(labels):
        raise AssertionError("scored again")

    flat = torch.full((1, 2, 4), 0.5)
    labels = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1]]])
    assert torch.equal(refine(flat, [labels, labels], never, Refinement(depth=2)), flat)


@pytest.mark.parametrize("method", ["slic", "grid"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_refined_upsampling_keeps_the_mass_of_every_cell(method, kernel):
    y, x = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 40), indexing="ij")
    images = torch.stack([torch.stack([x, y, (x > 0.4).float()]), torch.stack([y, (y > 0.7).float(), x * 0.5])])
    coarse = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(1))
    weight = torch.linspace(-0.01, 0.01, 32 * 40).reshape(32, 40)
    passes = []

    def model(x):
        passes.append(len(x))
        return (x.mean(1) * weight).sum((1, 2))[:, None].tanh()

    def upsampled(refinement):
        passes.clear()
        usu = USU.paper(segmenter=method, refinement=refinement)
        return usu(coarse, images, model, 0), usu.score_map(images, model, 0)

    fine, scores = upsampled(Refinement(depth=3, kernel=kernel, threshold=0.05))
    refined_passes = sum(passes)
    _, plain = upsampled(None)
    cells = Cells((4, 5), (32, 40), fine.device)
    masses = coarse * cells.pixels
    assert float((cells.sum(fine[:, 0].double()) - masses).abs().sum() / masses.sum()) < 1e-6
    assert 0 <= float(scores.min()) <= float(scores.max()) <= 1
    assert refined_passes > sum(passes)
    assert not torch.equal(scores, plain)


def test_a_label_map_has_no_finer_levels():
    with pytest.raises(ArgumentError, match="`refinement` to be None with a label map or function"):
        USUUpsampler(segmenter=torch.zeros(4, 4, dtype=torch.int64), refinement=Refinement())


def test_a_score_map_has_no_segments_to_refine():
    with pytest.raises(ArgumentError, match=r"`refinement` to be None with a score map, .* as in USU.fixed, but got a"):
        USUUpsampler(scorer=torch.zeros(1, 4, 4), refinement=Refinement())
