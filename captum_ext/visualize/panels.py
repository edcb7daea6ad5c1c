"""Maps that are ready to be drawn: of one size, smoothed, with the range that they share and what has to be said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.checks import describe
from captum_ext.core.optional import require
from captum_ext.core.text import shown
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, NonFiniteError
from captum_ext.visualize.arrays import (
    Limits,
    brightness,
    check_limits,
    check_scale,
    colorize,
    in_cells,
    limits_of,
    outline,
    share_outside,
)
from captum_ext.visualize.inputs import Array, as_numbers, named_maps
from captum_ext.visualize.looks import EXTRA, Look, listed, percent
from captum_ext.visualize.palettes import Palette, palette_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SMALL = 0.1  # of the limit: an area below it is not hatched as one of negative numbers
_DARK = 0.5  # of the limit, from which lines over it are white
_FINEST = 40  # areas narrower than this part of a map's side are not hatched


@dataclass(frozen=True)
class Maps:
    """Maps as they are drawn.

    Attributes:
        values: name -> (N, H, W).
        sentences: what was done with them.
    """

    values: dict[str, Array]
    sentences: list[str]


def prepared_maps(maps: Any, look: Look, size: tuple[int, int] | None) -> Maps:
    """Maps by name, of the photographs' size where they are smaller, smoothed, with what the caption says of that.

    Raises:
        ArgumentTypeError, ArgumentError: as `named_maps`; with `overlay`, maps that are larger than photographs.
        NonFiniteError: no number is finite.
    """
    named = named_maps(maps)
    sentences = summed_over({channels for _, channels in named.values()})
    values, cells = {}, {}
    for name, (array, _) in named.items():
        here = array.shape[1:]
        if size is not None and here != size:
            if look.overlay or (here[0] <= size[0] and here[1] <= size[1]):
                array = in_cells(array, size)
                cells[name] = f"{here[0]} x {here[1]}"
            else:
                sizes = f"{here[0]} x {here[1]} pixels, its photograph {size[0]} x {size[1]}"
                sentences.append(f"{shown(name or 'The map', 40)} has {sizes}")
        values[name] = array
    if cells:
        sentences.append(f"Not interpolated, each number drawn as the area of its cell: {listed(cells)}")
    ready = prepared(values, look)
    return Maps(ready.values, sentences + ready.sentences)


def summed_over(channels: set[int]) -> list[str]:
    """What is said of maps that were summed over channels."""
    several = sorted(channels - {1})
    return [f"Pixels are sums over {' or '.join(map(str, several))} channels"] if several else []


def prepared(values: dict[str, Array], look: Look) -> Maps:
    """Maps (N, H, W) as a look has them."""
    sentences = []
    if look.outlined is not None:
        sentences.append(f"Outlined: the {percent(look.outlined)} of each map's pixels with the largest numbers")
    if look.smoothing:
        sentences.append(f"Smoothed for display by a Gaussian of {look.smoothing:g} pixels")
        values = {name: smoothed(one, look.smoothing) for name, one in values.items()}
    return Maps(values, sentences + _odd(values))


def smoothed(values: Array, sigma: float) -> Array:
    """Maps (N, ..., H, W) blurred in their last two dimensions; mass does not leave through the borders."""
    if not sigma:
        return values
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(values, (*(0,) * (values.ndim - 2), sigma, sigma), mode="reflect"))


def _odd(values: dict[str, Array]) -> list[str]:
    """What has to be said of maps that are not finite, or zero everywhere."""
    sentences = []
    missing = {name: f"{count:,}" for name, one in values.items() if (count := int((~np.isfinite(one)).sum()))}
    if missing:
        sentences.append(f"Hatched crosswise, NaN or infinite: {listed(missing)} pixels")
    zero = [shown(name, 40) or "the map" for name, one in values.items() if not one.any()]
    if zero:
        sentences.append(f"Zero everywhere: {', '.join(zero)}")
    return sentences


@dataclass(frozen=True)
class Range:
    """The range and the colours of maps that share them."""

    limits: Limits
    palette: Palette

    @property
    def color_map(self) -> Any:
        """The palette as one of matplotlib's, in which what is not finite is transparent."""
        colors = require("matplotlib.colors", EXTRA)
        return colors.ListedColormap(self.palette.table, name=self.palette.name).with_extremes(bad=(0, 0, 0, 0))

    @property
    def mappable(self) -> Any:
        """What a colour bar is made of."""
        matplotlib = require("matplotlib", EXTRA)
        norm = require("matplotlib.colors", EXTRA).Normalize(*self.limits)
        return matplotlib.cm.ScalarMappable(norm, self.color_map)


