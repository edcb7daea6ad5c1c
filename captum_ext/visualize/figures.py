"""Figures of maps: methods beside each other on one scale, and two maps with their difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from captum_ext.core.checks import check_choice, check_positive_int
from captum_ext.exceptions import ArgumentError, ArgumentsConflictError
from captum_ext.visualize.arrays import Limits
from captum_ext.visualize.inputs import Array, named_maps, photographs
from captum_ext.visualize.looks import Caption, Look, name_of, new_figure, wrapped, write_around
from captum_ext.visualize.panels import (
    Maps,
    Range,
    beyond,
    check_titles,
    draw_map,
    frame,
    hatch_bar,
    prepared_maps,
    range_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALES = ("all", "image", "map")
_PANEL = 2.6  # inches
_MOST_PANELS = 400
_TITLE = 9  # points


def show_maps(
    maps: Any,
    images: Any = None,
    *,
    model: Any = None,
    titles: str | Sequence[str] | None = None,
    caption: Caption = Caption(),
    look: Look = Look(),
    scale: str = "all",
    limits: Limits | None = None,
    columns: int = 8,
) -> Figure:
    """Maps of methods beside their photographs: a row for each image, a column for each method, and one scale.

    The caption says what colours mean, what is beyond the scale (how many pixels, and how much of a map's mass they
    hold), and whatever was done with maps: sums over channels, cells, smoothing, pixels that are not finite. Maps with
    numbers below zero diverge around white; areas of such numbers are hatched, so that grey print shows them.

    Args:
        maps: method -> maps, or the maps of one method: (H, W), (N, H, W) as pytorch-grad-cam returns them, or
            (N, C, H, W) as Captum does, whose channels are summed. Tensors on any device, or arrays. Of fewer numbers
            than pixels, each is drawn as the area that it stands for.
        images: their photographs, see `overlay`; None: maps alone.
        model: an `AdaptedModel`, or what else has `display`, which undoes the normalisation of `images`.
        titles: of the images, one for each.
        caption: title, unit and notes.
        look: colours, limits by quantile, overlay, outline, smoothing.
        scale: what has one range and one colour bar: "all" maps, the maps of an "image", or each "map" (for methods
            whose numbers have different units, which do not compare).
        limits: the range, with `scale="all"`; None: `symmetric_limits` of all maps where one has a number below zero,
            else from zero.
        columns: panels in a row; more go into the next.

    Returns:
        A matplotlib Figure that pyplot does not know: it is shown where it is the last line of a notebook's cell, and
        `save_figure` writes it.

    For users of Captum's `visualize_image_attr`: "heat_map" is `show_maps(maps)`, "blended_heat_map" is
    `look=Look(overlay=True)`; pass the tensor as it is, not transposed; `sign="absolute_value"` is `maps.abs()`, which
    here sums sizes over channels, not the size of the sum; `outlier_perc` is a share of the mass there, `quantile` one
    of the pixels here. Its maps are normalised one by one.

    Raises:
        ArgumentTypeError, ArgumentError: no maps, shapes or numbers of images that do not fit, images that cannot be
            seen, other titles, another scale.
        ArgumentsConflictError: `limits` with several scales, or not symmetric with a signed palette.
        NonFiniteError: NaN or infinity in the photographs.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> import torch
        >>> from captum_ext.visualize import Caption, show_maps
        >>> maps = {"IG": torch.randn(2, 3, 8, 8), "GradCAM": torch.rand(2, 2, 2)}
        >>> unit = "attribution of a pixel, in units of the logit"
        >>> figure = show_maps(maps, torch.rand(2, 3, 8, 8), titles=["cat", "dog"], caption=Caption(unit=unit))
        >>> len(figure.axes)  # two photographs, four maps, one colour bar
        7
    """
    check_choice("scale", scale, SCALES)
    check_positive_int("columns", columns)
    if limits is not None and scale != "all":
        raise ArgumentsConflictError(("limits", "scale"), f'one range is that of scale="all", not of "{scale}"')
    pixels, sentence = (None, "") if images is None else photographs(images, model)
    ready = prepared_maps(maps, look, None if pixels is None else (pixels.shape[1], pixels.shape[2]))
    count = len(next(iter(ready.values.values())))
    if pixels is not None and len(pixels) != count:
        hint = "; maps (C, H, W) of one image are given as (1, C, H, W)" if len(pixels) == 1 else ""
        raise ArgumentError("maps", f"of {len(pixels)} images", f"{count} maps of each method{hint}")
    if look.overlay and pixels is None:
        raise ArgumentsConflictError(("look", "images"), "an overlay needs photographs")
    ranges = _ranges(ready.values, look, scale, limits)
    return _Sheet(ready, pixels, ranges, columns).draw(check_titles(titles, count), caption, look, scale, sentence)


def _ranges(values: dict[str, Array], look: Look, scale: str, limits: Limits | None) -> dict[str, list[Range]]:
    """The range of each method's maps, one for each image."""
    count = len(next(iter(values.values())))
    if scale == "all":
        one = range_of(list(values.values()), look, limits)
        return {name: [one] * count for name in values}
    if scale == "image":
        signed = any((maps[np.isfinite(maps)] < 0).any() for maps in values.values())
        rows = [range_of([maps[row] for maps in values.values()], look, signed=signed) for row in range(count)]
        return dict.fromkeys(values, rows)
    return {name: [range_of([one], look) for one in maps] for name, maps in values.items()}


