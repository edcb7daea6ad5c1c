"""One, two and three dimensions: what a pixel is, blurs and fills, and the metrics against literal loops over pixels.

A volume of depth 1 has the numbers of the image that it is, and a signal those of the image of height 1.
"""

import itertools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch.nn.functional import interpolate

from captum_ext import SAMP
from captum_ext.attr import RISE, BlurIG, WeightedIG
from captum_ext.attr.rise import Masks
from captum_ext.core.fills import corner_mean_of
from captum_ext.core.pixels import Pixels, channel_dim
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.images import Blur, gaussian_blur
from captum_ext.metrics import (
    Ranking,
    concentration,
    deletion,
    diff_id,
    gini,
    infidelity,
    insertion,
    iou,
    irof,
    monotonicity,
    pixel_flipping,
    pointing_game,
    road,
    sensitivity_n,
)
from captum_ext.metrics.faithfulness import kept_outside_patches
from captum_ext.references import standard_baselines
from captum_ext.upsampling import USU
from tests.core.entries import numbers

SIZES = [(7,), (3, 4), (2, 3, 4)]
METRICS = {
    "insertion": lambda f, x, a: insertion(f, x, a, n_steps=5).scores,
    "insertion of corners": lambda f, x, a: insertion(f, x, a, baselines="corners", n_steps=5).scores,
    "deletion of means": lambda f, x, a: deletion(f, x, a, baselines="mean", n_steps=5).scores,
    "deletion of overall means": lambda f, x, a: deletion(f, x, a, baselines="overall-mean", n_steps=5).scores,
    "deletion": lambda f, x, a: deletion(f, x, a, n_steps=5).scores,
    "diff_id": lambda f, x, a: diff_id(f, x, a).scores,
    "pixel_flipping": lambda f, x, a: pixel_flipping(f, x, a, pixels_in_step=4).scores,
    "infidelity": lambda f, x, a: infidelity(f, x, a, baselines="mean", n_samples=9, patch=0.6).raw,
    "sensitivity_n": lambda f, x, a: sensitivity_n(f, x, a, n_samples=9),
    "monotonicity": lambda f, x, a: monotonicity(f, x, a, n_steps=4),
    "irof": lambda f, x, a: irof(f, x, a, segments=(torch.arange(x[0, 0].numel()) // 4).reshape(x.shape[2:])),
}


def curved(x):
    """A score that knows where each number is, whatever shape its row has; about positive."""
    flat = x.flatten(1)
    weights = torch.linspace(-1, 2, flat.shape[1], dtype=x.dtype)
    return 3 + torch.tanh(flat @ weights) + (flat**2 @ weights.flip(0)) / 50


def as_volume(images):
    return images[:, :, None]


def as_signal(images):
    return images.squeeze(2)


def case(*shape):
    return numbers(*shape).double(), numbers(*shape).double().flip(1).sin()


# Blurs.


@given(sides=st.lists(st.integers(1, 6), min_size=1, max_size=3), sigma=st.floats(0.1, 20), more=st.booleans())
def test_a_blur_is_scipys_in_each_dimension(sides, sigma, more):
    dims = len(sides)
    values = numbers(2, 2, *([3] if more and dims < 3 else []), *sides).double()
    expected = ndimage.gaussian_filter(values.numpy(), (0,) * (values.dim() - dims) + (sigma,) * dims, mode="reflect")
    np.testing.assert_allclose(gaussian_blur(values, sigma, dims=dims).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "sigma"), [((20,), 12), ((448,), 24), ((3, 28, 40), 12), ((1, 448, 460), 24), ((4, 8, 448), 12)]
)
def test_the_default_strength_is_that_of_the_two_longest_sides(size, sigma):
    values = numbers(1, 1, *size).double()
    expected = ndimage.gaussian_filter(values.numpy(), (0, 0, *(sigma,) * len(size)), mode="reflect")
    np.testing.assert_allclose(gaussian_blur(values, dims=len(size)).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_a_blur_keeps_constants_and_the_mean_of_every_channel(size):
    dims, places = len(size), tuple(range(2, 2 + len(size)))
    constant = torch.full((1, 2, *size), 0.7, dtype=torch.float64)
    torch.testing.assert_close(gaussian_blur(constant, 2.0, dims=dims), constant)
    values = numbers(2, 3, *size).double()
    torch.testing.assert_close(gaussian_blur(values, 2.0, dims=dims).mean(places), values.mean(places))


def test_a_volume_of_depth_1_and_a_signal_are_blurred_as_their_images():
    images = numbers(2, 3, 5, 6)
    assert torch.equal(gaussian_blur(as_volume(images), 1.5), as_volume(gaussian_blur(images, 1.5)))
    lines = numbers(2, 3, 1, 6)
    torch.testing.assert_close(gaussian_blur(as_signal(lines), 1.5, dims=1), as_signal(gaussian_blur(lines, 1.5)))


def test_two_dimensions_of_a_volume_are_each_of_its_slices():
    volumes = numbers(2, 3, 4, 5, 6)
    blurred = gaussian_blur(volumes, 1.5, dims=2)
    for depth in range(4):
        torch.testing.assert_close(blurred[:, :, depth], gaussian_blur(volumes[:, :, depth], 1.5))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 3, 7), {}, r"`images` to be a batch of images .* or of signals \(N, C, T\) with dims=1"),
        ((2, 3), {"dims": 1}, "of 3 to 5 dimensions for dims=1"),
        ((2, 3, 4, 5), {"dims": 3}, "of 5 to 5 dimensions for dims=3"),
        ((2, 3, 4, 5), {"dims": 4}, "`dims` to be an integer from 1 to 3"),
        ((2, 3, 4, 5), {"dims": 0}, "`dims` to be an integer of at least 1"),
        ((2, 3, 4, 5, 6), {"sigma": "rise"}, '3 dimension.*but got "rise", a blur of images'),
        ((2, 3, 7), {"sigma": "rise", "dims": 1}, '1 dimension.*but got "rise", a blur of images'),
        ((2, 3, 0), {"dims": 1}, "with at least one pixel"),
    ],
)
def test_a_blur_that_the_values_do_not_have_is_refused(shape, options, message):
    with pytest.raises(ArgumentError, match=message):
        gaussian_blur(torch.ones(shape), **options)


