"""Pure functions from numbers to colours, on maps of which every number is known."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from captum_ext.exceptions import ArgumentError, ArgumentsConflictError, ArgumentTypeError, NonFiniteError
from captum_ext.visualize import Outside, colorize, outline, overlay, share_outside, show_cam_on_image, symmetric_limits
from captum_ext.visualize.arrays import in_cells, limits_of

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WHITE, BLUE, BROWN = [255, 255, 255], [13, 63, 135], [122, 36, 4]


def test_the_ends_and_zero_have_their_colours_and_what_is_beyond_has_that_of_the_end():
    found = colorize(torch.tensor([-9.0, -2.0, 0.0, 2.0, 9.0]), (-2, 2))
    assert found.dtype == np.uint8
    assert found.tolist() == [BLUE, BLUE, WHITE, BROWN, BROWN]
    assert colorize(torch.tensor([-1.0, 0.0, 3.0]), (0, 3)).tolist() == [WHITE, WHITE, BROWN]


def test_a_map_has_the_same_colours_alone_and_in_a_figure():
    from matplotlib.colors import ListedColormap, Normalize

    from captum_ext.visualize import PALETTES

    values = np.random.default_rng(0).normal(size=1000)
    drawn = ListedColormap(PALETTES["signed"].table)(Normalize(-2, 2)(values), bytes=True)[:, :3]
    assert (np.abs(drawn.astype(int) - colorize(values, (-2, 2))) <= 1).all()


def test_without_limits_signed_maps_have_symmetric_ones_and_others_begin_at_zero():
    assert limits_of(np.array([3.0, -1.0]), quantile=1) == (-3, 3)
    assert limits_of(np.array([3.0, 1.0]), quantile=1) == (0, 3)
    assert limits_of(np.array([-3.0, -1.0]), quantile=1) == (-3, 3)
    assert colorize(np.array([-3.0, 0.0])).tolist() == [BLUE, WHITE]
    assert colorize(np.array([0.0, 3.0])).tolist() == [WHITE, BROWN]
    assert colorize(np.array([0.0, 3.0]), palette="signed").tolist() == [WHITE, BROWN]
    assert colorize(np.zeros(2)).tolist() == [WHITE, WHITE]


@example([0.0] * 8, 5e-324)
@given(st.lists(NUMBERS, min_size=1), st.floats(min_value=0, max_value=1e308, exclude_min=True))
def test_any_finite_numbers_have_colours_and_zero_is_white(values, limit):
    found = colorize(np.array([*values, 0.0]), (-limit, limit))
    assert found[-1].tolist() == WHITE
    assert colorize(np.array(values)).shape == (len(values), 3)


def test_limits_are_those_of_all_maps_together_and_leave_out_what_is_not_finite():
    values = np.arange(1000.0)
    assert symmetric_limits(values)[1] == pytest.approx(994.005)
    assert symmetric_limits(values, -values) == pytest.approx((-994, 994), abs=0.01)
    assert symmetric_limits(np.array([0.0] * 999 + [3.0])) == (-3, 3)
    assert symmetric_limits(np.zeros(10)) == (-1, 1)
    assert symmetric_limits(torch.tensor([1.0, torch.nan, -torch.inf]), quantile=1) == (-1, 1)
    with pytest.raises(NonFiniteError, match="`maps` to be of finite numbers, but got NaN or infinity everywhere"):
        symmetric_limits(torch.tensor([torch.nan]))
    with pytest.raises(ArgumentError, match="`maps` to be at least one map, but got none"):
        symmetric_limits()
    with pytest.raises(ArgumentError, match="`quantile` to be a number in .0, 1."):
        symmetric_limits(values, quantile=0)


def test_the_share_beyond_the_range_is_of_pixels_and_of_mass():
    assert share_outside(np.array([3.0, -1.0, 0.0, 0.0]), (-2, 2)) == Outside(0.25, 0.75)
    assert share_outside(np.array([3.0, 1.0]), (-5, 5)) == (0, 0)
    assert share_outside(np.array([-1.0, 1.0]), (0, 1)) == (0.5, 0.5)
    assert share_outside(np.zeros(3), (-1, 1)) == (0, 0)
    assert share_outside(np.array([1.7e308, 1.7e308, np.nan]), (0, 1)) == (1, 1)


def test_numbers_that_are_not_finite_raise_unless_they_have_a_colour():
    values = torch.tensor([torch.nan, torch.inf, 1.0])
    with pytest.raises(
        NonFiniteError, match="`values` to be finite, or nonfinite= a colour, but got 2 NaN or infinite"
    ):
        colorize(values)
    assert colorize(values, nonfinite=(1, 2, 3)).tolist() == [[1, 2, 3], [1, 2, 3], BROWN]


def test_a_signed_palette_has_its_zero_at_zero():
    with pytest.raises(ArgumentsConflictError, match="`limits` and `palette` do not fit each other: zero is in the"):
        colorize(np.ones(2), (-1, 3))
    with pytest.raises(ArgumentsConflictError, match="which .0.0, 3.0. is not"):
        colorize(np.ones(2), (0, 3), "signed")
    assert colorize(np.array([2.0, 4.0]), (2, 4), "magnitude").tolist() == [WHITE, BROWN]


@pytest.mark.parametrize("limits", [(1, 1), (2, 1), (0, float("inf")), (float("nan"), 1)])
def test_limits_that_are_no_range_are_refused(limits):
    with pytest.raises(ArgumentError, match="`limits` to be a pair of finite numbers, the lower one first"):
        colorize(np.ones(2), limits)


@pytest.mark.parametrize("values", ["text", None, [[1], [2, 3]], np.array(["a"]), np.array([1j]), {}])
def test_what_is_no_numbers_is_refused(values):
    with pytest.raises(ArgumentTypeError, match="`values` to be a tensor or an array of numbers"):
        colorize(values)


def test_tensors_of_every_kind_are_read_as_they_are():
    for value in (torch.ones(2, dtype=torch.bfloat16), torch.tensor([True, True]), torch.ones(2, requires_grad=True)):
        assert colorize(value, (0, 1)).tolist() == [BROWN, BROWN]
    assert colorize((torch.ones(1),), (0, 1)).tolist() == [BROWN]  # Captum's result for a tuple of inputs
    with pytest.raises(ArgumentError, match="`values` to be one tensor, but got a tuple of 2: pass one of them"):
        colorize((torch.ones(1), torch.ones(1)))
    with pytest.raises(ArgumentError, match="`values` to be numbers, but got none"):
        colorize(torch.ones(0))


def test_over_a_photograph_zero_leaves_it_in_grey_and_large_numbers_are_darker_than_black():
    black, white = np.zeros((1, 1, 3, 3)), np.ones((1, 1, 3, 3))
    maps = np.array([[[0.0, 1.0, -1.0]]])
    assert overlay(white, maps).tolist() == [[[WHITE, BROWN, BLUE]]]
    assert overlay(black, maps)[0, 0, 0].tolist() == [115, 115, 115]  # 0.45
    assert overlay(white, maps).mean(-1)[0, 0, 1] < overlay(black, maps)[0, 0, 0].mean()


def test_a_coarse_map_is_drawn_in_its_cells_and_a_larger_one_is_refused():
    cells = in_cells(np.array([[[1.0, 2.0]]]), (2, 5))
    assert cells.tolist() == [[[1, 1, 1, 2, 2]] * 2]
    with pytest.raises(
        ArgumentError, match=r"`maps` to be no larger than their photographs, \(1, 3\), but got maps of"
    ):
        overlay(np.zeros((1, 1, 3, 3)), np.zeros((2, 6)))


def test_cells_are_those_of_redistribution():
    from captum_ext.upsampling import pool_attribution

    coarse = torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    fine = torch.from_numpy(in_cells(coarse.numpy(), (7, 10)))
    torch.testing.assert_close(pool_attribution(fine, (3, 4))[:, 0], coarse)


def test_channels_are_summed_and_channels_that_are_last_are_refused():
    white = torch.ones(1, 3, 4, 4)
    maps = torch.zeros(1, 3, 4, 4)
    maps[0, :, 0, 0] = torch.tensor([0.5, 0.25, 0.25])
    assert overlay(white, maps, (0, 1))[0, 0, 0].tolist() == BROWN
    with pytest.raises(ArgumentError, match="`maps` to be .* with channels before pixels, but got shape .1, 4, 4, 3."):
        overlay(white, maps.movedim(1, -1))
    with pytest.raises(ArgumentError, match="`maps` to be of 1 images, but got 2 maps"):
        overlay(white, torch.zeros(2, 4, 4))
    with pytest.raises(ArgumentError, match="`maps` to be maps .* show_slices takes volumes"):
        overlay(white, torch.zeros(1, 1, 2, 4, 4))


def test_the_outline_is_the_border_of_the_largest_share():
    values = np.zeros((5, 5))
    values[1:4, 1:4] = [[9, 8, 7], [6, 5, 4], [3, 2, 1]]
    assert outline(values, 9 / 25)[0].sum() == 8
    assert outline(values, 9 / 25, width=2)[0].sum() == 9
    assert outline(values, 3 / 25)[0].tolist()[1] == [False, True, True, True, False]
    assert outline(values, 1.0)[0].sum() == 16  # the border of everything
    assert outline(values, 0.01).sum() == 0


def test_equal_numbers_are_all_inside_or_all_outside_of_an_outline():
    values = np.zeros((10, 10))
    values[0, :5] = 1
    assert outline(values, 0.5)[0].sum() == 5
    assert outline(np.ones((4, 4)), 0.5).sum() == 0
    with pytest.raises(ArgumentError, match="`share` to be a number in .0, 1."):
        outline(values, 0)
    with pytest.raises(NonFiniteError, match="`maps` to be of finite numbers, but got NaN or infinity"):
        outline(np.full((2, 2), np.nan))


def test_the_drop_in_returns_what_the_host_returns():
    host = pytest.importorskip("pytorch_grad_cam.utils.image").show_cam_on_image
    random = np.random.default_rng(0)
    image, mask = random.random((6, 5, 3), dtype=np.float32), random.random((6, 5), dtype=np.float32)
    for use_rgb in (False, True):
        expected, found = host(image, mask, use_rgb), show_cam_on_image(image, mask, use_rgb)
        assert (type(found), found.dtype, found.shape) == (type(expected), expected.dtype, expected.shape)
    expected = host(image, mask, True, 2, 0.3)
    same = show_cam_on_image(image, mask, True, 2, 0.3)
    brightest = (0.3 * image + 0.7 * np.float32(_jet(mask)) / 255).max()
    assert np.abs(same / brightest - expected).max() < 1.5  # but for the host's division


def _jet(mask):
    import cv2

    return cv2.applyColorMap(np.uint8(255 * mask), 2)[..., ::-1]


def test_the_drop_in_turns_colours_round_for_images_that_have_blue_first():
    image, mask = np.zeros((1, 1, 3)), np.ones((1, 1))
    assert show_cam_on_image(image, mask, True, image_weight=0).tolist() == [[BROWN]]
    assert show_cam_on_image(image, mask, False, image_weight=0).tolist() == [[BROWN[::-1]]]
    assert show_cam_on_image(image, torch.ones(1, 1), True, image_weight=1).tolist() == [[[0, 0, 0]]]


def test_the_drop_in_refuses_what_the_host_gets_wrong():
    image, mask = np.zeros((2, 2, 3)), np.zeros((2, 2))
    for wrong in (np.full((2, 2), 1.5), np.full((2, 2), -0.1)):
        with pytest.raises(ArgumentError, match="`mask` to be in .0, 1., .* `overlay` shows them"):
            show_cam_on_image(image, wrong)
    with pytest.raises(ArgumentError, match="`mask` to be of the image's size .2, 2., but got shape .7, 7."):
        show_cam_on_image(image, np.zeros((7, 7)))
    with pytest.raises(ArgumentError, match="`img` to be in .0, 1., but got numbers from 0 to 255"):
        show_cam_on_image(np.array([[[0, 0, 255]]]), np.zeros((1, 1)))
    with pytest.raises(ArgumentError, match="`img` to be of shape .H, W, 3."):
        show_cam_on_image(np.zeros((3, 2, 2)), mask)
    with pytest.raises(ArgumentError, match="`image_weight` to be a number in .0, 1."):
        show_cam_on_image(image, mask, image_weight=2)
    with pytest.raises(ArgumentError, match="`colormap` to be one of OpenCV's numbers, but got 999"):
        show_cam_on_image(image, mask, colormap=999)
    with pytest.raises(ArgumentTypeError, match="`colormap` to be None or a number of OpenCV's"):
        show_cam_on_image(image, mask, colormap="jet")
    with pytest.raises(NonFiniteError, match="`values` to be finite"):
        show_cam_on_image(image, np.full((2, 2), np.nan))
