"""Passes that are made once: equal images of a call, and what later calls ask again. Numbers are those of a loop."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from captum_ext.core.inspection import observing
from captum_ext.exceptions import ArgumentError
from captum_ext.upsampling import USU, CoalitionScorer

LABELS = torch.tensor([[0, 0, 1, 1], [0, 0, 2, 2]])
POOL = torch.rand(3, 2, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SETTINGS = {"segmenter": LABELS, "fill": 0.25}


class Network(nn.Module):
    """Three scores that no part of the image adds to by itself; `rows` counts what it was given."""

    def __init__(self, shape=(3,)):
        super().__init__()
        drawn = torch.rand(3, 2, 2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        self.weight = nn.Parameter(drawn - 0.5)
        self.shape, self.rows = shape, 0

    def forward(self, x, scale=1.0):
        self.rows += len(x)
        scores = torch.tanh((x[:, None] * self.weight).sum((2, 3, 4))) * scale
        return scores.reshape(len(x), *self.shape)


def slow_scores(model, images, targets, kind):
    """Every segment by itself, one image and one pass at a time, scaled by each image's minimum and maximum."""
    found = []
    for image, target in zip(images, targets, strict=True):
        scores = []
        for segment in range(3):
            inside = segment == LABELS
            alone = torch.where(inside, image, torch.full_like(image, 0.25))
            without = torch.where(inside, torch.full_like(image, 0.25), image)
            with torch.no_grad():
                inserted, deleted = (float(model(one[None])[0, target]) for one in (alone, without))
            scores.append({"insertion": inserted, "deletion": -deleted}.get(kind, inserted - deleted))
        low, high = min(scores), max(scores)
        found.append(torch.tensor([(score - low) / (high - low) for score in scores], dtype=torch.float64)[LABELS])
    return torch.stack(found)[:, None]


def scores_and_passes(usu, model, images, target):
    before = model.rows
    return usu.score_map(images, model, target), model.rows - before


calls = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=4),
        st.sampled_from(["insertion", "deletion", "deletion+insertion"]),
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=40)
@given(calls, st.integers(0, 3), st.sampled_from([None, 1, 4]))
def test_whatever_was_asked_before_the_scores_are_those_of_a_loop(sequence, remember, at_once):
    model = Network()
    scorers = {kind: USU(scorer=kind).scorer for _, kind in sequence}
    usu = USU(**SETTINGS, remember=remember, internal_batch_size=at_once)
    for rows, kind in sequence:
        usu.scorer = scorers[kind]
        places, targets = (list(column) for column in zip(*rows, strict=True))
        found = usu.score_map(POOL[places], model, targets)
        torch.testing.assert_close(found, slow_scores(model, POOL[places], targets, kind), rtol=0, atol=1e-12)


def test_equal_images_of_a_call_cost_the_passes_of_one():
    model, targets = Network(), [0, 1, 2, 0]
    found, passes = scores_and_passes(USU(**SETTINGS), model, POOL[[0, 0, 0, 1]], targets)
    assert passes == 2 * 6
    torch.testing.assert_close(found, slow_scores(model, POOL[[0, 0, 0, 1]], targets, "both"), rtol=0, atol=1e-12)


def test_images_that_differ_share_nothing_and_are_not_hashed_for_one():
    assert scores_and_passes(USU(**SETTINGS), Network(), POOL, 0)[1] == 3 * 6
    assert scores_and_passes(USU(**SETTINGS), Network(), POOL[:1], 0)[1] == 6


def test_other_targets_and_scorers_of_remembered_images_cost_nothing_bit_for_bit():
    model, usu = Network(), USU(**SETTINGS, remember=3)
    assert scores_and_passes(usu, model, POOL, 0)[1] == 18
    for target, kind in ((1, "deletion+insertion"), (2, "insertion"), ([2, 0, 1], "deletion")):
        usu.scorer = USU(scorer=kind).scorer
        found, passes = scores_and_passes(usu, model, POOL, target)
        assert passes == 0
        assert torch.equal(found, USU(**SETTINGS, scorer=kind).score_map(POOL, model, target))


def test_remembered_passes_serve_rows_in_any_order_and_the_paper_s_presets():
    model = Network()
    for preset in (USU.paper, USU.fixed, USU.iwmr):
        usu = preset(segmenter="grid", fill=0.25, remember=3)
        first, passes = scores_and_passes(usu, model, POOL, 0)
        assert passes > 0
        found, passes = scores_and_passes(usu, model, POOL[[2, 0]], 0)
        assert passes == 0
        torch.testing.assert_close(found, first[[2, 0]], rtol=0, atol=1e-12)


def test_coalitions_are_remembered_and_gradients_are_taken_anew():
    model, usu = Network(), USU(**SETTINGS, scorer=CoalitionScorer(20), remember=1)
    _, passes = scores_and_passes(usu, model, POOL[:1], 0)
    assert passes <= 8  # of three segments there are no more coalitions
    assert scores_and_passes(usu, model, POOL[:1], 1)[1] == 0
    usu = USU(**SETTINGS, scorer="gradient", remember=1)
    assert [scores_and_passes(usu, model, POOL[:1], 0)[1] for _ in range(2)] == [1, 1]


def change_weights(model):
    with torch.no_grad():
        model.weight.add_(0.125)


def load_weights(model):
    model.load_state_dict({"weight": model.weight.detach() * 2})


def replace_weights(model):
    model.weight = nn.Parameter(model.weight.detach() + 0.5)


