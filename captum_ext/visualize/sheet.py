"""Panels in rows and columns: of each image its photograph and its maps, with colour bars and a caption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from captum_ext.exceptions import ArgumentError
from captum_ext.visualize.inputs import Array
from captum_ext.visualize.looks import Caption, Look, name_of, new_figure, wrapped, write_around
from captum_ext.visualize.panels import Range, beyond, draw_map, draw_place, frame, hatch_bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANEL = 2.6  # inches
_MOST_PANELS = 400
_TITLE = 9  # points


class Sheet:
    """Maps (N, H, W) by name, beside or over photographs (N, H, W, 3), each with its range.

    A line of panels holds an image's photograph and maps, and goes on in the next where there are more than `columns`.
    With `sideways` a column does, and the images stand beside each other.

    Raises:
        ArgumentError: too many panels.
    """

    def __init__(
        self,
        values: dict[str, Array],
        pixels: Array | None,
        ranges: dict[str, list[Range]],
        columns: int,
        sideways: bool = False,
    ) -> None:
        self.values, self.pixels, self.ranges, self.sideways = values, pixels, ranges, sideways
        self.hatched: set[Any] = set()  # panels in which areas are
        self.places: list[Any] = [None] * len(next(iter(values.values())))
        self.count = len(next(iter(values.values())))
        self.n_panels = len(values) + (pixels is not None)
        if self.n_panels * self.count > _MOST_PANELS:
            raise ArgumentError("maps", f"of at most {_MOST_PANELS} panels", f"{self.n_panels * self.count}")
        across, down = (self.count, self.n_panels) if sideways else (self.n_panels, self.count)
        self.columns = min(columns, across)
        self.lines = -(-across // self.columns)  # for what has more panels than columns
        self.rows = self.lines * down

    def draw(self, titles: list[str], caption: Caption, look: Look, said: list[str]) -> Figure:
        """The figure; `said`: sentences for its caption, before those on colours."""
        first = self.pixels if self.pixels is not None else next(iter(self.values.values()))
        tall = min(max(first.shape[1] / first.shape[2], 0.3), 3)
        height = (_PANEL * tall + 0.3) * self.rows + 0.5 + 0.3 * bool(caption.title)
        figure = new_figure(_PANEL * self.columns + 1, height)
        grid = figure.subplots(self.rows, self.columns, squeeze=False)
        for axis in grid.flat:
            axis.set_axis_off()
        axes = [self._draw_image(self._cells(grid, row), row, titles[row], look) for row in range(self.count)]
        self._draw_bars(figure, axes, caption.unit)
        palettes = {own.palette.name: own.palette for rows in self.ranges.values() for own in rows}
        if "signed" in palettes:
            palettes.pop("magnitude", None)  # whose colours are half of the other's
        said = [*said, *(palette.meaning for palette in palettes.values())]
        if self.hatched:
            said.append("Hatched: areas against it")
        return write_around(figure, caption, [*said, beyond(self.values, self.ranges)])

    def _cells(self, grid: Any, row: int) -> list[Any]:
        """The panels of an image, in their order."""
        if not self.sideways:
            return list(grid[row * self.lines : (row + 1) * self.lines].flat)
        first = row // self.columns * self.n_panels
        return list(grid[first : first + self.n_panels, row % self.columns])

    def _draw_image(self, cells: list[Any], row: int, title: str, look: Look) -> list[Any]:
        """The panels of one image; those of its maps are returned."""
        axes = cells
        photograph = None
        if self.pixels is not None:
            photograph, axes = self.pixels[row], cells[1:]
            cells[0].imshow(photograph)
            cells[0].set_title(name_of(title), fontsize=_TITLE)
            frame(cells[0])
        for axis, (name, values) in zip(axes, self.values.items(), strict=False):
            if draw_map(axis, values[row], self.ranges[name][row], look, photograph):
                self.hatched.add(axis)
            label = name if self.pixels is not None or not title else f"{title}: {name}" if name else title
            axis.set_title(name_of(label), fontsize=_TITLE)
        for axis in cells[: self.n_panels]:
            draw_place(axis, self.places[row])
        return list(axes[: len(self.values)])

    def _draw_bars(self, figure: Figure, axes: list[list[Any]], unit: str) -> None:
        """A colour bar for each range, beside the maps that share it; a map of its own range may have its own unit."""
        sharing: dict[int, tuple[Range, list[Any], list[Array]]] = {}
        for row, panels in enumerate(axes):
            for axis, (name, values) in zip(panels, self.values.items(), strict=True):
                own = self.ranges[name][row]
                _, beside, maps = sharing.setdefault(id(own), (own, [], []))
                beside.append(axis)
                maps.append(values[row])
        alone = len(sharing) > 1 and any(len(beside) == 1 for _, beside, _ in sharing.values())
        for own, beside, maps in sharing.values():
            draw_bar(figure, beside, own, maps, "" if alone else unit, not self.hatched.isdisjoint(beside))


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
        bar.set_label(wrapped(unit, 50, 90), fontsize=8)
    bar.ax.yaxis.get_offset_text().set_fontsize(6)
    bar.outline.set_linewidth(0.5)
    if hatched:
        hatch_bar(bar.ax, own)
