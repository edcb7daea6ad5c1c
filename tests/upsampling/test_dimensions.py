"""Redistribution, segments and refinement in one, two and three dimensions, against literal loops and images."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_ext.attr import XRAI
from captum_ext.exceptions import ArgumentError
from captum_ext.segmentation import Segmenter
from captum_ext.upsampling import (
    USU,
    CoalitionScorer,
    InterpolationUpsampler,
    Refinement,
    alpha_error,
    beta_error,
    check_desiderata,
    make_upsampler,
    mass_deficit,
    mass_excess,
    pool_attribution,
    redistribute,
    upsample_maps,
)
from captum_ext.upsampling.neighbourhoods import Cells
from captum_ext.upsampling.refinement import transitions

POTENTIALS = {"tensor": lambda s: math.exp((s - 0.5) / 0.3), "power": lambda s: max(s, 1e-6) ** 2}
SIZES = [((3,), (8,)), ((2, 3), (5, 9)), ((2, 3, 2), (5, 6, 4))]
MODES = ["nearest", "bilinear", "bicubic", "lanczos"]


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_channel(maps):
    """Maps as `redistribute` takes them: signals (N, T), others with a channel."""
    return maps if maps.dim() == 2 else maps[:, None]


def owner(place, grid, size):
    return tuple(i * cells // pixels for i, cells, pixels in zip(place, grid, size, strict=True))


def places(size):
    return itertools.product(*map(range, size))


sides = st.integers(1, 3).flatmap(
    lambda dims: st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), min_size=dims, max_size=dims)
)


@given(sides=sides, seed=st.integers(0, 99), name=st.sampled_from(sorted(POTENTIALS)))
def test_each_cells_mass_is_shared_by_its_pixels_as_a_loop_shares_it(sides, seed, name):
    grid, size = tuple(a for a, _ in sides), tuple(a + b for a, b in sides)
    coarse, scores = random(2, *grid, seed=seed), random(2, *size, seed=seed + 1)
    fine = redistribute(with_channel(coarse), with_channel(scores), temperature=0.3, potential=name)
    pooled = pool_attribution(fine, grid)
    excess = mass_excess(with_channel(scores), fine[:, 0] if len(grid) == 1 else fine, grid)
    for row in range(2):
        for cell in places(grid):
            own = [place for place in places(size) if owner(place, grid, size) == cell]
            total = sum(POTENTIALS[name](float(scores[(row, *place)])) for place in own)
            for place in own:
                share = POTENTIALS[name](float(scores[(row, *place)])) / total
                assert float(fine[(row, 0, *place)]) == pytest.approx(float(coarse[(row, *cell)]) * len(own) * share)
            assert float(pooled[(row, 0, *cell)]) == pytest.approx(float(coarse[(row, *cell)]))
            mass = sum(float(scores[(row, *place)] - fine[(row, 0, *place)]) for place in own)
            assert float(excess[(row, 0, *cell)]) == pytest.approx(max(0, mass), abs=1e-9)


@given(sides=sides, seed=st.integers(0, 99))
def test_cells_are_reduced_and_spread_as_a_loop_does(sides, seed):
    grid, size = tuple(a for a, _ in sides), tuple(a + b for a, b in sides)
    cells, fine, coarse = Cells(grid, size, torch.device("cpu")), random(2, *size, seed=seed), random(2, *grid)
    sums, largest, spread = cells.sum(fine), cells.amax(fine), cells.spread(coarse)
    added = cells.combine_(fine.clone(), coarse, torch.Tensor.add_)
    for cell in places(grid):
        own = [place for place in places(size) if owner(place, grid, size) == cell]
        values = torch.stack([fine[(slice(None), *place)] for place in own])
        torch.testing.assert_close(sums[(slice(None), *cell)], values.sum(0))
        assert torch.equal(largest[(slice(None), *cell)], values.amax(0))
        assert int(cells.pixels[cell]) == len(own)
        for place in own:
            assert torch.equal(spread[(slice(None), *place)], coarse[(slice(None), *cell)])
    torch.testing.assert_close(added, fine + spread)


@pytest.mark.parametrize("redistribution", ["local", "global-mass", "global-area"])
def test_a_volume_of_depth_1_is_an_image_and_a_signal_an_image_of_height_1(redistribution):
    options = {"temperature": 0.2, "redistribution": redistribution}
    coarse, scores = random(2, 2, 3), random(2, 5, 7)
    image = redistribute(coarse, scores, **options)
    assert torch.equal(redistribute(coarse[:, None, None], scores[:, None, None], **options), image[:, :, None])
    coarse, scores = random(2, 1, 3), random(2, 1, 7)
    line = redistribute(coarse, scores, **options)
    assert torch.equal(redistribute(coarse[:, 0], scores[:, 0], **options), line[:, :, 0])
    assert torch.equal(pool_attribution(scores[:, 0], (3,)), pool_attribution(scores, (1, 3))[:, :, 0])
    other = random(2, 1, 7, seed=5)
    for error in (alpha_error, beta_error):
        assert torch.equal(error(scores[:, 0], other[:, 0]), error(scores, other)[:, :, 0])
    assert torch.equal(mass_deficit(scores, other, (3,)), mass_deficit(scores, other, (1, 3))[:, :, 0])


@pytest.mark.parametrize(
    ("coarse", "scores", "name", "message"),
    [
        ((2, 3), (2, 1, 7), "coarse", r"\(N, h, w\) or \(N, 1, h, w\)"),
        ((2, 1, 3), (2, 7), "score_map", r"\(N, h, w\) or \(N, 1, h, w\)"),
        ((2, 2, 3), (2, 1, 4, 5, 6), "coarse", r"\(N, d, h, w\) or \(N, 1, d, h, w\)"),
        ((2, 2, 2, 2, 3), (2, 1, 4, 5, 6), "coarse", r"\(N, d, h, w\) or \(N, 1, d, h, w\)"),
        ((2, 2, 2, 3), (2, 4, 5, 6), "score_map", r"\(N, h, w\) or \(N, 1, h, w\)"),
    ],
)
def test_maps_of_other_dimensions_are_refused(coarse, scores, name, message):
    with pytest.raises(ArgumentError, match=f"`{name}` to be of shape {message}"):
        redistribute(torch.ones(coarse), torch.ones(scores), temperature=0.3)


# The upsampler.


def of_two_halves(x):
    """Scores of a volume, an image or a signal: the sum of what comes later on the last axis."""
    return x[..., x.shape[-1] // 2 :].flatten(1).sum(1)


@pytest.mark.parametrize(("grid", "size"), [((1,), (4,)), ((1, 1), (1, 4)), ((1, 1, 1), (2, 2, 4))])
def test_the_half_that_the_score_comes_from_gets_its_share_of_the_mass(grid, size):
    x = torch.ones(1, 2, *size, dtype=torch.float64)
    x[..., 2:] = 5
    labels = torch.zeros(size, dtype=torch.long)
    labels[..., 2:] = 1
    usu = USU(segmenter=labels)
    fine = usu(torch.ones(1, *grid, dtype=torch.float64), x, of_two_halves)
    assert fine.shape == (1, 1, *size)
    low, high = math.exp(-0.5 / 0.3), math.exp(0.5 / 0.3)
    expected = torch.where(labels == 1, 2 * high / (low + high), 2 * low / (low + high))
    torch.testing.assert_close(fine[0, 0], expected.double(), check_dtype=False)


NETWORK = nn.Sequential(
    nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)
)
NETWORK.double().eval()
UPSAMPLERS = {
    "usu": lambda: USU(),
    "grid": lambda: USU(segmenter=Segmenter("grid", n_segments=6), redistribution="global-mass"),
    "watershed": lambda: USU(segmenter="watershed", scorer=CoalitionScorer(n_passes=20), fill="blur"),
    "felzenszwalb": lambda: USU(segmenter="felzenszwalb", scorer="gradient", fill=0.5),
    "refined": lambda: USU(segmenter=Segmenter("grid", n_segments=4), refinement=Refinement(threshold=0.1)),
    **{mode: lambda mode=mode: InterpolationUpsampler(mode) for mode in MODES},
}


@pytest.mark.filterwarnings("ignore:.* keep more than half of their score")
@pytest.mark.parametrize("name", UPSAMPLERS)
def test_an_upsampler_of_a_volume_of_depth_1_gives_the_image(name):
    x, coarse = random(2, 2, 12, 10), random(2, 3, 2)
    expected = UPSAMPLERS[name]()(coarse, x, NETWORK, target=1)
    found = UPSAMPLERS[name]()(coarse[:, None], x[:, :, None], lambda x: NETWORK(x.squeeze(2)), target=1)
    torch.testing.assert_close(found, expected[:, :, None])


@pytest.mark.filterwarnings("ignore:The segments of")  # of felzenszwalb, which does not divide a line of noise
@pytest.mark.parametrize("name", UPSAMPLERS)
def test_an_upsampler_of_a_signal_gives_the_image_of_height_1(name):
    x, coarse = random(2, 2, 1, 24), random(2, 1, 3)
    expected = UPSAMPLERS[name]()(coarse, x, NETWORK, target=1)
    for maps in (coarse, coarse[:, 0]):
        found = UPSAMPLERS[name]()(maps, x.squeeze(2), lambda x: NETWORK(x[:, :, None]), target=1)
        torch.testing.assert_close(found, expected.squeeze(2))


@pytest.mark.parametrize(("grid", "size"), SIZES)
@pytest.mark.parametrize("name", ["usu", "nearest"])
def test_several_maps_are_upsampled_to_a_size_of_ones_own(name, grid, size):
    x = random(2, 1, *size)
    larger = tuple(2 * side for side in size)
    maps = [random(2, *grid), random(2, 1, *grid)]
    fine = upsample_maps(make_upsampler(name), maps, x, of_two_halves, size=larger)
    for one, result in zip(maps, fine, strict=True):
        assert result.shape == (2, 1, *larger)
        pooled = pool_attribution(result, grid)
        torch.testing.assert_close(pooled.reshape(2, *grid), one.reshape(2, *grid))
    at_own = upsample_maps(make_upsampler(name), maps[1:], x, of_two_halves)[0]
    assert at_own.shape == (2, 1, *size)


@pytest.mark.parametrize(("grid", "size"), [((4,), (16,)), ((2, 3), (6, 9)), ((2, 2, 3), (4, 5, 6))])
@pytest.mark.parametrize("name", ["usu", "usu-iwmr", "nearest", "bilinear"])
def test_the_desiderata_are_measured_in_each_dimension(name, grid, size):
    report = check_desiderata(name, size=size, grid=grid, n_cases=4)
    satisfied = [one.satisfied for one in (report.d1, report.d2, report.d3, report.d4, report.d4_prime)]
    expected = {
        "usu": [True, True, True, True, True],
        "usu-iwmr": [False, True, True, False, True],
        "nearest": [True, True, False, True, True],
        "bilinear": [False, False, False, False, False],
    }
    assert satisfied == expected[name]
    assert report.d1.error < 1e-6 or not report.d1.satisfied


@pytest.mark.parametrize("mode", MODES)
def test_interpolation_of_a_volume_keeps_constants_and_goes_side_by_side(mode):
    upsampler, x = InterpolationUpsampler(mode), torch.zeros(1, 1, 6, 4, 9)
    torch.testing.assert_close(upsampler(torch.full((1, 3, 2, 3), 0.4), x), torch.full((1, 1, 6, 4, 9), 0.4))
    parts = random(3).float(), random(2, seed=1).float(), random(3, seed=2).float()
    lines = [upsampler(part[None], torch.zeros(1, 1, side))[0, 0] for part, side in zip(parts, (6, 4, 9), strict=True)]
    product = torch.einsum("d,h,w->dhw", *lines)
    found = upsampler(torch.einsum("d,h,w->dhw", *parts)[None], x)[0, 0]
    torch.testing.assert_close(found, product)


def test_interpolation_of_volumes_is_torchs_where_torch_has_it():
    coarse, x = random(2, 1, 2, 3, 4), random(2, 3, 5, 6, 9)
    for mode, name in (("nearest", "nearest"), ("bilinear", "trilinear")):
        options = {} if mode == "nearest" else {"align_corners": False}
        expected = nn.functional.interpolate(coarse, size=x.shape[2:], mode=name, **options)
        torch.testing.assert_close(InterpolationUpsampler(mode)(coarse, x), expected)


# Segments.


@pytest.mark.parametrize("method", ["slic", "watershed", "grid"])
def test_segments_of_a_volume_are_few_connected_boxes_of_its_two_halves(method):
    volume = torch.zeros(1, 1, 6, 8, 10)
    volume[..., 5:] = 1
    (labels,) = Segmenter(method, n_segments=8)(volume)
    assert labels.shape == (6, 8, 10)
    assert 2 <= len(labels.unique()) <= 27
    assert labels.unique().tolist() == list(range(len(labels.unique())))
    if method == "slic":
        assert not set(labels[..., :5].unique().tolist()) & set(labels[..., 5:].unique().tolist())


@given(sides=st.lists(st.integers(1, 9), min_size=3, max_size=3), n_segments=st.integers(1, 40))
def test_a_grid_of_a_volume_is_a_product_of_equal_windows(sides, n_segments):
    (labels,) = Segmenter("grid", n_segments=n_segments)(torch.zeros(1, 1, *sides))
    counts = []
    for axis, side in enumerate(sides):
        line = labels.movedim(axis, 0).flatten(1)[:, 0].tolist()
        windows = [len(list(group)) for _, group in itertools.groupby(line)]
        assert max(windows) - min(windows) <= 1
        counts.append(len(windows))
        assert sum(windows) == side
    assert math.prod(counts) == int(labels.max()) + 1


@pytest.mark.parametrize("method", ["slic", "watershed", "grid", "felzenszwalb"])
def test_segments_of_a_signal_are_intervals(method):
    signal = torch.zeros(1, 2, 30)
    signal[..., 12:] = 1
    (labels,) = Segmenter(method, n_segments=5)(signal)
    assert labels.shape == (30,)
    assert len(list(itertools.groupby(labels.tolist()))) == len(labels.unique())


def test_three_channels_of_a_signal_are_no_colours():
    signal = random(1, 3, 40)
    padded = torch.cat([signal, torch.zeros(1, 1, 40)], 1)  # four channels, of which one says nothing
    assert torch.equal(Segmenter("slic")(signal), Segmenter("slic")(padded))


def test_a_function_gets_a_signal_and_a_volume_with_its_channels_last():
    shapes = []

    def halves(one):
        shapes.append(one.shape)
        return np.arange(math.prod(one.shape[:-1])).reshape(one.shape[:-1]) // 4

    assert Segmenter(halves)(torch.rand(1, 3, 8)).tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    assert Segmenter(halves)(torch.rand(1, 3, 2, 2, 2)).flatten().tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert shapes == [(8, 3), (2, 2, 2, 3)]


@pytest.mark.parametrize(
    ("labels", "size"),
    [((4,), (4,)), ((2, 4), (4,)), ((2, 2, 3), (2, 2, 3)), ((2, 2, 2, 3), (2, 2, 3))],
)
def test_labels_are_one_for_all_or_one_for_each_input(labels, size):
    given = torch.arange(math.prod(size)).reshape(size) // 2
    usu = USU(segmenter=given.expand(labels), scorer="random")
    scores = usu.score_map(torch.rand(2, 1, *size), of_two_halves)
    assert scores.shape == (2, 1, *size)
    assert torch.equal(scores[0].unique(), scores[1].unique())


def test_what_is_not_defined_in_three_dimensions_is_refused():
    volume = torch.rand(1, 1, 4, 4, 4)
    with pytest.raises(ArgumentError, match='"slic", "watershed" or "grid" for volumes of size .* but got "felzens'):
        Segmenter("felzenszwalb")(volume)
    with pytest.raises(ArgumentError, match=r'None or of kernel "max-min" for inputs \(1, 1, 4, 4, 4\), which are no'):
        USU.paper()(torch.ones(1, 1, 1, 1), volume, of_two_halves)
    with pytest.raises(ArgumentError, match="`segmenter` to be of shape"):
        USU(segmenter=torch.arange(4))(torch.ones(1, 1, 1, 1), volume, of_two_halves)
    with pytest.raises(ArgumentError, match="`size` to be three integers"):
        USU()(torch.ones(1, 1, 1, 1), volume, of_two_halves, size=(4, 4))
    with pytest.raises(ArgumentError, match="`images` to be images"):
        Segmenter()(torch.rand(2, 3))


# Refinement.


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_a_transition_is_the_range_of_the_neighbours_scores(sizes, seed):
    scores = random(1, *sizes, seed=seed)
    found = transitions(scores, "max-min")
    for place in places(sizes):
        near = [
            float(scores[(0, *other)])
            for other in places(sizes)
            if all(abs(a - b) <= 1 for a, b in zip(place, other, strict=True))
        ]
        assert float(found[(0, *place)]) == pytest.approx(max(near) - min(near))


# XRAI.


def test_xrai_ranks_the_segments_of_volumes_and_signals():
    labels = torch.tensor([[[0, 0, 1, 1]], [[0, 0, 1, 1]]])
    volume = torch.arange(8.0).reshape(1, 1, 2, 1, 4)
    maps, ranks = XRAI(of_two_halves, segmenter=labels).attribute(volume, baselines=0, return_segments=True)
    assert maps[0, 0, 0, 0].tolist() == [0, 0, 4.5, 4.5]
    assert ranks[0, 1, 0].tolist() == [2, 2, 1, 1]
    signal = torch.tensor([[[1.0, 1.0, 2.0, 4.0]]])
    maps = XRAI(of_two_halves, segmenter=labels[0, 0]).attribute(signal, baselines=0)
    torch.testing.assert_close(maps, torch.tensor([[[0.0, 0.0, 3.0, 3.0]]]))
    with pytest.raises(ArgumentError, match="`inputs` to be a batch of images .*; of volumes with another segmenter"):
        XRAI(of_two_halves).attribute(volume)
