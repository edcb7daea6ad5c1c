"""Localisation and sparseness: exact values, undefined maps, and agreement with a literal reading."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.metrics import attribution_variance, concentration, gini, iou, pointing_game

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


def test_the_variance_is_that_of_pixels_over_channels_and_tensors():
    image = torch.tensor([[[[1.0, 0.0]], [[2.0, 1.0]]]])  # 3 and 1 over channels
    assert attribution_variance(image).tolist() == [1.0]
    assert attribution_variance((image, torch.tensor([[2.0, 2.0]]))).tolist() == [0.5]
    assert attribution_variance(torch.tensor([[1, 3], [2, 2]])).tolist() == [1.0, 0.0]


def test_variance_by_the_mean_has_no_scale_and_ends_at_zero_and_one_less_than_the_number_of_pixels():
    maps = torch.rand(3, 1, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    once, scaled = (attribution_variance(factor * maps, normalize="mean") for factor in (1, -7))
    torch.testing.assert_close(once, scaled)
    one, all_equal = torch.zeros(1, 20), torch.full((1, 20), 0.3)
    one[0, 7] = 5
    torch.testing.assert_close(
        attribution_variance(torch.cat([one, all_equal]), normalize="mean"), torch.tensor([19.0, 0.0])
    )


def test_variance_is_nan_where_it_is_not_defined():
    maps = torch.tensor([[0.0, 0.0], [1.0, float("nan")], [1.0, float("inf")]])
    assert attribution_variance(maps).isnan().tolist() == [False, True, True]
    assert attribution_variance(maps, normalize="mean").isnan().all()


@pytest.mark.parametrize(
    ("maps", "options", "error", "message"),
    [
        (torch.ones(1, 2), {"normalize": "sum"}, ArgumentError, '`normalize` to be one of "none", "mean"'),
        (torch.ones(2, 0), {}, ArgumentError, r"`attributions` to be of shape \(N, ...\), with at least one number"),
        ((), {}, ArgumentError, "but got an empty tuple"),
        ((torch.ones(2, 3), torch.ones(1, 3)), {}, ArgumentError, r"`attributions` to be of shape \(N, ...\)"),
        ([[1.0]], {}, ArgumentTypeError, "`attributions` to be a"),
    ],
)
def test_what_has_no_variance_is_refused(maps, options, error, message):
    with pytest.raises(error, match=message):
        attribution_variance(maps, **options)