def test_dims_that_are_no_integer_are_refused():
    with pytest.raises(ArgumentTypeError, match="`dims`"):
        Blur(dims=1.5)


def test_a_blur_says_its_dimensions_only_where_it_was_given_some():
    assert repr(Blur(3)) == "Blur(sigma=3.0)"
    assert str(Blur(dims=1)) == "Blur(sigma=None, dims=1)"
    assert str(Blur()) == '"blur"'


# What a pixel is.


def test_a_pixel_is_a_place_with_all_its_channels_unless_three_dimensions_leave_it_open():
    assert channel_dim(torch.ones(2, 3, 4, 5)) == 1
    assert channel_dim(torch.ones(2, 3, 4, 5, 6)) == 1
    assert channel_dim(torch.ones(2, 3, 4)) is None
    assert channel_dim(torch.ones(2, 3, 4), torch.ones(2, 3, 4)) is None
    assert channel_dim(torch.ones(2, 3, 4), torch.ones(2, 1, 4)) == 1
    assert channel_dim(torch.ones(2, 3, 4), torch.ones(2, 3, 1)) == 2
    assert channel_dim(torch.ones(2, 3), torch.ones(2, 1)) is None
    assert Pixels((torch.ones(2, 3, 4, 5, 6),)).count == 4 * 5 * 6
    assert Pixels((torch.ones(2, 3, 4),)).count == 12
    assert Pixels((torch.ones(2, 3, 4),), torch.arange(4)[None, None]).count == 4


