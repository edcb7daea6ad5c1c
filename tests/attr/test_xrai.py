"""XRAI against the algorithm of the paper, segment by segment, and where its regions are known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ext import on_nonfinite
from captum_ext.attr import XRAI, IntegratedGradients
from captum_ext.attr.xrai.regions import ranked_regions
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, InferenceModeError, NonFiniteError
from captum_ext.segmentation import MultiScaleSegmenter, Segmenter
from tests.core.device_entries import model_with
from tests.core.entries import numbers
from tests.oracles import xrai as oracle

IMAGES = numbers(2, 3, 6, 8)
MODEL = model_with(numbers(3, 3, 6, 8).flip(1))
HALVES = torch.tensor([[0] * 4 + [1] * 4] * 6)


@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    n_masks=st.integers(1, 7),
    min_pixels=st.integers(1, 5),
    area=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    fast=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_regions_are_those_of_the_papers_algorithm(height, width, n_masks, min_pixels, area, fast, seed):
    generator = torch.Generator().manual_seed(seed)
    attribution = torch.randn(height, width, generator=generator, dtype=torch.float64)
    masks = torch.rand(n_masks, height, width, generator=generator) < 0.5
    values, ranks = ranked_regions(attribution, masks, "fast" if fast else "full", min_pixels, area)
    expected, expected_ranks = oracle(attribution, masks, min_pixels, area, fast)
    torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(ranks, expected_ranks)


def test_a_map_is_the_densities_of_integrated_gradients_from_both_ends_of_the_images_values():
    low, high = (ends.expand_as(IMAGES) for ends in (IMAGES.amin((1, 2, 3), True), IMAGES.amax((1, 2, 3), True)))
    each = [IntegratedGradients(MODEL).attribute(IMAGES, one, target=[0, 1], n_steps=9) for one in (low, high)]
    mean = ((each[0] + each[1]) / 2).amax(1)
    maps, ranks = XRAI(MODEL, segmenter=HALVES).attribute(IMAGES, target=[0, 1], n_steps=9, return_segments=True)
    for k in range(2):
        left, right = mean[k, :, :4].mean(), mean[k, :, 4:].mean()
        torch.testing.assert_close(maps[k].sum(0), torch.where(HALVES == 0, left, right))
        assert ranks[k, 0, 0] == (1 if left > right else 2)
    torch.testing.assert_close(maps[:, :1].expand_as(maps), maps)


@pytest.mark.parametrize("n_steps", [1, 4])
def test_the_rule_of_the_authors_has_points_from_end_to_end_of_equal_weight(n_steps):
    seen = []

    def model(x):
        seen.extend(x[:, 0, 0, 0].tolist())
        return MODEL(x)

    one = IMAGES[:1].double() + 1
    maps = XRAI(model, segmenter=HALVES).attribute(one, 0, target=1, n_steps=n_steps, method="linspace")
    points = torch.linspace(0, 1, n_steps, dtype=torch.float64).reshape(-1, 1, 1, 1) * one
    assert sorted(seen) == pytest.approx(points[:, 0, 0, 0].tolist())
    leaf = points.requires_grad_()
    gradients = torch.autograd.grad(MODEL(leaf)[:, 1].sum(), leaf)[0]
    densities = (gradients.mean(0) * one[0]).amax(0)
    torch.testing.assert_close(maps[0].sum(0)[:, 0], densities[:, :4].mean().expand(6))


def test_one_baseline_or_several_replace_the_ends():
    method, more = XRAI(MODEL, segmenter=HALVES), {"target": 1, "n_steps": 5}
    black, white = method.attribute(IMAGES, 0, **more), method.attribute(IMAGES, torch.ones(1, 3, 6, 8), **more)
    assert not torch.allclose(black, white)
    both = method.attribute(IMAGES, [0, torch.ones_like(IMAGES)], **more)
    assert not torch.allclose(both, black)
    torch.testing.assert_close(method.attribute(IMAGES, [0, 0.0], **more), black)


def test_the_default_segments_are_of_several_scales_and_dilated():
    image = torch.zeros(1, 3, 224, 224)
    image[..., 112:] = 1
    segmenter = MultiScaleSegmenter(scales=(50, 100), sigma=0, resize=None)
    [masks] = segmenter(image)
    assert masks.shape == (4, 224, 224)
    assert masks[0, 0].sum() == 112 + 5
    [sharp] = MultiScaleSegmenter(scales=(50,), sigma=0, resize=None, dilation=0)(image)
    assert sharp[0, 0].sum() == 112
    [small] = MultiScaleSegmenter(scales=(50,), sigma=0, resize=None, min_size=10)(image[..., 98:126, 98:126])
    assert small[0, 0].sum() == 14 + 1  # the disk in proportion to the size


def test_a_disk_reaches_everything_within_its_radius():
    image = torch.zeros(1, 1, 15, 15)
    image[..., 7, 7] = 1
    [masks] = MultiScaleSegmenter(scales=(0.001,), sigma=0, min_size=1, resize=None, dilation=3)(image)
    place = torch.arange(15) - 7
    disk = place[:, None] ** 2 + place**2 <= 9
    assert any(torch.equal(mask, disk) for mask in masks)


@pytest.mark.parametrize(
    "segmenter",
    [
        None,
        "grid",
        Segmenter("slic", 4),
        lambda image: (np.arange(64) // 16).reshape(8, 8),
        torch.arange(64).reshape(8, 8) // 32,
    ],
)
def test_every_kind_of_segmenter_gives_a_map(segmenter):
    images = numbers(2, 3, 8, 8)
    maps = XRAI(model_with(numbers(3, 3, 8, 8)), segmenter=segmenter).attribute(images, target=1, n_steps=4)
    assert maps.shape == images.shape
    assert bool(maps.isfinite().all())


@pytest.mark.parametrize("segmenter", [torch.zeros(6, 8, dtype=torch.long), lambda image: np.zeros((6, 8), dtype=int)])
def test_a_segmenter_that_gives_one_segment_gives_the_mean_everywhere_and_a_warning(segmenter):
    with pytest.warns(UserWarning, match=r"The segments of 2 of 2 images \(first image 0\) are all of the image"):
        maps = XRAI(MODEL, segmenter=segmenter).attribute(IMAGES, target=1, n_steps=4)
    torch.testing.assert_close(maps, maps[:, :1, :1, :1].expand_as(maps))


def test_an_image_of_one_colour_has_nothing_to_explain():
    with pytest.warns(UserWarning, match=r"The segments of 1 of 1 images"):
        maps = XRAI(MODEL).attribute(torch.ones(1, 3, 6, 8), target=1, n_steps=4)
    assert maps.abs().max() == 0


def test_the_map_depends_neither_on_rows_in_flight_nor_on_the_images_beside():
    method = XRAI(MODEL, segmenter="grid")
    expected = method.attribute(IMAGES, target=[0, 2], n_steps=7)
    for batch in (1, 3, 100):
        torch.testing.assert_close(
            method.attribute(IMAGES, target=[0, 2], n_steps=7, internal_batch_size=batch), expected
        )
    torch.testing.assert_close(method.attribute(IMAGES[1:], target=2, n_steps=7), expected[1:])


def test_every_gradient_is_taken_once_and_no_more_rows_are_in_flight_than_allowed():
    rows = []

    def model(x):
        rows.append(len(x))
        return MODEL(x)

    XRAI(model, segmenter=HALVES).attribute(IMAGES, target=1, n_steps=7, internal_batch_size=4)
    assert max(rows) == 4
    assert sum(rows) == 2 * 2 * 7


def test_a_row_of_nan_is_named_or_left_out():
    broken = torch.cat([IMAGES, IMAGES[:1] * float("nan")])
    method = XRAI(MODEL, segmenter="grid")
    with pytest.raises(NonFiniteError, match="`inputs` to be finite, but got NaN in row 2"):
        method.attribute(broken, target=1, n_steps=3)
    with on_nonfinite("nan"):
        maps, ranks = method.attribute(broken, target=1, n_steps=3, return_segments=True)
    assert bool(maps[2].isnan().all())
    assert bool((ranks[2] == 0).all())
    torch.testing.assert_close(maps[:2], method.attribute(IMAGES, target=1, n_steps=3))


def test_half_precision_is_explained_in_float32():
    half = XRAI(MODEL, segmenter=HALVES).attribute(IMAGES.bfloat16(), target=1)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, XRAI(MODEL, segmenter=HALVES).attribute(IMAGES, target=1), rtol=0.2, atol=0.005)


def test_inference_mode_is_refused():
    with torch.inference_mode(), pytest.raises(InferenceModeError, match="need gradients"):
        XRAI(MODEL).attribute(IMAGES, target=1)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"segmenter": "felzenszwalbs"}, ArgumentError, "`segmenter` to be one of"),
        ({"segmenter": 3}, ArgumentTypeError, "`segmenter` to be a name, a Segmenter"),
        ({"algorithm": "slow"}, ArgumentError, '`algorithm` to be one of "full", "fast"'),
        ({"min_pixels": 0}, ArgumentError, "`min_pixels` to be an integer of at least 1"),
        ({"area": 1.1}, ArgumentError, "`area` to be a share from 0 to 1, but got float 1.1"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        XRAI(MODEL, **settings)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"scales": ()}, ArgumentTypeError, "`scales` to be a sequence of positive numbers"),
        ({"scales": (0,)}, ArgumentError, "`scales` to be positive numbers, but got int 0"),
        ({"sigma": -1}, ArgumentError, "`sigma` to be a number of at least zero"),
        ({"min_size": 0}, ArgumentError, "`min_size` to be an integer of at least 1"),
        ({"resize": 224}, ArgumentTypeError, r"`resize` to be None, or a tuple \(H, W\)"),
        ({"dilation": -1}, ArgumentError, "`dilation` to be an integer from 0"),
    ],
)
def test_scales_that_cannot_be_used_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        MultiScaleSegmenter(**settings)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"inputs": (IMAGES,)}, ArgumentTypeError, r"`inputs` to be a tensor of images \(N, C, H, W\), but got tuple"),
        (
            {"inputs": IMAGES[0]},
            ArgumentError,
            r"`inputs` to be a batch of images \(N, C, H, W\); of signals .* but got shape",
        ),
        ({"inputs": IMAGES[..., :5]}, ArgumentError, r"`segmenter` to be of shape \(6, 5\)"),
        ({"baselines": []}, ArgumentError, "`baselines` to be None, a baseline, or a list of at least one"),
        ({"baselines": IMAGES[..., :2]}, ArgumentError, "`baselines` to be of the input's shape"),
        ({"n_steps": 0}, ArgumentError, "`n_steps` to be an integer of at least 1"),
        ({"method": "stratified"}, ArgumentError, "`method` to be a rule without random points"),
        ({"method": "simpson"}, ArgumentError, "`method`"),
        ({"target": 3}, ArgumentError, "`target` to be an index from 0 to 2"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(given, error, message):
    model = (
        MODEL if given.get("inputs", IMAGES) is not None and "inputs" not in given else (lambda x: x.flatten(1)[:, :3])
    )
    with pytest.raises(error, match=message):
        XRAI(model, segmenter=HALVES).attribute(**{"inputs": IMAGES, "target": 1, "n_steps": 3, **given})