def write_below_autograd(model):
    model.weight.data = model.weight.data * 3


def write_in_place_below_autograd(model):
    model.weight.data.mul_(-1)


def add_hook(model):
    model.register_forward_hook(lambda module, given, output: output * torch.tensor([1.0, -1, 1]))


def train(model):
    model.train(not model.training)


@pytest.mark.parametrize(
    "change",
    [
        change_weights,
        load_weights,
        replace_weights,
        write_below_autograd,
        write_in_place_below_autograd,
        add_hook,
        train,
    ],
)
def test_a_model_that_has_changed_is_asked_again(change):
    model, usu = Network(), USU(**SETTINGS, remember=1)
    usu.score_map(POOL[:1], model, 1)
    change(model)
    found, passes = scores_and_passes(usu, model, POOL[:1], 1)
    assert passes == 6
    torch.testing.assert_close(found, slow_scores(model, POOL[:1], [1], "both"), rtol=0, atol=1e-12)


def test_a_hook_that_only_observes_changes_nothing():
    model, usu = Network(), USU(**SETTINGS, remember=1)
    usu.score_map(POOL[:1], model, 1)
    model.register_forward_hook(observing(lambda module, given, output: None))
    assert scores_and_passes(usu, model, POOL[:1], 1)[1] == 0


def test_another_model_another_fill_and_another_image_are_asked():
    model, usu = Network(), USU(**SETTINGS, remember=1)
    usu.score_map(POOL[:1], model, 1)
    usu.fill = "mean"
    assert scores_and_passes(usu, model, POOL[:1], 1)[1] == 6
    nudged = POOL[:1].clone()
    nudged[0, 0, 0, 0] = torch.nextafter(nudged[0, 0, 0, 0], torch.tensor(2.0, dtype=torch.float64))
    assert scores_and_passes(usu, model, nudged, 1)[1] == 6
    assert scores_and_passes(usu, copy.deepcopy(model), nudged, 1)[1] == 6
    assert scores_and_passes(usu, model, nudged, 1)[1] == 6  # of one model at a time


def test_outputs_in_mixed_precision_are_not_those_in_full():
    model, usu = Network().float(), USU(**SETTINGS, remember=1)
    usu.score_map(POOL[:1].float(), model, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert scores_and_passes(usu, model, POOL[:1].float(), 1)[1] == 6


def test_only_the_last_images_stay_known():
    model, usu = Network(), USU(**SETTINGS, remember=2)
    usu.score_map(POOL, model, 0)
    assert scores_and_passes(usu, model, POOL[1:], 0)[1] == 0
    assert scores_and_passes(usu, model, POOL[:1], 0)[1] == 6
    assert scores_and_passes(usu, model, POOL[2:], 0)[1] == 0
    assert scores_and_passes(usu, model, POOL[1:2], 0)[1] == 6


def test_functions_as_targets_share_the_outputs_of_classes():
    model, usu = Network(), USU(**SETTINGS, remember=2)
    first = lambda output: output[0]  # noqa: E731
    second = lambda output: output[1] - output[2]  # noqa: E731
    usu.score_map(POOL[:2], model, 2)
    for target in (first, second, [first, second]):
        found, passes = scores_and_passes(usu, model, POOL[:2], target)
        assert passes == 0
        torch.testing.assert_close(found, USU(**SETTINGS).score_map(POOL[:2], model, target), rtol=0, atol=1e-12)
    assert scores_and_passes(USU(**SETTINGS), model, POOL[[0, 0]], [first, second])[1] == 6


def test_maps_dictionaries_and_forward_arguments_are_asked_again_with_their_own_numbers():
    of_map = lambda output: output.sum()  # noqa: E731
    maps, usu = Network(shape=(3, 1, 1)), USU(**SETTINGS, remember=1)
    expected = USU(**SETTINGS).score_map(POOL[:1], maps, of_map)
    for _ in range(2):
        found, passes = scores_and_passes(usu, maps, POOL[:1], of_map)
        assert passes >= 6
        assert torch.equal(found, expected)
    of_dict, network = lambda output: output["scores"][1], Network()
    found = usu.score_map(POOL[:1], lambda x: {"scores": network(x)}, of_dict)
    torch.testing.assert_close(found, USU(**SETTINGS).score_map(POOL[:1], network, 1), rtol=0, atol=1e-12)
    for scale in (1.0, -1.0):
        found = usu.score_map(POOL[:1], network, 1, additional_forward_args=scale)
        assert torch.equal(found, USU(**SETTINGS).score_map(POOL[:1], network, 1, scale))


def test_probabilities_are_made_of_the_outputs_that_logits_were():
    model, usu = Network(), USU(**SETTINGS, remember=1)
    usu.score_map(POOL[:1], model, 0)
    usu.probability = True
    found, passes = scores_and_passes(usu, model, POOL[:1], 0)
    assert passes == 0
    assert torch.equal(found, USU(**SETTINGS, output="probability").score_map(POOL[:1], model, 0))


def test_a_copy_remembers_nothing():
    model, usu = Network(), USU(**SETTINGS, remember=1)
    usu.score_map(POOL[:1], model, 0)
    for other in (copy.deepcopy(usu), pickle.loads(pickle.dumps(usu))):
        assert scores_and_passes(other, model, POOL[:1], 0)[1] == 6


def test_a_number_of_images_that_cannot_be_is_named():
    with pytest.raises(ArgumentError, match="`remember` to be an integer from 0"):
        USU(remember=-1)