@given(data=st.data())
def test_pixels_are_taken_as_a_loop_over_them_takes_them(data):
    size = tuple(data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
    channels, n_steps = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    x, maps = case(2, channels, *size)
    whole = maps.sum(1, keepdim=True)
    places = list(itertools.product(*map(range, size)))
    for row in range(2):
        order = sorted(places, key=lambda place: -float(whole[row, 0][place]))
        for k, scores in enumerate(deletion(curved, x, whole, n_steps=n_steps).scores[row]):
            deleted = x[row : row + 1].clone()
            for place in order[: round(k / n_steps * len(places))]:
                deleted[(0, slice(None), *place)] = 0
            torch.testing.assert_close(scores, curved(deleted)[0])
        means = diff_id(curved, x, whole, baselines="mean", fractions=(0.5,), normalize="none", ranking=Ranking())
        without = []
        for lost in (order[len(order) - round(len(order) / 2) :], order[: round(len(order) / 2)]):
            kept = [place for place in places if place not in lost] or places
            one = x[row : row + 1].clone()
            mean = torch.stack([x[(row, slice(None), *place)] for place in kept]).mean(0)
            for place in lost:
                one[(0, slice(None), *place)] = mean
            without.append(curved(one)[0])
        torch.testing.assert_close(means.scores[row, 0], without[0] - without[1])


def test_a_map_of_tokens_takes_tokens_with_all_their_features():
    x, maps = case(2, 5, 3)
    whole = maps.sum(2, keepdim=True)
    scores = deletion(curved, x, whole, n_steps=5).scores
    for row in range(2):
        for k in range(6):
            deleted = x[row : row + 1].clone()
            deleted[0, whole[row, :, 0].argsort(descending=True)[:k]] = 0
            torch.testing.assert_close(scores[row, k], curved(deleted)[0])
    order, without = whole[0, :, 0].argsort(descending=True), []
    for lost in (order[3:], order[:2]):
        one = x[:1].clone()
        one[0, lost] = x[0, [token for token in range(5) if token not in lost]].mean(0)
        without.append(curved(one)[0])
    means = diff_id(curved, x, whole, fractions=(0.4,), normalize="none", ranking=Ranking()).scores
    torch.testing.assert_close(means[0, 0], without[0] - without[1])
    with pytest.raises(ArgumentError, match="inputs that are not images"):
        deletion(curved, x, whole, baselines="blur")


@pytest.mark.parametrize("shape", [(2, 2, 7), (2, 1, 6), (2, 7), (2, 7, 1), (2, 1, 7, 1)])
def test_a_map_of_another_shape_than_a_signals_is_refused(shape):
    with pytest.raises(ArgumentError, match=r"\(2, 3, 7\), \(N, 1, T\) for signals \(N, C, T\) or"):
        deletion(curved, numbers(2, 3, 7), torch.ones(shape))


@pytest.mark.parametrize("shape", [(2, 2, 3, 4, 5), (2, 3, 1, 4, 5), (2, 4, 5), (2, 1, 4, 5)])
def test_a_map_of_another_shape_than_a_volumes_is_refused(shape):
    with pytest.raises(ArgumentError, match=r"\(2, 3, 3, 4, 5\), \(N, 1, D, H, W\) or \(N, D, H, W\)"):
        deletion(curved, numbers(2, 3, 3, 4, 5), torch.ones(shape))


def test_maps_of_a_volume_may_leave_the_channels_out():
    x, maps = case(2, 3, 2, 3, 4)
    curves = [deletion(curved, x, one).scores for one in (maps, maps.sum(1, keepdim=True), maps.sum(1))]
    assert torch.equal(curves[0], curves[1])
    assert torch.equal(curves[0], curves[2])


def test_a_video_with_its_frames_before_its_colours_gets_a_warning():
    with pytest.warns(
        UserWarning, match=r"\(1, 8, 3, 4, 4\) are taken as volumes .* give them .* as\s+\(N, C, T, H, W\)"
    ):
        deletion(curved, torch.ones(1, 8, 3, 4, 4), numbers(1, 8, 3, 4, 4))
    for call in (gaussian_blur, BlurIG(curved).attribute, RISE(curved).attribute, USU().score_map):
        more = {"forward_func": curved} if call.__name__ == "score_map" else {}
        with pytest.warns(UserWarning, match="are taken as volumes"):
            call(torch.ones(1, 8, 3, 4, 4), **more)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gaussian_blur(torch.ones(1, 8, 3, 4, 4), dims=2)
        deletion(curved, torch.ones(1, 3, 8, 4, 4), numbers(1, 3, 8, 4, 4))
        deletion(curved, torch.ones(1, 2, 1, 4, 4), numbers(1, 2, 1, 4, 4))


# A volume of depth 1 is an image, a signal an image of height 1.


@pytest.mark.filterwarnings("ignore:.* keep more than half of their score")
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_of_a_volume_of_depth_1_is_that_of_the_image(name):
    x, maps = case(2, 3, 4, 5)
    expected = METRICS[name](curved, x, maps)
    torch.testing.assert_close(METRICS[name](curved, as_volume(x), as_volume(maps)), expected, equal_nan=True)
    assert bool(expected.isfinite().all())


@pytest.mark.filterwarnings("ignore:.* keep more than half of their score")
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_of_a_signal_is_that_of_the_image_of_height_1(name):
    x, maps = case(2, 3, 1, 12)
    whole = maps.sum(1, keepdim=True)
    expected = METRICS[name](curved, x, whole)
    torch.testing.assert_close(METRICS[name](curved, as_signal(x), as_signal(whole)), expected, equal_nan=True)
    assert bool(expected.isfinite().all())


METHODS = {
    "SAMP": lambda x, **_: SAMP(curved, insertion_baselines=Blur(1.0), step_bound=2).attribute(x, n_steps=4),
    "RISE": lambda x, **_: RISE(curved, grid=3).attribute(x, n_samples=40),
    "BlurIG": lambda x, **_: BlurIG(curved, max_sigma=3).attribute(x, n_steps=5),
    "WeightedIG": lambda x, **_: WeightedIG(curved, score="logit").attribute(x, n_steps=4, method="riemann_middle"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", METHODS)
def test_a_method_on_a_volume_of_depth_1_is_that_on_the_image(name):
    x, _ = case(2, 3, 4, 5)
    torch.testing.assert_close(METHODS[name](as_volume(x)), as_volume(METHODS[name](x)))


def test_samp_moves_the_time_steps_of_a_signal_as_the_pixels_of_an_image_of_height_1():
    x, _ = case(2, 3, 1, 8)
    expected = SAMP(curved, insertion_baselines=Blur(1.0)).attribute(x, n_steps=4)
    steps = torch.arange(8)[None, None]
    samp = SAMP(curved, insertion_baselines=Blur(1.0, dims=1), feature_mask=steps)
    torch.testing.assert_close(samp.attribute(as_signal(x), n_steps=4), as_signal(expected))


def test_blur_ig_of_a_signal_is_that_of_an_image_of_height_1():
    x, _ = case(2, 3, 1, 8)
    expected = BlurIG(curved, max_sigma=3).attribute(x, n_steps=5)
    torch.testing.assert_close(
        BlurIG(curved, max_sigma=3, dims=1).attribute(as_signal(x), n_steps=5), as_signal(expected)
    )


@pytest.mark.parametrize("size", SIZES)
def test_blur_ig_is_complete_for_linear_scores_in_each_dimension(size):
    x, weights = case(2, 3, *size)
    maps, delta = BlurIG(lambda x: (x * weights[:1]).flatten(1).sum(1), max_sigma=3, dims=len(size)).attribute(
        x, n_steps=5, return_convergence_delta=True
    )
    expected = weights[:1] * (x - gaussian_blur(x, 3.0, dims=len(size)))
    torch.testing.assert_close(maps, expected)
    torch.testing.assert_close(delta, torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)


@given(sides=st.lists(st.integers(1, 9), min_size=1, max_size=3), grid=st.integers(1, 4))
def test_rises_masks_are_interpolated_grids_cropped_at_a_random_place(sides, grid):
    masks = Masks.drawn(RISE(curved, grid=grid), 5, tuple(sides))
    found = masks.at(torch.arange(5), torch.ones(1, dtype=torch.float64))
    mode = ("linear", "bilinear", "trilinear")[len(sides) - 1]
    for k in range(5):
        kept = masks.kept[k].double().expand(*[grid] * len(sides))  # one cell of depth is as many equal ones
        cells = [-(-side // grid) for side in sides]
        larger = interpolate(kept[None, None], size=[(grid + 1) * cell for cell in cells], mode=mode)[0, 0]
        cropped = larger[tuple(slice(int(n), int(n) + side) for n, side in zip(masks.shift[k], sides, strict=True))]
        torch.testing.assert_close(found[k], cropped, atol=1e-6, rtol=0)  # places are in float32


@pytest.mark.parametrize("size", SIZES)
def test_rise_weighs_its_masks_by_their_scores_in_each_dimension(size):
    x, _ = case(2, 2, *size)
    method = RISE(curved, grid=2, dims=len(size))
    masks = Masks.drawn(method, 6, size).at(torch.arange(6), x)
    expected = sum(curved(x * mask).reshape(2, *(1,) * len(size)) * mask for mask in masks) / (6 * 0.5 * 2)
    torch.testing.assert_close(method.attribute(x, n_samples=6), expected[:, None].expand_as(x))


def test_rise_masks_all_frames_of_a_video_alike():
    x, _ = case(1, 3, 4, 5, 6)
    maps = RISE(curved, grid=3, dims=2).attribute(x, n_samples=40)
    assert torch.equal(maps, maps[:, :1, :1].expand_as(maps))


def test_masks_that_would_fill_the_memory_are_refused():
    with pytest.raises(ArgumentError, match="`n_samples` to be at most 16 with a grid of 256 x 256 x 256, but got 17"):
        RISE(curved, grid=256).attribute(torch.ones(1, 1, 2, 2, 2), n_samples=17)


# Fills.


@pytest.mark.parametrize("size", [(25,), (12, 30), (12, 30, 25)])
def test_corners_are_a_tenth_of_each_side(size):
    values = numbers(2, 3, *size).double()
    for row, channel in itertools.product(range(2), range(3)):
        total = []
        for at_end in itertools.product((False, True), repeat=len(size)):
            lengths = [max(1, round(side / 10)) for side in size]
            ranges = [
                range(side - n, side) if e else range(n) for side, n, e in zip(size, lengths, at_end, strict=True)
            ]
            total += [float(values[(row, channel, *place)]) for place in itertools.product(*ranges)]
        assert float(corner_mean_of(values)[row, channel].squeeze()) == pytest.approx(sum(total) / len(total))


@pytest.mark.parametrize("word", ["blur", "corners"])
def test_words_for_images_are_refused_for_three_dimensions_that_may_be_tokens(word):
    x, maps = case(2, 3, 7)
    with pytest.raises(ArgumentError, match=r"\(2, 3, 7\) \(signals .*Blur\(dims=1\), or a map \(N, 1, T\)\), but got"):
        insertion(curved, x, maps, baselines=word)


def test_a_blur_with_one_dimension_says_that_inputs_are_signals():
    x, maps = case(2, 3, 7)
    start = insertion(curved, x, maps, baselines=Blur(2.0, dims=1)).scores[:, 0]
    torch.testing.assert_close(start, curved(gaussian_blur(x, 2.0, dims=1)))
    samp = SAMP(curved, insertion_baselines=Blur(2.0, dims=1), direction="insertion")
    _, path = samp.attribute(x, n_steps=3, return_path=True)
    torch.testing.assert_close(path["insertion"].scores[:, 0], start)


def test_rises_blur_is_for_images():
    x, maps = case(2, 3, 3, 4, 5)
    for name, call in {
        "baselines": lambda: insertion(curved, x, maps, baselines="rise"),
        "insertion_baselines": lambda: SAMP(curved, insertion_baselines="rise").attribute(x),
        "fill": lambda: USU(fill=Blur("rise")).score_map(x, curved),
        "blur_sigma": lambda: standard_baselines(x, blur_sigma="rise"),
    }.items():
        with pytest.raises(
            ArgumentError, match=f'`{name}` to be "blur" for inputs .* the blur of RISE is one of images'
        ):
            call()


@pytest.mark.parametrize(("shape", "dims"), [((2, 7), 1), ((2, 3, 7), 2), ((2, 3, 4, 5), 3)])
def test_a_blur_of_dimensions_that_inputs_do_not_have_is_named_as_it_was_given(shape, dims):
    x, maps = case(*shape)
    with pytest.raises(
        ArgumentError, match=rf"`baselines` to be a blur along dimensions .*, but got Blur\(.*dims={dims}"
    ):
        insertion(curved, x, maps, baselines=Blur(dims=dims))
    if len(shape) > 2:
        with pytest.raises(ArgumentError, match="`insertion_baselines` to be a blur along dimensions of the inputs"):
            SAMP(curved, insertion_baselines=Blur(dims=dims)).attribute(x)


def test_the_standard_baselines_of_a_volume_have_its_mean_colour_and_its_blur():
    x, _ = case(2, 3, 2, 4, 5)
    baselines = standard_baselines(x, (0, 1), n_noise=1)
    assert baselines.shape == (2, 6, 3, 2, 4, 5)
    torch.testing.assert_close(baselines[:, 3], x.mean((2, 3, 4), keepdim=True).expand_as(x))
    torch.testing.assert_close(baselines[:, 4], gaussian_blur(x))


# What the metrics replace and compare.


@given(sides=st.lists(st.integers(1, 6), min_size=1, max_size=3), patch=st.floats(0.05, 0.95))
def test_infidelity_replaces_intervals_squares_and_cubes(sides, patch):
    (kept,) = kept_outside_patches((torch.ones(1, 2, *sides),), 5, patch, 0, (1,))
    assert kept.shape == (5, 1, *sides)
    side = max(1, round(patch * min([one for one in sides if one > 1], default=1)))
    for mask in kept[:, 0]:
        places = (~mask).nonzero()
        lengths = (places.amax(0) - places.amin(0) + 1).tolist()
        assert lengths == [min(side, one) for one in sides]
        assert len(places) == np.prod(lengths)


def test_irof_removes_the_segments_of_a_volume():
    x = torch.tensor([[[[[3.0, 1.0]], [[2.0, 2.0]]]]])
    labels = torch.tensor([[[0, 0]], [[1, 1]]])
    total = lambda x: x.sum((1, 2, 3, 4))  # noqa: E731
    maps = torch.tensor([[[[[2.0, 2.0]], [[1.0, 1.0]]]]])
    assert irof(total, x, maps, baselines=0, segments=labels).item() == pytest.approx(1 - (0.5 * 0.75 + 0.5 * 0.25))


def test_road_and_irof_refuse_what_they_are_not_defined_for():
    x, maps = case(2, 3, 3, 4, 5)
    with pytest.raises(ArgumentError, match=r"for road, which is defined in two dimensions, but got \(2, 3, 3, 4, 5\)"):
        road(curved, x, maps)
    with pytest.raises(ArgumentError, match=r"for irof, but got \(2, 3, 5\); a map \(N, 1, T\) says"):
        irof(curved, x[:, :, 0, 0], maps[:, :, 0, 0])


@pytest.mark.parametrize("size", [(12,), (2, 3, 4)])
@pytest.mark.parametrize("metric", [iou, concentration, pointing_game])
def test_localisation_looks_at_the_pixels_of_any_dimension(metric, size):
    maps = numbers(3, 2, *size)
    inside = numbers(3, 1, *size) > 0.5
    flat = maps.reshape(3, 2, 3, 4) if len(size) == 1 else maps.reshape(3, 2, 6, 4)
    expected = metric(flat, inside.reshape(3, 1, *flat.shape[2:]))
    assert torch.equal(metric(maps, inside), expected)
    assert torch.equal(metric(maps.sum(1, keepdim=True), inside), expected)
    assert torch.equal(gini(maps), gini(flat))
    if len(size) == 3:
        assert torch.equal(metric(maps, inside[:, 0]), expected)
        assert torch.equal(metric(maps, inside[0, 0]), metric(flat, inside[:1].reshape(1, 1, *flat.shape[2:])))


def test_a_mask_of_other_pixels_than_a_volumes_is_refused():
    with pytest.raises(ArgumentError, match=r"`masks` to be of shape \(2, 3, 4, 5\) or \(3, 4, 5\)"):
        iou(torch.rand(2, 1, 3, 4, 5), torch.ones(2, 4, 5))
