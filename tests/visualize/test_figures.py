"""What a figure of maps shows and says, read from the figure."""

import io

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from PIL import Image

from captum_ext.exceptions import ArgumentError, ArgumentsConflictError, ArgumentTypeError, NonFiniteError
from captum_ext.visualize import Caption, Look, save_figure, show_comparison, show_maps

WHITE = torch.ones(1, 3, 8, 8)
LARGE = np.r_[-1, np.arange(1.0, 1000)].reshape(1, 10, 100)


def panels(figure):
    return [axis for axis in figure.axes if axis.images]


def bars(figure):
    return [axis for axis in figure.axes if axis.get_label() == "<colorbar>"]


def said(figure):
    """The caption on one line."""
    return " ".join(figure.get_supxlabel().split())


def pixels(figure):
    file = io.BytesIO()
    save_figure(figure, file, dpi=100)
    return np.asarray(Image.open(file).convert("RGB"))


def test_methods_and_images_are_columns_and_rows_of_one_scale_with_one_colour_bar():
    maps = {"a": np.linspace(-1, 1, 128).reshape(2, 8, 8), "b": np.full((2, 8, 8), 0.1)}
    figure = show_maps(maps, WHITE.expand(2, -1, -1, -1), titles=["one", "two"], caption=Caption("T", "unit"))
    assert [axis.get_title() for axis in panels(figure)] == ["one", "a", "b", "two", "a", "b"]
    drawn = [panels(figure)[place].images[0] for place in (1, 2, 4, 5)]
    assert len({one.get_clim() for one in drawn}) == 1
    low, high = drawn[0].get_clim()
    assert low == -high
    assert [bar.get_ylabel() for bar in bars(figure)] == ["unit"]
    assert figure.get_suptitle() == "T"
    np.testing.assert_array_equal(drawn[2].get_array(), maps["a"][1])
    assert "Orange: for the target, blue: against it; the darker, the more" in said(figure)


def test_maps_without_negative_numbers_begin_at_zero():
    figure = show_maps({"a": np.eye(10)}, look=Look(quantile=1))
    assert panels(figure)[0].images[0].get_clim() == (0, 1)
    assert said(figure) == "The darker, the larger. No pixel is beyond the scale."


def test_what_is_beyond_the_scale_is_said_in_pixels_and_in_mass():
    figure = show_maps({"a": LARGE, "b": LARGE * 0}, caption=Caption(notes=("Layer 3.",)), limits=(-900, 900))
    mass = np.arange(901.0, 1000).sum() / np.abs(LARGE).sum()
    beyond = f"Pixels beyond the scale, drawn as its end (and their share of the mass): a 9.9 % ({100 * mass:.0f} %)."
    assert said(figure).endswith(beyond)
    assert said(figure).startswith("Layer 3. Zero everywhere: b. Orange")


def test_each_image_or_each_map_may_have_its_own_scale_and_the_caption_says_so():
    maps = {"a": np.stack([np.eye(4), 2 * np.eye(4)]), "b": np.stack([4 * np.eye(4), -8 * np.eye(4)])}
    look = Look(quantile=1)
    by_image = show_maps(maps, scale="image", look=look)
    assert [axis.images[0].get_clim() for axis in panels(by_image)] == [(-4, 4)] * 2 + [(-8, 8)] * 2
    assert (len(bars(by_image)), "Each image has its own scale. " in said(by_image)) == (2, True)
    by_map = show_maps(maps, scale="map", look=look)
    assert [axis.images[0].get_clim() for axis in panels(by_map)] == [(0, 1), (0, 4), (0, 2), (-8, 8)]
    assert (len(bars(by_map)), "Each map has its own scale and unit: colours do not compare" in said(by_map)) == (
        4,
        True,
    )
    assert "own scale" not in said(show_maps(maps, look=look))


def test_limits_are_those_of_all_maps_unless_they_are_given():
    assert panels(show_maps(np.eye(3), limits=(-5, 5)))[0].images[0].get_clim() == (-5, 5)
    with pytest.raises(
        ArgumentsConflictError, match="`limits` and `scale` do not fit each other: one range is that of"
    ):
        show_maps(np.eye(3), limits=(-5, 5), scale="map")
    with pytest.raises(ArgumentsConflictError, match="the range has to be symmetric, which .-1.0, 5.0. is not"):
        show_maps(np.eye(3), limits=(-1, 5))
    with pytest.raises(ArgumentError, match='`scale` to be one of "all", "image", "map"'):
        show_maps(np.eye(3), scale="row")


