"""Colours of numbers: zero is white on every map, and the darker a colour, the larger the number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.plain_checks import check_choice, describe
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

_N_COLOURS = 257  # odd, so that zero has a colour of its own
# Of Ottosson's Oklab (https://bottosson.github.io/posts/oklab), in which equal steps look equally large.
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


@dataclass(frozen=True)
class Palette:
    """Colours from the lowest number shown to the highest.

    Attributes:
        name: of the palette.
        table: (K, 3) red, green and blue in [0, 1]; K is odd where zero is to have a colour of its own.
        signed: the colour in the middle is zero, so that limits have to be symmetric.
        meaning: a sentence for the caption, without a full stop.
    """

    name: str
    table: NDArray[np.float64]
    signed: bool
    meaning: str

    def __post_init__(self) -> None:
        table = self.table
        expected = "colours (K, 3) in [0, 1], two at least"
        if not isinstance(table, np.ndarray) or table.ndim != 2 or table.shape[1] != 3 or len(table) < 2:
            raise ArgumentError("table", expected, describe(table))
        if not (np.isfinite(table).all() and table.min() >= 0 and table.max() <= 1):
            raise ArgumentError("table", expected, f"numbers from {table.min()} to {table.max()}")


def _between(*anchors: str) -> NDArray[np.float64]:
    """Colours from anchor to anchor, in equal steps of Oklab."""
    given = np.array([[int(anchor[place : place + 2], 16) / 255 for place in (1, 3, 5)] for anchor in anchors])
    linear = np.where(given <= 0.04045, given / 12.92, ((given + 0.055) / 1.055) ** 2.4)
    oklab = np.cbrt(linear @ _TO_CONES.T) @ _TO_OKLAB.T
    places, steps = np.linspace(0, 1, len(anchors)), np.linspace(0, 1, _N_COLOURS)
    mixed = np.stack([np.interp(steps, places, column) for column in oklab.T], 1)
    linear = ((mixed @ np.linalg.inv(_TO_OKLAB).T) ** 3 @ np.linalg.inv(_TO_CONES).T).clip(0, 1)
    table: NDArray[np.float64] = np.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055
    ).clip(0, 1)
    table.flags.writeable = False
    return table


#: Blue and orange differ for every kind of colour blindness; equal sizes of both signs are about equally dark.
PALETTES = {
    "signed": Palette(
        "signed",
        _between("#0d3f87", "#66a9de", "#ffffff", "#f0923f", "#7a2404"),
        True,
        "Orange: for the target, blue: against it; the darker, the more",
    ),
    "magnitude": Palette("magnitude", _between("#ffffff", "#f0923f", "#7a2404"), False, "The darker, the larger"),
    "signed-print": Palette(
        "signed-print",
        _between("#06163f", "#2458b0", "#8c8c8c", "#e0a93a", "#fff3b0"),
        True,
        "Light: for the target, dark: against it; grey: zero",
    ),
}


def palette_of(given: Any, signed: bool) -> Palette:
    """The palette that is asked for; None: "signed" where numbers have two signs, else "magnitude".

    Raises:
        ArgumentError: an unknown name.
        ArgumentTypeError: neither a name nor a palette.
    """
    if given is None:
        return PALETTES["signed" if signed else "magnitude"]
    if isinstance(given, Palette):
        return given
    if not isinstance(given, str):
        raise ArgumentTypeError("palette", "a name or a Palette", describe(given))
    return PALETTES[check_choice("palette", given, PALETTES)]
