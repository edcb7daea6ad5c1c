"""What a figure says: one scale for maps beside each other, the unit of the colour bar, and what is cut off."""

import numpy as np
import pytest

from captum_ext.visualize import symmetric_limits
from captum_ext_integrations.cli import pictures
from captum_ext_integrations.cli.pictures import Caption, draw_maps
from tests.integrations.cli.calls import TINY, succeed

PHOTOGRAPH = np.zeros((10, 10, 3))


class Plain:
    """A caller's method without a delta."""

    def __init__(self, model):
        pass

    def attribute(self, inputs, target=None):
        return inputs


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn, with all their text."""
    figures = []
    monkeypatch.setattr(pictures, "_save", lambda figure, path: figures.append(figure))
    return figures


def panels(figure):
    return [axis for axis in figure.axes if axis.images]


def all_text(figure):
    texts = [axis.get_title() for axis in figure.axes] + [axis.get_ylabel() for axis in figure.axes]
    return " ".join(" ".join([*texts, figure.get_suptitle(), figure.get_supxlabel()]).split())


def test_maps_beside_each_other_have_one_scale_and_one_colour_bar(drawn, tmp_path):
    maps = {"a": np.linspace(-1, 1, 100).reshape(10, 10), "b": np.linspace(0, 0.1, 100).reshape(10, 10)}
    draw_maps(PHOTOGRAPH, maps, Caption("title", "unit"), tmp_path / "a.png")
    (figure,) = drawn
    _, first, second = panels(figure)
    assert first.images[0].get_clim() == second.images[0].get_clim() == symmetric_limits(*maps.values())
    bars = [axis for axis in figure.axes if axis.get_label() == "<colorbar>"]
    assert [bar.get_ylabel() for bar in bars] == ["unit"]


def test_the_caption_says_what_colours_mean_and_how_many_pixels_are_beyond_them(drawn, tmp_path):
    values = np.r_[-1, np.arange(1.0, 1000)].reshape(10, 100)
    draw_maps(np.zeros((10, 100, 1)), {"": values}, Caption("cat", "unit", ("Layer 3",)), tmp_path / "a.png")
    text = all_text(drawn[0])
    assert "Layer 3. Orange: for the target, blue: against it; the darker, the more." in text
    assert "Pixels beyond the scale, drawn as its end (and their share of the mass): 0.5 % (1 %)" in text
    assert "cat" in text


@pytest.mark.parametrize(
    ("method", "unit"),
    [
        ("ig", "attribution of a pixel, in units of the score"),
        ("saliency", "change of the score with the pixel"),
        ("input-x-gradient", "input times gradient, in units of the score"),
        ("gradcam", "mass of the CAM in a pixel, not normalised"),
        ("mwp", "winning probability"),
        ("c-mwp", "winning probability less that of the dual class"),
    ],
)
def test_the_colour_bar_has_the_unit_of_the_method(method, unit, drawn, here):
    steps = ["--n-steps", "4"] if method == "ig" else []
    output = succeed("explain", "cat.png", *TINY, "--method", method, *steps)
    assert unit in all_text(drawn[0])
    assert ("of layer 1" in output) == ("Layer 1." in all_text(drawn[0])) == (method == "gradcam")


def test_every_command_says_the_layer_of_a_cam(drawn, here):
    assert "GradCAM of layer 1: class " in succeed("upsample", "cat.png", *TINY, "--upsampler", "bilinear")
    assert "Layer 1. " in all_text(drawn[0])
    cam = ["--method", "gradcam", "--upsampler", "bilinear"]
    assert "gradcam of layer 1\n" in succeed("run", "photos", *TINY, *cam, "--out", "out")
    assert "gradcam of layer 1\n" in succeed("evaluate", "photos", *TINY, *cam, "--metric", "deletion")
    assert "gradcam of layer 0\n" in succeed("run", "photos", *TINY, *cam, "--layer", "0", "--out", "other")
    assert "mwp of layer 1: class " in succeed("explain", "cat.png", *TINY, "--method", "mwp", "--layer", "1")
    assert "mwp of layer 1\n" in succeed("run", "photos", *TINY, "--method", "mwp", "--layer", "1", "--out", "third")


def test_maps_of_a_class_without_a_delta_have_no_unit_of_the_score(drawn, here):
    succeed("explain", "cat.png", *TINY, "--method", "tests.integrations.cli.test_pictures:Plain")
    assert "attribution of a pixel" in all_text(drawn[0])
    assert "in units of the score" not in all_text(drawn[0])