def test_channels_cells_smoothing_and_outlines_are_said():
    maps = {"ig": torch.ones(1, 3, 8, 8), "cam": torch.ones(1, 2, 2)}
    text = said(show_maps(maps, WHITE, look=Look(smoothing=1.5, outlined=0.05)))
    assert text.startswith(
        "Pixels are sums over 3 channels. Not interpolated, each number drawn as the area of its cell: cam 2 x 2. "
        "Outlined: the 5 % of each map's pixels with the largest numbers. "
        "Smoothed for display by a Gaussian of 1.5 pixels. "
    )
    large = said(show_maps(torch.ones(1, 16, 16), WHITE))
    assert "The map has 16 x 16 pixels, its photograph 8 x 8. " in large


def test_smoothing_keeps_the_mass_of_a_map():
    values = np.zeros((9, 9))
    values[0, 0] = 3
    drawn = panels(show_maps(values, look=Look(smoothing=2)))[0].images[0].get_array()
    assert drawn.sum() == pytest.approx(3)
    assert drawn.max() < 1


def test_numbers_that_are_not_finite_are_crossed_out_and_counted():
    values = np.ones((40, 40))
    values[:20], values[20, 0] = np.nan, np.inf
    figure = show_maps({"a": values, "b": np.ones((40, 40))})
    assert "Hatched crosswise, NaN or infinite: a 801 pixels. " in said(figure)
    first, second = panels(figure)
    assert [len(axis.patches) for axis in (first, second)] == [1, 0]
    assert first.images[0].get_array().mask.sum() == 801
    assert pixels(figure).min() == 0  # the black lines
    nothing = show_maps(np.full((4, 4), np.nan))
    assert "NaN or infinite: 16 pixels" in said(nothing)


def test_areas_of_negative_numbers_are_hatched_and_single_pixels_are_not():
    signs = np.ones((80, 80))
    signs[:, :40] = -1
    area = show_maps(signs, limits=(-1.5, 1.5))
    assert "Hatched: areas against it" in said(area)
    assert len(panels(area)[0].collections) == 1
    single = np.where(np.indices((80, 80)).sum(0) % 2, 1.0, -1.0)
    apart = show_maps({"area": signs, "pixels": single}, scale="map")
    assert [len(bar.patches) > 0 for bar in bars(apart)] == [True, False]
    assert "Hatched" not in said(show_maps(single))
    assert "Hatched" not in said(show_maps(-signs, look=Look(palette="signed-print")))


@pytest.mark.parametrize("limit", [1, 1.9, 2.1, 5])
def test_in_grey_both_signs_differ_where_they_fill_areas(limit):
    signs = np.ones((80, 80))
    signs[:, :40] = -1
    figure = show_maps(signs, limits=(-limit, limit))
    grey = np.asarray(Image.fromarray(pixels(figure)).convert("L")).astype(float)
    box = panels(figure)[0].get_window_extent()
    height, middle = grey.shape[0], (box.x0 + box.x1) / 2
    inside = grey[int(height - box.y1) + 5 : int(height - box.y0) - 5]
    left, right = inside[:, int(box.x0) + 5 : int(middle) - 5], inside[:, int(middle) + 5 : int(box.x1) - 5]
    assert right.std() < 1
    assert left.std() > 20


def test_an_overlay_is_the_pure_one_and_needs_photographs():
    from captum_ext.visualize import overlay

    maps = torch.linspace(-1, 1, 64).reshape(1, 8, 8)
    figure = show_maps(maps, WHITE, look=Look(overlay=True, quantile=1))
    drawn = (panels(figure)[1].images[0].get_array()[..., :3] * 255).round()
    np.testing.assert_array_equal(drawn, overlay(WHITE, maps, (-1, 1))[0])
    with pytest.raises(
        ArgumentsConflictError, match="`look` and `images` do not fit each other: an overlay needs phot"
    ):
        show_maps(maps, look=Look(overlay=True))
    with pytest.raises(ArgumentError, match="`maps` to be no larger than their photographs"):
        show_maps(torch.ones(1, 9, 9), WHITE, look=Look(overlay=True))


