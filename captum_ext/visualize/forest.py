"""A figure of paired differences with their intervals, of many comparisons on many data: a forest plot."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from captum_ext.core.checks import check_bool, check_choice, check_number, describe
from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.visualize.lines import COLOURS
from captum_ext.visualize.looks import EXTRA, Caption, check_words, new_figure, wrapped, write_around

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PITCH = 0.17  # inches from line to line
_PANEL = 1.45  # inches across
_LETTER = 0.062  # inches of a letter of a label
_LONGEST = 100  # letters of a label
_SMALL, _LARGE = 4.0, 7.0  # points of a symbol
_GREY = "#5b6675"
_SHORTEST, _LONGEST_AXIS = 1e-100, 1e100  # which matplotlib can divide
_RANGE = "a number from 1e-100 to 1e100"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_SYMBOLS = tuple("os^v<>DdPX*hp_")


@dataclass(frozen=True)
class Mark:
    """How a difference is drawn, and what that means.

    Attributes:
        meaning: for the legend; nothing: the legend leaves it out.
        colour: of symbol and interval, as "#0072b2".
        symbol: one of matplotlib's o s ^ v < > D d P X * h p _. In grey print it is what tells meanings apart.
        filled: or white inside.

    Raises:
        ArgumentTypeError, ArgumentError: another colour or symbol.
    """

    meaning: str = ""
    colour: str = COLOURS[0]
    symbol: str = "o"
    filled: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.colour, str) or not _COLOUR.fullmatch(self.colour):
            raise ArgumentError("colour", 'as "#0072b2"', describe(self.colour))
        check_choice("symbol", self.symbol, _SYMBOLS)
        check_bool("filled", self.filled)


@dataclass(frozen=True)
class Effect:
    """A difference with its interval.

    Attributes:
        difference: its mean; infinite: an arrow at the end of the axis; NaN: nothing is drawn.
        low: where its interval begins; NaN: it has none.
        high: where it ends.
        mark: how it is drawn.
        name: of its group in a picture as SVG (the attribute `id`), to which a title may be added there.

    Raises:
        ArgumentTypeError: something else than numbers and a Mark.
    """

    difference: float
    low: float = np.nan
    high: float = np.nan
    mark: Mark = field(default_factory=Mark)
    name: str = ""

    def __post_init__(self) -> None:
        for one in ("difference", "low", "high"):
            object.__setattr__(self, one, check_number(one, getattr(self, one), "a number", lambda _: True))
        if not isinstance(self.mark, Mark):
            raise ArgumentTypeError("mark", "a Mark", describe(self.mark))


@dataclass(frozen=True)
class ForestLine:
    """A line: one comparison on several data.

    Attributes:
        label: what is compared.
        effects: name of a panel -> the difference there; panels without one are empty there.
        is_minor: smaller, and in grey: a control of the line before.
    """

    label: str
    effects: Mapping[str, Effect]
    is_minor: bool = False


def show_forest(
    blocks: Mapping[str, Sequence[ForestLine]],
    *,
    limit: float | None = None,
    caption: Caption = Caption(unit="difference"),
) -> Figure:
    """Differences as symbols with their intervals, lines below each other and data beside each other.

    Args:
        blocks: title -> lines. Each block has the panels that its lines name, in order of their appearance; a single
            block may have no title.
        limit: the axes of all panels are from -limit to limit, and what is beyond is at the end, with an arrow; None:
            the largest finite number.
        caption: its unit stands below the panels.

    Raises:
        ArgumentTypeError, ArgumentError: no block, no line, no effect, another limit.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> from captum_ext.visualize import Effect, ForestLine, show_forest
        >>> lines = [ForestLine("LPI less EG", {"digits": Effect(0.1, 0.0, 0.2), "photographs": Effect(-0.1, -0.3, 0)})]
        >>> [axis.get_title() for axis in show_forest({"": lines}).axes]
        ['digits', 'photographs']
    """
    check_words(caption)
    read = _checked(blocks)
    limit = _limit(read) if limit is None else check_number("limit", limit, _RANGE, _is_drawn)
    longest = max(len(_label(line)) for lines in read.values() for line in lines)
    columns = max(len(_panels(lines)) for lines in read.values())
    width = 0.4 + _LETTER * longest + _PANEL * columns
    legend = _legend(read, width)
    heights = [0.05 + 0.2 * -(-len(legend["handles"]) // legend["ncols"])]
    heights += [_PITCH * len(lines) + 0.9 for lines in read.values()]
    figure = new_figure(width, sum(heights) + 0.8)
    above, *parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    above.legend(**legend, loc="center", fontsize=8, frameon=False)
    for part, (title, lines) in zip(parts, read.items(), strict=True):
        if title:
            part.suptitle(wrapped(title, 100, 100), fontsize=9, fontweight="bold")
        panels = _panels(lines)
        axes = part.subplots(1, columns, squeeze=False)[0]
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        for number, (axis, panel) in enumerate(zip(axes, panels, strict=False)):
            _draw(axis, lines, panel, limit)
            _write(axis, lines, panel, caption.unit, number == 0)
    return write_around(figure, caption, _about(read, limit))


def _checked(blocks: Any) -> dict[str, list[ForestLine]]:
    expected = "a dictionary of title and ForestLines, with one at least"
    if not isinstance(blocks, Mapping) or not blocks:
        raise ArgumentTypeError("blocks", expected, describe(blocks))
    read = {}
    for title, lines in blocks.items():
        if not isinstance(lines, Sequence) or not all(isinstance(line, ForestLine) for line in lines):
            raise ArgumentTypeError("blocks", expected, describe(lines))
        effects = [effect for line in lines for effect in line.effects.values()]
        if not effects or not all(isinstance(effect, Effect) for effect in effects):
            raise ArgumentError("blocks", "of lines with Effects, one in each block at least", describe(lines))
        read[str(title)] = list(lines)
    return read


def _is_drawn(value: float) -> bool:
    return _SHORTEST <= value <= _LONGEST_AXIS


def _limit(blocks: Mapping[str, Sequence[ForestLine]]) -> float:
    ends = [
        abs(end)
        for lines in blocks.values()
        for line in lines
        for effect in line.effects.values()
        for end in (effect.difference, effect.low, effect.high)
    ]
    largest = max((end for end in ends if np.isfinite(end)), default=0.0) or 1.0
    return min(max(largest, _SHORTEST), _LONGEST_AXIS)


def _panels(lines: Sequence[ForestLine]) -> list[str]:
    return list(dict.fromkeys(panel for line in lines for panel in line.effects))


def _label(line: ForestLine) -> str:
    return wrapped(line.label, _LONGEST, _LONGEST)


def _draw(axis: Axes, lines: Sequence[ForestLine], panel: str, limit: float) -> None:
    """The symbols of one panel, on bands that hold a line and its controls together."""
    band = 0
    for place, line in enumerate(lines):
        band += not line.is_minor
        if band % 2:
            axis.axhspan(place - 0.5, place + 0.5, color="#f0f2f5", linewidth=0, zorder=0)
    axis.axvline(0, color="0.35", linewidth=0.8, zorder=1)
    for place, line in enumerate(lines):
        effect = line.effects.get(panel)
        if effect is not None and not np.isnan(effect.difference):
            _draw_effect(axis, place, effect, line.is_minor, limit)
    axis.set_xlim(-1.08 * limit, 1.08 * limit)
    axis.set_ylim(len(lines) - 0.4, -0.6)


def _draw_effect(axis: Axes, place: int, effect: Effect, is_minor: bool, limit: float) -> None:
    mark, middle = effect.mark, float(np.clip(effect.difference, -limit, limit))
    low, high = np.clip([effect.low, effect.high], -limit, limit)
    axis.plot([low, high], [place, place], color=mark.colour, linewidth=0.9 if is_minor else 1.8, zorder=2)
    size = _SMALL if is_minor else _LARGE
    axis.plot(middle, place, color=mark.colour, markersize=size, zorder=3, **_symbol(mark))
    if middle != effect.difference:
        end = float(np.sign(middle) * 1.06 * limit)
        axis.plot(end, place, ">" if end > 0 else "<", color="black", markersize=3, clip_on=False, zorder=3)
    if effect.name:  # a whole cell without colour, so that a pointer need not be exactly on the symbol
        axis.axhspan(place - 0.5, place + 0.5, alpha=0, linewidth=0, zorder=4, gid=effect.name)


def _write(axis: Axes, lines: Sequence[ForestLine], panel: str, unit: str, is_first: bool) -> None:
    axis.set_title(wrapped(panel, 22, 60), fontsize=8)
    axis.set_xlabel(wrapped(unit, 26, 100), fontsize=7)
    axis.set_yticks(range(len(lines)), [_label(line) if is_first else "" for line in lines], fontsize=7.5)
    for text, line in zip(axis.get_yticklabels(), lines, strict=True):
        text.set_color(_GREY if line.is_minor else "black")
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=7)
    axis.locator_params(axis="x", nbins=5)
    axis.grid(axis="x", alpha=0.3, linewidth=0.6)
    for side in ("left", "right", "top"):
        axis.spines[side].set_visible(False)


def _marks(blocks: Mapping[str, Sequence[ForestLine]]) -> list[Mark]:
    """What the legend explains, in order of its appearance."""
    effects = [effect for lines in blocks.values() for line in lines for effect in line.effects.values()]
    return [mark for mark in dict.fromkeys(effect.mark for effect in effects) if mark.meaning]


def _legend(blocks: Mapping[str, Sequence[ForestLine]], width: float) -> dict[str, Any]:
    """What the marks mean, in as many columns as there is room for."""
    line = require("matplotlib.lines", EXTRA).Line2D
    marks = _marks(blocks)
    meanings = [wrapped(mark.meaning, 60, 60) for mark in marks]
    handles = [
        line([], [], color=mark.colour, label=meaning, markersize=_LARGE, **_symbol(mark))
        for mark, meaning in zip(marks, meanings, strict=True)
    ]
    letters = max((len(meaning) for meaning in meanings), default=1)
    return {"handles": handles, "ncols": max(1, min(len(marks), int(width / (0.6 + 0.075 * letters))))}


def _symbol(mark: Mark) -> dict[str, Any]:
    """How matplotlib is told of it; a wide edge would blur a filled one."""
    face = mark.colour if mark.filled else "white"
    return {"marker": mark.symbol, "markerfacecolor": face, "markeredgewidth": 0.2 if mark.filled else 1.2}


def _about(blocks: Mapping[str, Sequence[ForestLine]], limit: float) -> list[str]:
    effects = [effect for lines in blocks.values() for line in lines for effect in line.effects.values()]
    said = ["Symbol: mean difference; line: its interval"]
    if any(line.is_minor for lines in blocks.values() for line in lines):
        said.append("Small and grey: controls of the line above")
    beyond = sum(abs(effect.difference) > limit for effect in effects)
    if beyond:
        said.append(f"Arrow: beyond the axis ({beyond} of {len(effects)})")
    return said
