"""The figures and the pure functions of `captum_ext.visualize`, with their arguments."""

import math

import numpy as np
import torch

from captum_ext.attr import PathScores
from captum_ext.visualize import (
    Effect,
    ForestLine,
    Look,
    colorize,
    outline,
    overlay,
    share_outside,
    show_cam_on_image,
    show_comparison,
    show_curves,
    show_errors,
    show_forest,
    show_maps,
    show_path,
    show_ranks,
    show_scores,
    show_segments,
    show_slices,
    show_tokens,
    symmetric_limits,
)
from tests.core.entries import SEGMENTS, numbers
from tests.fuzz.arguments import ALIKE, Choice, Dense, Entry, Flag, Integer, Number, Same, Verdict
from tests.fuzz.forms import Anything, Refused


class Seen(Dense):
    """Numbers of any kind, from whatever holds them; what cannot be shown is refused by name."""

    def judge(self, name, value, usual):
        return Same(usual if self.like is None else self.like) if name in ALIKE else Verdict.EITHER


PHOTOGRAPHS = numbers(2, 3, 4, 4).abs() / numbers(2, 3, 4, 4).abs().max()
MAPS, VOLUME = numbers(2, 3, 4, 4).flip(3), numbers(1, 1, 4, 3, 3)
LABELS = SEGMENTS.repeat(2, 1, 1).float()
WITH_NAN = torch.where(MAPS > 0, MAPS, torch.nan)
SHARE = Number(lambda value: 0 < value <= 1)
PALETTE = Choice(None, "signed", "magnitude", "signed-print")
LIMITS = {"limits": Anything()}
WORDS = {"caption": Refused()}
AROUND = {**WORDS, "look": Refused(), "model": Refused("None"), "titles": Anything()}
MAPS_OF_ONE, SCORES = {"IG": torch.tensor([1.0, -2.0])}, {"deletion": {"IG": [1.0, 2.0], "LPI": [2.0, 2.5]}}
PATHS = {"insertion": PathScores(torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[0.0, 1.0, 3.0]]))}


def seen(figure):
    """That a figure can be drawn, how many panels it has, and the images in them."""
    figure.set_dpi(20)
    figure.draw_without_rendering()
    images = [np.asarray(image.get_array(), dtype=float) for axis in figure.axes for image in axis.images]
    return [len(figure.axes), *images]


def figure_of(function, usual, kinds, aliases=None):
    return Entry(lambda **given: seen(function(**given)), usual, kinds, aliases or {}, nan_is_right=True)


