"""How a map orders pixels: what every metric of pixels in order takes, and what is refused."""

import numpy as np
import pytest
import torch

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.metrics import (
    Ranking,
    deletion,
    diff_id,
    infidelity,
    insertion,
    irof,
    monotonicity,
    pixel_flipping,
    road,
    sensitivity_n,
)

IMAGES = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
RANKED = [insertion, deletion, diff_id, pixel_flipping, road, irof, monotonicity]


def total(x):
    return x.flatten(1).sum(1)


def numbers(metric, maps, **arguments):
    segments = {"segments": torch.arange(16).reshape(4, 4)} if metric is irof else {}
    result = metric(total, IMAGES, maps, **segments, **arguments)
    return result if isinstance(result, torch.Tensor) else result.auc


@pytest.mark.parametrize("metric", RANKED)
def test_a_ranking_by_absolute_values_is_that_of_the_absolute_map(metric):
    maps = IMAGES - 0.5
    actual = numbers(metric, maps, ranking=Ranking(absolute=True))
    torch.testing.assert_close(actual, numbers(metric, maps.abs(), ranking=Ranking()))
    assert not torch.allclose(actual, numbers(metric, maps, ranking=Ranking()))


@pytest.mark.parametrize("metric", RANKED)
def test_only_diff_id_and_monotonicity_rank_by_absolute_values_unless_told_otherwise(metric):
    maps = IMAGES - 0.5
    absolute = metric in (diff_id, monotonicity)
    assert torch.equal(numbers(metric, maps), numbers(metric, maps, ranking=Ranking(absolute)))


@pytest.mark.parametrize("metric", RANKED)
def test_the_seed_orders_pixels_of_equal_importance(metric):
    maps = (IMAGES > 0.5).float()
    first, again, other = (numbers(metric, maps, ranking=Ranking(seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_noise_of_road_has_the_seed_of_the_ranking():
    maps = torch.arange(32.0).reshape(2, 1, 4, 4)  # no ties
    curves = [numbers(road, maps, ranking=Ranking(seed=seed), noise=0.1) for seed in (1, 2)]
    assert not torch.equal(*curves)
    assert torch.equal(*(numbers(road, maps, ranking=Ranking(seed=seed), noise=0) for seed in (1, 2)))


def test_numbers_of_numpy_are_seeds():
    assert Ranking(seed=np.int64(3)) == Ranking(seed=3)


@pytest.mark.parametrize(
    ("field", "error", "message"),
    [
        ({"absolute": 1}, ArgumentTypeError, "`absolute` to be True or False, but got int 1"),
        ({"seed": 0.0}, ArgumentTypeError, "`seed` to be an integer from 0, but got float 0.0"),
        ({"seed": True}, ArgumentTypeError, "`seed` to be an integer from 0, but got bool True"),
        ({"seed": -1}, ArgumentError, "`seed` to be an integer from 0, but got -1"),
        ({"seed": 2**63}, ArgumentError, r"`seed` to be an integer from 0 to 2\^63 - 1, but got 9223372036854775808"),
    ],
)
def test_rankings_that_cannot_be_used_say_so(field, error, message):
    with pytest.raises(error, match=message):
        Ranking(**field)


@pytest.mark.parametrize("metric", RANKED)
def test_a_ranking_is_a_ranking(metric):
    with pytest.raises(ArgumentTypeError, match="`ranking` to be a Ranking, but got bool True"):
        numbers(metric, IMAGES, ranking=True)


@pytest.mark.parametrize("metric", [infidelity, sensitivity_n])
def test_the_seed_of_random_sets_is_checked_in_the_same_way(metric):
    with pytest.raises(ArgumentError, match="`seed` to be an integer from 0, but got -1"):
        metric(total, IMAGES, IMAGES, seed=-1)