class _Sheet:
    """Panels in rows: of each image its photograph and its maps."""

    def __init__(self, maps: Maps, pixels: Array | None, ranges: dict[str, list[Range]], columns: int) -> None:
        self.maps, self.pixels, self.ranges = maps, pixels, ranges
        self.hatched = False  # set where something was
        self.count = len(next(iter(maps.values.values())))
        self.n_panels = len(maps.values) + (pixels is not None)
        self.columns = min(columns, self.n_panels)
        self.lines = -(-self.n_panels // self.columns)  # of an image
        if self.lines * self.columns * self.count > _MOST_PANELS:
            raise ArgumentError("maps", f"of at most {_MOST_PANELS} panels", f"{self.n_panels * self.count}")

    def draw(self, titles: list[str], caption: Caption, look: Look, scale: str, sentence: str) -> Figure:
        first = self.pixels if self.pixels is not None else next(iter(self.maps.values.values()))
        tall = min(max(first.shape[1] / first.shape[2], 0.3), 3)
        figure = new_figure(
            _PANEL * self.columns + 1,
            (_PANEL * tall + 0.3) * self.lines * self.count + 0.5 + 0.3 * bool(caption.title),
        )
        grid = figure.subplots(self.lines * self.count, self.columns, squeeze=False)
        with_maps = []
        for row in range(self.count):
            cells = list(grid[row * self.lines : (row + 1) * self.lines].flat)
            with_maps.append(self._draw_image(cells, row, titles[row], look))
            for axis in cells[self.n_panels :]:
                axis.set_axis_off()
        palettes = {own.palette.name: own.palette for rows in self.ranges.values() for own in rows}
        self._draw_bars(figure, with_maps, caption.unit, scale)
        said = [sentence] if sentence else []
        said += [*self.maps.sentences, *_about_scale(scale, self.count, len(self.maps.values))]
        if "signed" in palettes:
            palettes.pop("magnitude", None)  # whose colours are half of the other's
        said += [palette.meaning for palette in palettes.values()]
        if self.hatched:
            said.append("Hatched: areas against it")
        return write_around(figure, caption, [*said, beyond(self.maps.values, self.ranges)])

    def _draw_image(self, cells: list[Any], row: int, title: str, look: Look) -> list[Any]:
        """The panels of one image; those of its maps are returned."""
        axes = cells
        photograph = None
        if self.pixels is not None:
            photograph, axes = self.pixels[row], cells[1:]
            cells[0].imshow(photograph)
            cells[0].set_title(name_of(title), fontsize=_TITLE)
            frame(cells[0])
        for axis, (name, values) in zip(axes, self.maps.values.items(), strict=False):
            self.hatched |= draw_map(axis, values[row], self.ranges[name][row], look, photograph)
            label = name if self.pixels is not None or not title else f"{title}: {name}" if name else title
            axis.set_title(name_of(label), fontsize=_TITLE)
        return list(axes[: len(self.maps.values)])

    def _draw_bars(self, figure: Figure, axes: list[list[Any]], unit: str, scale: str) -> None:
        """A colour bar for all maps, for each image's, or for each."""
        values = self.maps.values
        first = next(iter(self.ranges.values()))
        if scale == "all":
            draw_bar(
                figure, [axis for row in axes for axis in row], first[0], list(values.values()), unit, self.hatched
            )
        elif scale == "image":
            for row, panels in enumerate(axes):
                draw_bar(figure, panels, first[row], [maps[row] for maps in values.values()], unit, self.hatched)
        else:
            for row, panels in enumerate(axes):
                for axis, (name, maps) in zip(panels, values.items(), strict=True):
                    draw_bar(figure, [axis], self.ranges[name][row], [maps[row]], "")


def _about_scale(scale: str, count: int, methods: int) -> list[str]:
    if scale == "map" and count * methods > 1:
        return ["Each map has its own scale and unit: colours do not compare"]
    return ["Each image has its own scale"] if scale == "image" and count > 1 else []


def draw_bar(
    figure: Figure, axes: list[Any], own: Range, values: list[Array], unit: str, hatched: bool = False
) -> None:
    """A colour bar beside panels, with an arrow where numbers are beyond its end."""
    with np.errstate(invalid="ignore"):
        low = any((one < own.limits[0]).any() for one in values)
        high = any((one > own.limits[1]).any() for one in values)
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((low, high), "neither")
    place: dict[str, Any] = {"shrink": 0.85, "pad": 0.02} if len(axes) > 1 else {"fraction": 0.05, "pad": 0.03}
    bar = figure.colorbar(own.mappable, ax=axes, extend=extend, **place)
    bar.ax.tick_params(labelsize=7 if len(axes) > 1 else 6)
    if unit:
        bar.set_label(wrapped(unit, 60), fontsize=8)
    bar.outline.set_linewidth(0.5)
    if hatched:
        hatch_bar(bar.ax, own)


def show_comparison(
    first: Any,
    second: Any,
    images: Any = None,
    *,
    names: tuple[str, str] = ("first", "second"),
    model: Any = None,
    titles: str | Sequence[str] | None = None,
    caption: Caption = Caption(),
    look: Look = Look(),
) -> Figure:
    """Two maps and the second less the first, all on one scale; the caption says how alike they are.

    Args:
        first: maps as in `show_maps`, of one method.
        second: maps of the same size.
        images: as in `show_maps`.
        names: of both.
        model: as in `show_maps`.
        titles: as in `show_maps`.
        caption: as in `show_maps`.
        look: as in `show_maps`.

    Raises:
        ArgumentTypeError, ArgumentError, ArgumentsConflictError, NonFiniteError, MissingExtraError: as `show_maps`;
            maps of different sizes, equal names.

    Example:
        >>> import numpy as np
        >>> from captum_ext.visualize import show_comparison
        >>> figure = show_comparison(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]]))
        >>> "correlation -1, largest difference 2" in " ".join(figure.get_supxlabel().split())
        True
    """
    names = _two_names(names)
    (one, channels), (other, _) = (named_maps(value)[""] for value in (first, second))
    if one.shape != other.shape:
        raise ArgumentError("second", f"of the shape of first, {one.shape}", f"{other.shape}")
    with np.errstate(invalid="ignore"):
        difference = other - one
    said = [_alike(one, other)]
    if channels > 1:
        said.insert(0, f"Pixels are sums over {channels} channels")
    maps = {names[0]: one, names[1]: other, f"{names[1]} less {names[0]}": difference}
    caption = Caption(caption.title, caption.unit, (*caption.notes, *said))
    return show_maps(maps, images, model=model, titles=titles, caption=caption, look=look)


def _two_names(names: Any) -> tuple[str, str]:
    if not isinstance(names, tuple | list) or len(names) != 2 or str(names[0]) == str(names[1]) or "" in names:
        raise ArgumentError("names", "two names that differ", repr(names))
    return str(names[0]), str(names[1])


def _alike(first: Array, second: Array) -> str:
    """Correlation and largest difference of the numbers that both have."""
    both = np.isfinite(first) & np.isfinite(second)
    one, other = first[both], second[both]
    if not len(one):
        return "No pixel is finite in both"
    largest = f"largest difference {np.abs(other - one).max():.3g}"
    if one.std() == 0 or other.std() == 0:
        return f"One of both is constant, {largest}"
    return f"Pixels have the correlation {np.corrcoef(one, other)[0, 1]:.3g}, {largest}"