def range_of(values: list[Array], look: Look, limits: Any = None, signed: bool = False) -> Range:
    """One range for all these maps; `limits`: as given, a number standing for both signs where they are needed.

    Raises:
        ArgumentTypeError, ArgumentError, ArgumentsConflictError: as `colorize`.
    """
    if limits is None:
        try:
            low, high = limits_of(*values, quantile=look.quantile)
        except NonFiniteError:
            low, high = 0.0, 1.0  # nothing is drawn but hatching, and the caption says so
        if signed or palette_of(look.palette, low < 0).signed:
            low = -high if look.palette is None or palette_of(look.palette, True).signed else low
        chosen = (low, high)
    else:
        chosen = check_limits(limits)
    return Range(chosen, check_scale(palette_of(look.palette, chosen[0] < 0), chosen))


def beyond(values: Mapping[str, Iterable[Array]], ranges: dict[str, list[Range]], what: str = "pixel") -> str:
    """What is outside of the shown ranges, of each method over all its maps."""
    parts = {}
    for name, maps in values.items():
        shares = [share_outside(one, own.limits) for one, own in zip(maps, ranges[name], strict=True)]
        pixels, mass = (float(np.mean([share[place] for share in shares])) for place in (0, 1))
        if pixels:
            parts[name] = f"{percent(pixels)} ({percent(mass)})"
    if not parts:
        return f"No {what} is beyond the scale"
    return f"{what.capitalize()}s beyond the scale, drawn as its end (and their share of the mass): {listed(parts)}"


