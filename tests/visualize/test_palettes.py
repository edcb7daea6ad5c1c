"""Colours can be told apart by everybody: in colour, with every kind of colour blindness, and in grey print."""

import numpy as np
import pytest
from skimage.color import rgb2lab

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.visualize import PALETTES, Palette, colorize
from captum_ext.visualize.palettes import palette_of

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE TVCG
# 2009, severity 1.0, for linear red, green and blue.
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": np.eye(3),
}


def linear(table):
    return np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)


def seen(table, blindness):
    light = (linear(table) @ np.array(BLINDNESS[blindness]).T).clip(0, 1)
    return rgb2lab(np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)[None])[0]


def lightness(name):
    """L* of CIELAB, from 0 to 100: how light a colour is in grey print."""
    return rgb2lab(PALETTES[name].table[None])[0, :, 0]


def test_zero_is_white_and_both_ends_are_dark_blue_and_dark_brown():
    table = (PALETTES["signed"].table * 255).round().astype(int).tolist()
    assert (table[0], table[128], table[256]) == ([13, 63, 135], [255, 255, 255], [122, 36, 4])
    assert (PALETTES["magnitude"].table[[0, -1]] * 255).round().astype(int).tolist() == [table[128], table[256]]


def test_grey_print_is_the_darker_the_larger_the_number_is_on_both_sides():
    signed = lightness("signed")
    assert (np.diff(signed[128:]) < 0).all()
    assert (np.diff(signed[:129]) > 0).all()
    assert (np.diff(lightness("magnitude")) < 0).all()
    assert signed[128] - max(signed[0], signed[-1]) > 60  # of 100


def test_equal_sizes_of_both_signs_are_about_equally_dark():
    signed = lightness("signed")
    assert np.abs(signed[:128][::-1] - signed[129:]).max() < 3  # of 100


def test_the_palette_for_print_keeps_the_sign_in_grey():
    printed = lightness("signed-print")
    assert (np.diff(printed) > 0).all()
    assert printed[128] - printed[0] > 40 < printed[256] - printed[128] + 5


@pytest.mark.parametrize("name", ["signed", "signed-print"])
@pytest.mark.parametrize("blindness", BLINDNESS)
def test_both_signs_differ_with_every_kind_of_colour_blindness(name, blindness):
    colours = seen(PALETTES[name].table, blindness)
    half = np.arange(13, 129)  # from a tenth of the limit
    distance = np.linalg.norm(colours[128 + half] - colours[128 - half], axis=1)
    assert distance.min() > 8  # 2.3 can just be noticed
    assert distance[13:].min() > 20


def test_a_palette_of_ones_own_is_drawn():
    own = Palette("own", np.array([[0.0, 0, 0], [1, 1, 1]]), False, "Light: large")
    assert colorize(np.array([0.0, 1.0]), (0, 1), own).tolist() == [[0, 0, 0], [255, 255, 255]]


def test_what_is_no_palette_is_refused():
    with pytest.raises(ArgumentError, match='`palette` to be one of "signed", "magnitude", "signed-print"'):
        palette_of("jet", True)
    with pytest.raises(ArgumentTypeError, match="`palette` to be a name or a Palette"):
        palette_of(3, True)
    with pytest.raises(ArgumentError, match="`table` to be colours .K, 3. in .0, 1., two at least"):
        Palette("one", np.zeros((1, 3)), False, "")
    with pytest.raises(ArgumentError, match="`table` to be colours .* got numbers from 0.0 to 255.0"):
        Palette("bytes", np.array([[0.0, 0, 0], [255, 255, 255]]), False, "")