def test_numbers_of_images_maps_and_titles_have_to_agree():
    with pytest.raises(ArgumentError, match="`maps` to be of 1 images, but got 3 maps of each method; maps .C, H, W."):
        show_maps(torch.ones(3, 8, 8), WHITE)
    with pytest.raises(ArgumentError, match="`titles` to be 1, one for each, but got 2"):
        show_maps(torch.ones(8, 8), WHITE, titles=["a", "b"])
    with pytest.raises(ArgumentError, match="`maps` to be of the same number of images, but got {'a': 1, 'b': 2}"):
        show_maps({"a": torch.ones(1, 8, 8), "b": torch.ones(2, 8, 8)})
    with pytest.raises(ArgumentError, match="`maps` to be at least one map"):
        show_maps({})
    with pytest.raises(ArgumentError, match="`maps` to be of at most 400 panels, but got 500"):
        show_maps(torch.ones(500, 2, 2))
    with pytest.raises(ArgumentError, match="`columns` to be an integer of at least 1"):
        show_maps(torch.ones(2, 2), columns=0)


def test_many_methods_go_into_further_rows():
    figure = show_maps({str(k): np.eye(2) for k in range(5)}, np.ones((1, 2, 2, 3)), columns=4)
    assert len(panels(figure)) == 6
    assert [axis.axison for axis in figure.axes[:8]] == [True] * 6 + [False] * 2


def test_what_is_explained_is_framed_in_every_panel():
    mask = torch.zeros(8, 8)
    mask[2:4, 2:4] = 1
    figure = show_maps(torch.ones(3, 8, 8), WHITE.expand(3, -1, -1, -1), places=[(1, 2, 5, 6), mask, None])
    framed = panels(figure)
    assert [len(axis.lines) for axis in framed] == [2, 2, 0, 0, 0, 0]
    assert [len(axis.collections) for axis in framed] == [0, 0, 2, 2, 0, 0]
    assert framed[1].lines[0].get_xdata().tolist() == [0.5, 4.5, 4.5, 0.5, 0.5]
    assert framed[1].lines[0].get_ydata().tolist() == [1.5, 1.5, 5.5, 5.5, 1.5]
    assert framed[1].get_xlim() == framed[5].get_xlim()
    assert said(figure).startswith("Framed: what is explained. ")
    with pytest.raises(ArgumentError, match="`places` to be 1, one for each, but got 2"):
        show_maps(torch.ones(8, 8), places=[None, None])
    with pytest.raises(
        ArgumentError, match="`places` to be boxes .x0, y0, x1, y1. or masks .H, W., but got shape .3,."
    ):
        show_maps(torch.ones(8, 8), places=[(1, 2, 3)])


class Shifted:
    """A model that knows how its images are seen."""

    def display(self, images):
        return (images / 2 + 0.5).movedim(1, -1)


def test_photographs_are_taken_as_people_have_them():
    from captum_ext.visualize.inputs import photographs

    grey = Image.fromarray(np.full((2, 3), 51, np.uint8))
    expected = np.full((1, 2, 3, 3), 0.2)
    for images in (
        grey,
        [grey],
        np.asarray(grey),
        torch.full((1, 3, 2, 3), 0.2, dtype=torch.float64),
        torch.full((3, 2, 3), 0.2, dtype=torch.float64),
        torch.full((1, 1, 2, 3), 51, dtype=torch.uint8),
        np.full((2, 3, 3), 0.2),
    ):
        pixels, sentence = photographs(images)
        np.testing.assert_allclose(pixels, expected, atol=1e-7)
        assert sentence == ""
    assert photographs(np.full((4, 2, 5), 0.2))[0].shape == (4, 2, 5, 3)  # grey ones
    np.testing.assert_allclose(photographs(torch.full((1, 3, 2, 3), -0.6), Shifted())[0], expected, atol=1e-7)


def test_photographs_of_an_unknown_range_are_scaled_and_that_is_said():
    images = torch.tensor([[[[-2.0, 2.0]]]])
    figure = show_maps(torch.ones(1, 1, 2), images)
    assert panels(figure)[0].images[0].get_array()[..., 0].tolist() == [[0, 1]]
    assert said(figure).startswith("How photographs are normalised is not known: each is scaled from its smallest")
    assert "normalised" not in said(show_maps(torch.ones(1, 1, 2), images / 2, model=Shifted()))


