"""Hierarchical refinement: transitions, nested levels, what is refined, and that mass is kept."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ext.exceptions import ArgumentError
from captum_ext.upsampling import Refinement, USUUpsampler
from captum_ext.upsampling.neighbourhoods import Cells
from captum_ext.upsampling.refinement import nested, refine, to_refine, transitions

STEP = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]])[None]


def test_max_min_is_the_step_of_the_scores_and_the_diagonal_kernel_is_blind_to_straight_edges():
    assert transitions(STEP, "max-min")[0, 1].tolist() == [0, 1, 1, 0]
    assert not bool(transitions(STEP, "diagonal").any())
    corner = torch.tensor([[0.0, 0, 0], [0, 1, 1], [0, 1, 1]])[None]
    assert float(transitions(corner, "diagonal")[0, 0, 0]) == 1


@pytest.mark.parametrize("kernel", ["max-min", "diagonal"])
def test_constant_scores_have_no_transition_at_the_border_either(kernel):
    assert not bool(transitions(torch.full((2, 4, 5), 0.7), kernel).any())


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
@pytest.mark.parametrize("kernel", ["max-min", "diagonal"])
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
        usu = USUUpsampler(segmenter=method, scorer="deletion", refinement=refinement)
        return usu(coarse, images, model, 0), usu.score_map(images, model, 0)

    fine, scores = upsampled(Refinement(depth=3, kernel=kernel, threshold=0.05))
    refined_passes = sum(passes)
    _, plain = upsampled(None)
    cells = Cells((4, 5), (32, 40), fine.device)
    torch.testing.assert_close(cells.sum(fine[:, 0]), coarse * cells.pixels, rtol=1e-5, atol=1e-5)
    assert 0 <= float(scores.min()) <= float(scores.max()) <= 1
    assert refined_passes > sum(passes)
    assert not torch.equal(scores, plain)


def test_a_label_map_has_no_finer_levels():
    with pytest.raises(ArgumentError, match="`refinement` to be None with a label map or function"):
        USUUpsampler(segmenter=torch.zeros(4, 4, dtype=torch.int64), refinement=Refinement())
