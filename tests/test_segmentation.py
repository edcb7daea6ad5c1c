"""Segmenters: images as a model takes them, and settings that are checked when one is made."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.segmentation import Segmenter, spread_over_segments

SEEN = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
MEAN, STD = (0.2, 0.4, 0.6), (0.5, 0.25, 1.0)
NORMALISED = (SEEN - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def brightest_third(image):
    return (image.mean(2) > 0.6).astype(int)


def test_segments_of_a_models_inputs_are_those_of_the_images_as_they_are_seen():
    expected = Segmenter(brightest_third)(SEEN)
    assert torch.equal(Segmenter(brightest_third, mean=MEAN, std=STD).of_inputs(NORMALISED), expected)
    assert not torch.equal(Segmenter(brightest_third).of_inputs(NORMALISED), expected)


def test_one_number_stands_for_all_channels():
    segmenter = Segmenter(brightest_third, mean=torch.tensor(0.5), std=0.5)
    assert (segmenter.mean, segmenter.std) == ((0.5,), (0.5,))
    assert torch.equal(segmenter.of_inputs(2 * SEEN - 1), Segmenter(brightest_third)(SEEN))


def test_without_a_normalisation_each_image_is_scaled_by_itself():
    segmenter = Segmenter(brightest_third)
    assert torch.equal(segmenter.of_inputs(3 * SEEN + 7), segmenter.of_inputs(SEEN))


def test_called_a_segmenter_takes_images_as_they_are_seen():
    assert torch.equal(Segmenter("grid", 4, mean=MEAN, std=STD)(SEEN), Segmenter("grid", 4)(SEEN))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "kmeans"}, ArgumentError, '`method` to be one of "slic", "felzenszwalb", "watershed", "grid"'),
        ({"n_segments": 0}, ArgumentError, "`n_segments` to be an integer of at least 1, but got 0"),
        ({"mean": 0.5}, ArgumentError, "`mean` to be given together with std"),
        ({"std": 0.5}, ArgumentError, "`std` to be given together with mean"),
        ({"mean": "0.5", "std": 1}, ArgumentTypeError, "`mean` to be a number, or a finite number for each channel"),
        ({"mean": True, "std": 1}, ArgumentTypeError, "`mean` to be a number"),
        ({"mean": float("nan"), "std": 1}, ArgumentError, "`mean` to be a number, or a finite number"),
        ({"mean": 0, "std": (1, 0, 1)}, ArgumentError, "`std` to be positive numbers"),
        ({"mean": (0, 0, 0), "std": (1, 1)}, ArgumentError, "`std` to be of 3 numbers like mean, or one, but got 2"),
    ],
)
def test_settings_that_cannot_be_used_say_so(arguments, error, message):
    with pytest.raises(error, match=message):
        Segmenter(**arguments)


def test_images_that_do_not_fit_the_normalisation_are_refused():
    segmenter = Segmenter("grid", mean=MEAN, std=STD)
    with pytest.raises(ArgumentError, match=r"in \[0, 1\] after mean and std are undone, but got values from"):
        segmenter.of_inputs(5 * NORMALISED)
    with pytest.raises(ArgumentError, match="`mean` to be one number, or one for each of the inputs' 1 channels"):
        segmenter.of_inputs(torch.rand(1, 1, 4, 4))


def test_the_attribution_of_a_segment_is_spread_evenly_over_its_pixels():
    maps = torch.tensor([[[[3.0, 1.0], [-2.0, 5.0]]], [[[1.0, 2.0], [3.0, 4.0]]]])
    labels = torch.tensor([[[0, 0], [1, 2]], [[0, 1], [1, 1]]])
    expected = [[[[2, 2], [-2, 5]]], [[[1, 3], [3, 3]]]]
    assert spread_over_segments(maps, labels).tolist() == expected


@given(seed=st.integers(0, 10_000), n_segments=st.integers(1, 9), channels=st.sampled_from([1, 3]))
@settings(deadline=None, max_examples=30)
def test_no_attribution_is_lost_in_any_segment(seed, n_segments, channels):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, channels, 3, 4, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, n_segments, (3, 4, 5), generator=generator)
    labels.flatten()[:n_segments] = torch.arange(n_segments)
    spread = spread_over_segments(maps, labels)
    for label in range(n_segments):
        inside = labels == label
        assert torch.allclose(spread[..., inside].sum(-1), maps[..., inside].sum(-1), rtol=1e-12, atol=1e-12)
        assert (spread[..., inside] == spread[..., inside][..., :1]).all()


def test_a_signal_keeps_its_dtype_and_the_map_is_not_changed():
    maps = torch.tensor([[[1.0, 2.0, 3.0]]], dtype=torch.float16)
    before = maps.clone()
    spread = spread_over_segments(maps, torch.tensor([0, 0, 1]))
    assert (spread.dtype, spread.tolist()) == (torch.float16, [[[1.5, 1.5, 3.0]]])
    assert torch.equal(maps, before)


@pytest.mark.parametrize(
    ("maps", "labels", "kind", "said"),
    [
        (torch.zeros(2, 4), torch.zeros(4).long(), ArgumentError, "maps"),
        (torch.zeros(1, 1, 2, 2).long(), torch.zeros(2, 2).long(), ArgumentError, "of floating point"),
        ("map", torch.zeros(2, 2).long(), ArgumentTypeError, "a tensor of numbers"),
        (torch.zeros(1, 1, 2, 2), torch.zeros(2, 3).long(), ArgumentError, "labels"),
        (torch.zeros(1, 1, 2, 2), torch.tensor([[0, 0], [2, 2]]), ArgumentError, "without gaps"),
        (torch.zeros(1, 1, 2, 2), torch.zeros(2, 2), ArgumentTypeError, "an integer tensor"),
    ],
)
def test_segments_that_do_not_fit_are_refused(maps, labels, kind, said):
    with pytest.raises(kind, match=said):
        spread_over_segments(maps, labels)
