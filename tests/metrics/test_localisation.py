"""Localisation and sparseness: exact values, undefined maps, and agreement with a literal reading."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.metrics import concentration, gini, iou, pointing_game

MASK = torch.tensor([[1, 1, 0], [0, 0, 0]])


def literal_iou(chosen, mask):
    return len(chosen & mask) / len(chosen | mask)


@given(seed=st.integers(0, 10_000), area=st.integers(1, 11))
def test_iou_equals_sets_of_pixels(seed, area):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randint(-3, 4, (2, 3, 4), generator=generator).double()
    maps[:, 0, 0] = 5  # not constant
    mask = torch.zeros(12, dtype=torch.bool)
    mask[torch.randperm(12, generator=generator)[:area]] = True
    inside = {i for i in range(12) if mask[i]}
    best = iou(maps, mask.reshape(3, 4), threshold="best")
    by_area = iou(maps, mask.reshape(3, 4))
    for row in range(2):
        values = maps[row].flatten().tolist()
        order = sorted(range(12), key=lambda i: (-values[i], i))
        assert float(by_area[row]) == pytest.approx(literal_iou(set(order[:area]), inside))
        thresholds = [{i for i in range(12) if values[i] >= t} for t in set(values)]
        assert float(best[row]) == pytest.approx(max(literal_iou(chosen, inside) for chosen in thresholds))


def test_channels_are_summed_and_one_mask_serves_all():
    maps = torch.zeros(2, 2, 2, 3)
    maps[0, :, 0, :2] = 1
    maps[1, 0, 1, :2] = 1
    assert iou(maps, MASK).tolist() == [1, 0]
    assert concentration(maps, MASK[None, None].expand(2, 1, 2, 3)).tolist() == [1, 0]
    assert pointing_game(maps, MASK.bool()).tolist() == [1, 0]


def test_maps_without_an_answer_are_nan_and_the_others_are_scored():
    maps = torch.zeros(4, 2, 3)
    maps[0, 0, 0], maps[2], maps[3, 1, 1] = 1, -1.0, float("nan")
    assert iou(maps, MASK).isnan().tolist() == [False, True, True, True]
    assert pointing_game(maps, MASK).isnan().tolist() == [False, True, True, True]
    assert concentration(maps, MASK).isnan().tolist() == [False, True, True, True]
    assert gini(maps).isnan().tolist() == [False, True, False, True]
    assert iou(maps, torch.zeros_like(MASK)).isnan().all()


@pytest.mark.parametrize("metric", [iou, concentration, pointing_game])
@pytest.mark.parametrize(
    ("maps", "masks", "error", "reason"),
    [
        (torch.ones(1, 2, 3).bool(), MASK, ArgumentTypeError, "`attributions` to be a tensor of numbers"),
        (torch.ones(3), MASK, ArgumentError, r"`attributions` to be of shape \(N, H, W\)"),
        (torch.ones(1, 2, 3), "mask", ArgumentTypeError, "`masks` to be a tensor"),
        (
            torch.ones(1, 2, 4),
            MASK,
            ArgumentError,
            r"`masks` to be of shape \(1, 2, 4\) .* tensor of shape \(2, 3",
        ),
        (torch.ones(1, 2, 3), MASK * 2, ArgumentError, "`masks` to be boolean, or 0 and 1"),
    ],
)
def test_arguments_that_do_not_fit_are_named(metric, maps, masks, error, reason):
    with pytest.raises(error, match=reason):
        metric(maps, masks)


def test_an_unknown_threshold_is_refused_and_gini_takes_numbers_only():
    with pytest.raises(ArgumentError, match='`threshold` to be one of "area", "best"'):
        iou(torch.rand(1, 2, 3), MASK, threshold="half")
    with pytest.raises(ArgumentTypeError, match="`attributions` to be a tensor of numbers"):
        gini(torch.ones(1, 2).bool())
    assert gini(torch.tensor([[0, 5]])).tolist() == [0.5]