def test_images_that_cannot_be_seen_are_refused():
    with pytest.raises(ArgumentError, match="`images` to be photographs .* of 1 or 3 channels; choose those to show"):
        show_maps(torch.ones(1, 8, 8), torch.ones(1, 5, 8, 8))
    with pytest.raises(NonFiniteError, match="`images`"):
        show_maps(torch.ones(1, 8, 8), torch.full((1, 3, 8, 8), torch.nan))
    with pytest.raises(ArgumentTypeError, match="`model` to be an AdaptedModel, or what has a method `display`"):
        show_maps(torch.ones(1, 8, 8), WHITE, model=torch.nn.Identity())
    with pytest.raises(ArgumentTypeError, match="`images` to be a tensor .N, C, H, W., as the model takes it"):
        show_maps(torch.ones(1, 8, 8), WHITE.numpy(), model=Shifted())
    with pytest.raises(ArgumentError, match="`images` to be of one size"):
        show_maps(torch.ones(2, 8, 8), [Image.new("L", (2, 2)), Image.new("L", (3, 3))])


HOSTILE = "$\\input{x}$ <script>'\"&\x1b[2J\u202e\n猫 _a_"
SHOWN = "$\\input{x}$ <script>'\"&\\x1b[2J\\u202e\\n猫 _a_"


def test_names_of_others_are_shown_as_they_are():
    look = {"titles": [HOSTILE], "caption": Caption(HOSTILE, HOSTILE, (HOSTILE,))}
    figure = show_maps({HOSTILE: np.eye(4)}, np.ones((4, 4)), **look)
    texts = [panels(figure)[0].get_title(), panels(figure)[1].get_title(), bars(figure)[0].get_ylabel()]
    texts += [figure.get_suptitle(), figure.get_supxlabel()]
    for text in texts:
        assert SHOWN in " ".join(text.replace("\\$", "$").split())
        assert text.count("$") == text.count("\\$")  # none begins a formula
    assert pixels(figure).std() > 0


def test_nothing_is_set_by_tex_whatever_the_callers_settings_are():
    with matplotlib.rc_context({"text.usetex": True}):
        figure = show_maps({HOSTILE: np.eye(4)}, caption=Caption(HOSTILE))
        assert not any(text.get_usetex() for text in figure.findobj(matplotlib.text.Text))
        assert pixels(figure).std() > 0


def test_a_figure_is_unknown_to_pyplot():
    before = pyplot.get_fignums()
    show_maps(np.eye(3))
    assert pyplot.get_fignums() == before


def test_two_maps_and_their_difference_have_one_scale():
    first, second = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]])
    figure = show_comparison(first, second, names=("IG", "LPI"), look=Look(quantile=1))
    assert [axis.get_title() for axis in panels(figure)] == ["IG", "LPI", "LPI less IG"]
    assert [axis.images[0].get_clim() for axis in panels(figure)] == [(-2, 2)] * 3
    assert panels(figure)[2].images[0].get_array().tolist() == [[0, -2]]
    assert said(figure).startswith("Pixels have the correlation -1, largest difference 2. ")
    constant = said(show_comparison(torch.ones(1, 3, 2, 2), torch.ones(1, 3, 2, 2)))
    assert constant.startswith("Pixels are sums over 3 channels. One of both is constant, largest difference 0. ")
    assert "No pixel is finite in both" in said(show_comparison(np.full((2, 2), np.nan), np.ones((2, 2))))
    with pytest.raises(ArgumentError, match="`second` to be of the shape of first, .1, 1, 2., but got .1, 2, 2."):
        show_comparison(first, np.eye(2))
    with pytest.raises(ArgumentError, match="`names` to be two names that differ"):
        show_comparison(first, second, names=("a", "a"))


def test_a_figure_is_written_whole_and_its_folder_is_made(tmp_path):
    figure = show_maps(np.eye(3))
    for suffix, beginning in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml"), ("jpg", b"\xff\xd8")):
        save_figure(figure, tmp_path / "new" / f"a.{suffix}", dpi=30)
        assert (tmp_path / "new" / f"a.{suffix}").read_bytes().startswith(beginning)
    with pytest.raises(ValueError, match="Format 'exe' is not supported"):
        save_figure(figure, tmp_path / "b.exe")
    assert not (tmp_path / "b.exe").exists()
    with pytest.raises(ArgumentError, match="`dpi` to be a positive number"):
        save_figure(figure, tmp_path / "b.png", dpi=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantile": 0}, "`quantile` to be a number in .0, 1."),
        ({"outlined": 2}, "`outlined` to be None or a number in .0, 1."),
        ({"smoothing": -1}, "`smoothing` to be a number from 0 to 1,000"),
        ({"palette": "jet"}, '`palette` to be one of "signed"'),
    ],
)
def test_looks_that_cannot_be_drawn_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        Look(**options)
