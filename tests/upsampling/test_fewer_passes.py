"""Deletions that are left out: by a budget, or when the order of segments is settled; against a literal loop."""

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.upsampling import USU, PerturbationScorer
from captum_ext.upsampling.scoring import estimated_correlation

LABELS = torch.arange(24).reshape(4, 6) // 2  # twelve segments of two pixels
IMAGES = torch.rand(2, 1, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Network(nn.Module):
    """Scores that pixels do not add to by themselves; `rows` counts what it was given."""

    def __init__(self, seed=1):
        super().__init__()
        drawn = torch.rand(4, 4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.weight, self.rows = drawn - 0.4, 0

    def forward(self, x):
        self.rows += len(x)
        return (torch.tanh((x * self.weight).sum((2, 3))) * torch.tensor([1.0, 2, -1, 0.5])).sum(1, keepdim=True)


def slow_scores(model, image, labels, max_passes, settled):
    """Raw scores by the rule in words, and its passes: insertions, then deletions near the median of insertions."""
    count = int(labels.max()) + 1
    inserted = [float(model(torch.where(labels == k, image, 0.0)[None])) for k in range(count)]
    median = sorted(inserted)[(count - 1) // 2]
    order = sorted(range(count), key=lambda k: abs(inserted[k] - median))
    most = count if max_passes is None else min(count, max_passes - count)
    deleted = {}
    while len(deleted) < most:
        if settled is not None and len(deleted) >= min(4, count):
            share = (count - len(deleted)) / count
            spreads = [statistics.variance(one) if len(one) > 1 else 0 for one in (inserted, deleted.values())]
            if sum(spreads) == 0 or math.sqrt(1 - share * spreads[1] / sum(spreads)) >= settled:
                break
        for k in order[len(deleted) : min(most, len(deleted) + max(4, count // 8))]:
            deleted[k] = -float(model(torch.where(labels == k, 0.0, image)[None]))
    mean = statistics.mean(deleted.values()) if deleted else 0.0
    return [one + deleted.get(k, mean) for k, one in enumerate(inserted)], count + len(deleted)


@pytest.mark.filterwarnings("ignore:The segments of 1 of 1 inputs")
@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 1000),
    st.integers(1, 12),
    st.one_of(st.none(), st.integers(12, 30)),
    st.one_of(st.none(), st.floats(0.05, 1.0)),
)
def test_scores_and_passes_are_those_of_the_rule_in_words(seed, count, max_passes, settled):
    labels = torch.arange(24).reshape(4, 6) * count // 24
    image = torch.rand(1, 4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected, passes = slow_scores(Network(seed), image, labels, max_passes, settled)
    model, scorer = Network(seed), PerturbationScorer(max_passes=max_passes, settled=settled)
    shown = USU(segmenter=labels, scorer=scorer, fill=0.0).score_map(image[None], model, 0)
    assert model.rows == passes
    low, high = min(expected), max(expected)
    wanted = torch.tensor([(one - low) / (high - low) if high > low else 0.5 for one in expected], dtype=torch.float64)
    torch.testing.assert_close(shown[0, 0], wanted[labels], rtol=0, atol=1e-9)


@pytest.mark.parametrize("enough", [{"max_passes": 24}, {"max_passes": 1000}, {"settled": 1.0}])
def test_with_passes_enough_scores_are_the_full_ones(enough):
    whole = USU(segmenter=LABELS, fill=0.0).score_map(IMAGES, Network(), 0)
    model = Network()
    found = USU(segmenter=LABELS, scorer=PerturbationScorer(**enough), fill=0.0).score_map(IMAGES, model, 0)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)
    assert model.rows == 48


def test_with_a_pass_for_each_segment_scores_are_those_of_insertion():
    inserted = USU(segmenter=LABELS, scorer="insertion", fill=0.0).score_map(IMAGES, Network(), 0)
    model = Network()
    usu = USU(segmenter=LABELS, scorer=PerturbationScorer(max_passes=12), fill=0.0)
    assert torch.equal(usu.score_map(IMAGES, model, 0), inserted)
    assert model.rows == 24


def test_each_image_is_settled_by_itself():
    images = torch.cat([IMAGES[:1], IMAGES[:1] * 0.01])  # nearly linear: deletions vary as insertions do
    model, usu = Network(), USU(segmenter=LABELS, scorer=PerturbationScorer(settled=0.8), fill=0.0)
    together = usu.score_map(images, model, 0)
    passes, model.rows = model.rows, 0
    alone = torch.cat([usu.score_map(one[None], model, 0) for one in images])
    assert passes == model.rows
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_the_estimate_is_that_of_independent_deletions():
    generator = torch.Generator().manual_seed(0)
    inserted, deleted = torch.randn(2, 20_000, generator=generator, dtype=torch.float64) * torch.tensor([[2.0], [1.0]])
    known = deleted.clone()
    known[5000:] = deleted[:5000].mean()
    truth = torch.corrcoef(torch.stack([inserted + known, inserted + deleted]))[0, 1]
    assert abs(estimated_correlation(inserted, deleted[:5000]) - float(truth)) < 0.01
    assert estimated_correlation(inserted, deleted) == 1.0
    assert estimated_correlation(torch.ones(4), torch.ones(2)) == 1.0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_passes": 0}, ArgumentError, "`max_passes` to be an integer of at least 1"),
        ({"settled": 0.0}, ArgumentError, "`settled` to be a number above 0 and at most 1"),
        ({"settled": "often"}, ArgumentTypeError, "`settled` to be a number above 0 and at most 1"),
        ({"kind": "insertion", "max_passes": 9}, ArgumentError, '`max_passes` to be None with kind="insertion"'),
        ({"kind": "deletion", "settled": 0.9}, ArgumentError, '`settled` to be None with kind="deletion"'),
    ],
)
def test_settings_that_cannot_be_are_named(options, error, message):
    with pytest.raises(error, match=message):
        PerturbationScorer(**options)


def test_a_budget_below_the_number_of_segments_names_the_image():
    labels, model = torch.stack([LABELS // 2, LABELS]), Network()
    usu = USU(segmenter=labels, scorer=PerturbationScorer(max_passes=11), fill=0.0)
    with pytest.raises(ArgumentError, match="`max_passes` to be at least 12, the segments of image 1"):
        usu.score_map(IMAGES, model, 0)
    assert model.rows == 0