def draw_map(axis: Axes, values: Array, own: Range, look: Look, photograph: Array | None) -> bool:
    """One map (H, W) in a panel, alone or over its photograph (H, W, 3); True where areas were hatched."""
    frame(axis)
    finite = np.isfinite(values)
    if not finite.all():
        _cross_out(axis, values.shape)
    extent = None if photograph is None else (-0.5, photograph.shape[1] - 0.5, photograph.shape[0] - 0.5, -0.5)
    if look.overlay and photograph is not None:
        colours = colorize(values, own.limits, own.palette, nonfinite=(255, 255, 255)) / 255
        colours *= brightness(photograph)[..., None]
        axis.imshow(np.dstack([colours, finite]), interpolation="nearest")
    else:
        axis.imshow(
            np.where(finite, values, np.nan),
            cmap=own.color_map,
            vmin=own.limits[0],
            vmax=own.limits[1],
            interpolation="nearest" if min(values.shape) < 64 else None,
            extent=extent,
        )
    if look.outlined is not None and finite.all():
        line = outline(values, look.outlined, max(1, min(values.shape) // 100))[0]
        draw_line(axis, line, np.abs(values) > _DARK * own.limits[1])
    return own.palette.name == "signed" and _hatched(axis, np.where(finite, values, 0) / own.limits[1])


def frame(axis: Axes) -> None:
    """A thin frame and no ticks: a panel whose border is white has one."""
    axis.set_axis_on()
    axis.set(xticks=[], yticks=[])
    for side in axis.spines.values():
        side.set(linewidth=0.4, color="0.6")


def _cross_out(axis: Axes, shape: tuple[int, ...]) -> None:
    patches = require("matplotlib.patches", EXTRA)
    height, width = shape
    place = {"xy": (-0.5, -0.5), "width": width, "height": height}
    axis.add_patch(
        patches.Rectangle(**place, facecolor="0.85", edgecolor="black", hatch="xxxx", linewidth=0, zorder=-1)
    )


def _hatched(axis: Axes, values: Array) -> bool:
    """Lines over areas of negative numbers, in shares of the limit, so that grey print shows the sign.

    Of single pixels it cannot. The lines are white where the colour is dark, and dark where it is light.
    """
    from scipy.ndimage import binary_opening

    negative = values < -_SMALL
    radius = min(negative.shape) // _FINEST
    areas = binary_opening(negative, np.ones((2 * radius + 1,) * 2)) if radius else negative
    height, width = areas.shape
    extent = (-1.5, width + 0.5, -1.5, height + 0.5)
    for part, color in ((areas & (values < -_DARK), "white"), (areas & (values >= -_DARK), "#0d3f87")):
        if part.any():
            padded = np.pad(part, 1).astype(float)
            drawn = axis.contourf(padded, levels=[0.5, 1.5], colors="none", hatches=["////"], extent=extent)
            drawn.set(edgecolor=color, linewidth=0)
    axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    return bool(areas.any())


def draw_place(axis: Axes, place: Array | None) -> None:
    """A line around a box (4,) or a mask (H, W), black inside of white, so that it shows on everything."""
    if place is None:
        return
    for color, width in (("white", 2.4), ("black", 1.1)):
        if place.ndim == 1:
            x0, y0, x1, y1 = place - 0.5  # a pixel is drawn around its number
            axis.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=color, linewidth=width)
        elif 0 < place.mean() < 1:
            axis.contour(place, [0.5], colors=color, linewidths=width)


def hatch_bar(axis: Axes, own: Range) -> None:
    """The same lines on a colour bar."""
    if own.palette.name == "signed":
        low = own.limits[0]
        for begin, end, color in ((low, _DARK * low, "white"), (_DARK * low, _SMALL * low, "#0d3f87")):
            axis.axhspan(begin, end, facecolor="none", edgecolor=color, hatch="////", linewidth=0)


def draw_line(axis: Axes, line: NDArray[np.bool_], dark: NDArray[np.bool_]) -> None:
    """Pixels (H, W) in black, and in white where what is below is dark."""
    axis.imshow(np.dstack([dark, dark, dark, line]).astype(float), interpolation="nearest")


def check_titles(titles: Any, count: int) -> list[str]:
    """One title for each image.

    Raises:
        ArgumentTypeError, ArgumentError: no texts, or another number of them.
    """
    given = [titles] if isinstance(titles, str) else _listed("titles", () if titles is None else titles)
    if given and len(given) != count:
        raise ArgumentError("titles", f"{count}, one for each", f"{len(given)}")
    return [str(one) for one in given] or [""] * count


def _listed(name: str, values: Any) -> list[Any]:
    try:
        if isinstance(values, Mapping | bytes):
            raise TypeError
        return list(values)
    except Exception as error:  # of what a caller's object does
        raise ArgumentTypeError(name, "a list of one for each", describe(values)) from error


def check_places(places: Any, count: int) -> list[Array | None]:
    """For each image a box (4,), a mask (H, W) of zeros and ones, or None.

    Raises:
        ArgumentTypeError, ArgumentError: another number of them, or something else.
    """
    given = [None] * count if places is None else _listed("places", places)
    if len(given) != count:
        raise ArgumentError("places", f"{count}, one for each", f"{len(given)}")
    read: list[Array | None] = []
    for one in given:
        place = None if one is None else as_numbers("places", one)
        if place is not None and place.shape != (4,) and not (place.ndim == 2 and np.isin(place, (0, 1)).all()):
            raise ArgumentError("places", "boxes (x0, y0, x1, y1) or masks (H, W)", f"shape {place.shape}")
        read.append(place)
    return read
