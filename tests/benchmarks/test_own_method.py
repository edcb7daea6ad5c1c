"""The greedy paths of docs/own-method.md: their groups, their ends, and what their credit adds up to."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from examples.benchmarks.engine.networks import Network
from examples.benchmarks.papers.ours import pixel_credits
from examples.benchmarks.papers.ours.greedy_walk import Walk, walked
from examples.benchmarks.papers.ours.own_candidates import CANDIDATES
from examples.benchmarks.papers.ours.own_scores import likeness, other_digits
from examples.benchmarks.papers.ours.own_summary import table
from examples.real_data import Preparation

ROOT = Path(__file__).parents[2]

COMPLETE = (
    pixel_credits.scaled,
    pixel_credits.shared_by_gain,
    pixel_credits.shared_by_square,
    pixel_credits.by_arrival,
    pixel_credits.by_gain,
)


def linear(images):
    """Two classes; the first is 4, 3, 2 and 1 times the pixels."""
    weights = torch.tensor([[4.0, 3.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]], dtype=images.dtype)
    return images.flatten(1) @ weights.T


def curved(seed):
    """Two classes whose gradients change along every path."""
    weights = torch.randn(2, 32, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return lambda images: (
        (torch.tanh(images.flatten(1)) * weights[0]).sum(1, keepdim=True).square()
        + images.flatten(1) @ weights.T.to(images.dtype)
    )


def path_of(model, seed=0, sign=1, **options):
    image = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ends = (torch.zeros_like(image), image)[::sign]
    return walked(model, *ends, [0], Walk(**options), sign=sign)


def test_a_linear_model_moves_its_pixels_in_the_order_of_what_they_are_worth():
    image = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    path = walked(linear, torch.zeros_like(image), image, [0], Walk(moves=4))
    assert path.group.tolist() == [[[0, 1], [2, 3]]]
    assert path.gain.tolist() == [[[[4, 3], [2, 1]]]]
    assert path.scores.tolist() == [[0, 4, 7, 9, 10]]


def test_the_way_from_the_input_takes_the_least_worth_last_and_adds_up_to_the_same():
    image = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    path = walked(linear, image, torch.zeros_like(image), [0], Walk(moves=4), sign=-1)
    assert path.group.tolist() == [[[0, 1], [2, 3]]]
    assert path.gain.tolist() == [[[[4, 3], [2, 1]]]]
    assert path.scores.tolist() == [[10, 6, 3, 1, 0]]


@pytest.mark.parametrize("credit", COMPLETE)
def test_for_a_linear_model_moved_one_by_one_every_credit_is_the_pixels_worth_but_for_levels(credit):
    image = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    path = walked(linear, torch.zeros_like(image), image, [0], Walk(moves=4))
    assert credit(path).sum(1).tolist() == [[[4, 3], [2, 1]]]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("credit", COMPLETE)
@given(seed=st.integers(0, 10_000), moves=st.integers(2, 9), growth=st.sampled_from([0.8, 1.0, 1.3]))
@settings(deadline=None, max_examples=25)
def test_credits_add_up_to_the_change_of_score_along_the_path(credit, sign, seed, moves, growth):
    path = path_of(curved(seed), seed, sign, moves=moves, growth=growth)
    difference = float(path.scores[0, -1] - path.scores[0, 0]) * sign
    if credit is pixel_credits.scaled and difference * float(path.gain.sum()) <= 0:
        assert torch.equal(credit(path), path.gain)  # a factor that is not positive would turn the order round
    else:
        assert float(credit(path).sum()) == pytest.approx(difference, rel=1e-9, abs=1e-9)


@given(seed=st.integers(0, 10_000), moves=st.integers(2, 9))
@settings(deadline=None, max_examples=25)
def test_values_by_arrival_never_rise_along_the_path(seed, moves):
    path = path_of(curved(seed), seed, moves=moves)
    values = pixel_credits.by_arrival(path)[0, 0]
    lowest = [float(values[path.group[0] == move].min()) for move in path.group.unique().tolist()]
    highest = [float(values[path.group[0] == move].max()) for move in path.group.unique().tolist()]
    assert all(low >= high - 1e-9 for low, high in zip(lowest, highest[1:], strict=False))


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=25)
def test_levels_by_gain_are_the_values_by_arrival_in_another_order(seed):
    path = path_of(curved(seed), seed, moves=5)
    dealt, levels = (credit(path).flatten() for credit in (pixel_credits.by_gain, pixel_credits.by_arrival))
    assert torch.equal(dealt.sort().values, levels.sort().values)
    order = path.gain.sum(1).flatten().argsort(descending=True)
    assert bool((dealt[order].diff() <= 0).all())


def test_around_a_soft_border_pixels_move_by_a_part_and_the_rest_of_them_later():
    image = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    seen = []

    def watched(images):
        seen.append(images.detach().flatten().tolist())
        return linear(images)

    path = walked(watched, torch.zeros_like(image), image, [0], Walk(moves=2, soft=0.5))
    assert seen == [[0, 0, 0, 0], [1, 0.75, 0.25, 0], [1, 1, 1, 1]]  # places .5, 1.5, 2.5, 3.5; two of four are to go
    assert path.gain.tolist() == [[[[4, 3], [2, 1]]]]
    assert path.group.tolist() == [[[0, 0], [0, 1]]]


@pytest.mark.parametrize(("by_length", "expected"), [(True, [1, 1, 14]), (False, [5, 5, 6])])
def test_groups_have_equal_parts_of_the_way_or_of_the_pixels(by_length, expected):
    image = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    image[0, 0, 0, :2] = 14.0  # two pixels have two thirds of the way
    path = walked(
        lambda images: images.flatten(1).sum(1, keepdim=True),
        torch.zeros_like(image),
        image,
        [0],
        Walk(moves=3, by_length=by_length),
    )
    assert torch.bincount(path.group.flatten()).tolist() == expected


def test_a_pixel_that_is_the_same_at_both_ends_goes_nowhere():
    image = torch.tensor([[[[1.0, 0.0], [1.0, 1.0]]]], dtype=torch.float64)
    path = walked(linear, torch.zeros_like(image), image, [0], Walk(moves=3))
    assert path.group.tolist() == [[[0, -1], [1, 2]]]
    assert [float(credit(path)[0, :, 0, 1].sum()) for credit in COMPLETE] == [0] * len(COMPLETE)


def test_with_nothing_of_their_own_pixels_of_a_region_go_together():
    image = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    regions = torch.tensor([[[0, 1], [1, 0]]])  # 4 and 1 against 3 and 2: as good, and the first is taken
    path = walked(linear, torch.zeros_like(image), image, [0], Walk(moves=2, inside=0.0, momentum=0.0), regions=regions)
    assert sorted(torch.bincount(path.group.flatten()).tolist()) == [2, 2]


def test_other_last_digits_are_no_more_than_that():
    image = torch.ones(1, 1, 8, 8)
    changed = other_digits(image, 0)
    assert 0 < float((changed - image).abs().max()) < 1e-6
    assert likeness(image, image) == 1
    assert likeness(torch.arange(4.0).view(1, 1, 2, 2), -torch.arange(4.0).view(1, 1, 2, 2)) == pytest.approx(-1)


@pytest.mark.parametrize("name", CANDIDATES)
def test_each_candidate_makes_a_map_of_a_small_network(name):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    tiny_network = Network("tiny", model.eval(), Preparation(size=16), model[1], 2)
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = CANDIDATES[name](tiny_network, image, [1], 6, 0)
    assert (found.maps.shape[0], *found.maps.shape[2:]) == (1, 16, 16)
    assert bool(torch.isfinite(found.maps).all())
    assert found.difference is None or abs(found.difference) < 1  # what the maps add up to is tested above


def test_the_table_of_the_page_is_that_of_the_kept_rows():
    folder = ROOT / "examples" / "benchmarks" / "results" / "own" / "rows" / "own-singles-lite0-25"
    rows = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])
    page = (ROOT / "docs" / "own-method.md").read_text()
    assert set(rows["method"]) <= set(CANDIDATES)
    assert table(rows).split("\n\n")[1] in page