PICTURES = {
    "symmetric_limits": Entry(
        lambda maps, quantile: symmetric_limits(maps, quantile=quantile),
        {"maps": MAPS, "quantile": 0.99},
        {"maps": Seen(), "quantile": SHARE},
    ),
    "share_outside": Entry(share_outside, {"values": MAPS, "limits": (-1.0, 1.0)}, {"values": Seen(), **LIMITS}),
    "colorize": Entry(
        colorize,
        {"values": WITH_NAN, "limits": (-1.0, 1.0), "palette": None, "nonfinite": (1, 2, 3)},
        {"values": Seen(), **LIMITS, "palette": PALETTE, "nonfinite": Refused()},
        {"limits": ("palette",), "palette": ("limits",)},
    ),
    "overlay": Entry(
        overlay,
        {"images": PHOTOGRAPHS, "maps": MAPS, "limits": None, "palette": None},
        {"images": Seen(), "maps": Seen(), **LIMITS, "palette": PALETTE, "model": Refused("None")},
        {"images": ("maps",), "limits": ("palette",), "palette": ("limits",), "maps": ("values",)},
    ),
    "outline": Entry(
        outline,
        {"maps": MAPS, "share": 0.25, "width": 1},
        {"maps": Seen(), "share": SHARE, "width": Integer(1, 10**500)},
    ),
    "show_cam_on_image": Entry(
        show_cam_on_image,
        {"img": PHOTOGRAPHS[0].movedim(0, -1).contiguous(), "mask": PHOTOGRAPHS[0, 0], "use_rgb": True},
        {
            "img": Seen(),
            "mask": Seen(),
            "use_rgb": Flag(),
            "colormap": Anything(),
            "image_weight": Number(lambda value: 0 <= value <= 1),
        },
        {"img": ("mask",), "mask": ("values",)},
    ),
    "show_maps": figure_of(
        show_maps,
        {"maps": MAPS, "images": PHOTOGRAPHS},
        {
            "maps": Seen(),
            "images": Seen(),
            **AROUND,
            **LIMITS,
            "scale": Choice("all", "image", "map"),
            "columns": Integer(1, 10**500),
            "places": Anything(),
        },
        {"images": ("maps",), "limits": ("palette",)},
    ),
    "show_comparison": figure_of(
        show_comparison,
        {"first": MAPS, "second": MAPS.flip(2), "images": PHOTOGRAPHS},
        {"first": Seen(), "second": Seen(), "images": Seen(), "names": Anything(), **AROUND},
        {"first": ("maps", "second"), "second": ("maps",), "images": ("maps",)},
    ),
    "show_errors": figure_of(
        show_errors,
        {"maps": MAPS, "errors": MAPS[:, :1].abs(), "images": PHOTOGRAPHS},
        {"maps": Seen(), "errors": Seen(), "images": Seen(), **AROUND},
        {"maps": ("errors",), "images": ("maps",)},
    ),
    "show_forest": figure_of(
        show_forest,
        {"blocks": {"": [ForestLine("IG", {"digits": Effect(0.5, 0.25, 1.0), "cats": Effect(-math.inf)})]}},
        {"blocks": Refused(), "limit": Number(lambda value: 1e-100 <= value <= 1e100, none=True), **WORDS},
    ),
    "show_curves": figure_of(
        show_curves,
        {"curves": {"IG": (torch.linspace(0, 1, 3), MAPS[0, 0, :, :3])}},
        {"curves": Refused(), "x_label": Anything(), "logarithmic": Flag(), **WORDS},
    ),
    "show_path": figure_of(show_path, {"paths": PATHS}, {"paths": Refused(), "titles": Anything(), **WORDS}),
    "show_ranks": figure_of(
        show_ranks,
        {"scores": SCORES["deletion"], "together": ["IG", "LPI"]},
        {"scores": Refused(), "together": Anything(), "higher_is_better": Flag(), **WORDS},
    ),
    "show_scores": figure_of(
        show_scores,
        {"scores": SCORES},
        {
            "scores": Refused(),
            "intervals": Refused("None"),
            "higher_is_better": Refused("None", "a mapping", "an empty mapping"),
            "columns": Integer(1, 10**500),
            **WORDS,
        },
    ),
    "show_segments": figure_of(
        show_segments,
        {"labels": LABELS, "images": PHOTOGRAPHS, "scores": MAPS[:, 0]},
        {"labels": Seen(), "images": Seen(), "scores": Seen(), **AROUND},
        {"images": ("labels",), "labels": ("scores",), "scores": ("labels",)},
    ),
    "show_slices": figure_of(
        show_slices,
        {"maps": VOLUME, "volume": VOLUME.abs() / VOLUME.abs().max(), "slices": 2, "axis": 0},
        {
            "maps": Seen(),
            "volume": Seen(),
            **{name: kind for name, kind in AROUND.items() if name != "titles"},
            **LIMITS,
            "scale": Choice("all", "method"),
            "slices": Anything(),
            "axis": Anything(),
        },
        {"volume": ("maps", "images"), "limits": ("palette",)},
    ),
    "show_tokens": figure_of(
        show_tokens,
        {"tokens": ["good", "film"], "maps": MAPS_OF_ONE},
        {
            "tokens": Refused("a list of text"),  # numbers beyond a text's tokens are those of padding
            "maps": Seen(like=MAPS_OF_ONE["IG"]),
            **{name: kind for name, kind in AROUND.items() if name != "model"},
            "scale": Choice("all", "text"),
        },
        {"tokens": ("maps",)},
    ),
    "Look": Entry(
        lambda **given: [float(getattr(Look(**given), name)) for name in ("quantile", "smoothing")],
        {"palette": None, "quantile": 0.9, "overlay": False, "outlined": None, "smoothing": 0.0},
        {
            "palette": PALETTE,
            "quantile": SHARE,
            "overlay": Flag(),
            "outlined": Number(lambda value: 0 < value <= 1, none=True),
            "smoothing": Number(lambda value: 0 <= value <= 1000),
        },
    ),
    "Effect": Entry(
        lambda **given: [1.0 for _ in vars(Effect(**given))],
        {"difference": 0.5, "low": 0.0, "high": 1.0},
        {
            **dict.fromkeys(("difference", "low", "high"), Number(lambda _: True)),
            "mark": Refused(),
            "name": Anything(),
        },
    ),
}
