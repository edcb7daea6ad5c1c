"""Figures of text: every token on the colour of its number."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from captum_ext.core.checks import check_choice, describe
from captum_ext.core.text import in_figure, shown
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.visualize.arrays import LUMINANCE, colorize
from captum_ext.visualize.inputs import Array, as_numbers
from captum_ext.visualize.looks import Caption, Look, check_words, listed, new_figure, percent, write_around
from captum_ext.visualize.panels import Range, beyond, check_titles, range_of
from captum_ext.visualize.sheet import draw_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LETTER, _LINE = 0.0725, 0.25  # inches: width of a letter of 8 points with its share of gaps, height of a line
_WIDEST = 88  # letters of a line of tokens
_LONGEST, _LONGEST_NAME = 40, 28  # letters of a token, and of a method
_MOST_LINES = 400
_FRAMED = 0.1  # of the limit, below which a negative number has no frame


@dataclass(frozen=True)
class _Line:
    """What stands in one line: a name in front of tokens with their numbers, or a title."""

    name: str
    tokens: list[str]
    values: Array
    own: Range


def show_tokens(
    tokens: Sequence[str] | Sequence[Sequence[str]],
    maps: Any,
    *,
    titles: str | Sequence[str] | None = None,
    caption: Caption = Caption(unit="attribution of a token"),
    look: Look = Look(quantile=1),
    scale: str = "all",
) -> Figure:
    """Texts whose tokens stand on the colour of their number, a line for each method; negative ones are framed.

    Args:
        tokens: of one text, or of each. They are shown as they are, control characters as escapes.
        maps: method -> numbers, or those of one method: (L,), (N, L), or (N, L, E) of embeddings, which are summed over
            E. Numbers beyond a text's tokens, of padding, are not drawn; the caption says what mass they hold.
        titles: of the texts, one for each.
        caption: title, unit and notes.
        look: palette and quantile.
        scale: "all": one range and a colour bar; "text": each text has its own range, which stands behind its title.

    Raises:
        ArgumentTypeError, ArgumentError: tokens that are no text, fewer numbers than tokens, other titles.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from captum_ext.visualize import show_tokens
        >>> figure = show_tokens(["a", "good", "film"], {"IG": np.array([0.0, 2.0, -1.0])})
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['IG', 'a', 'good', 'film']
    """
    check_words(caption, look)
    check_choice("scale", scale, ("all", "text"))
    texts = _texts(tokens)
    named, summed = _named(maps, texts)
    headings = check_titles(titles, len(texts))
    kept = {name: [row[: len(text)] for row, text in zip(values, texts, strict=True)] for name, values in named.items()}
    if scale == "all":
        ranges = [range_of([row for rows in kept.values() for row in rows], look)] * len(texts)
    else:
        signed = any((row[np.isfinite(row)] < 0).any() for rows in kept.values() for row in rows)
        ranges = [range_of([rows[k] for rows in kept.values()], look, signed=signed) for k in range(len(texts))]
    lines = []
    for k, text in enumerate(texts):
        heading = shown(headings[k], 60) + f" (range {ranges[k].limits[0]:.3g} to {ranges[k].limits[1]:.3g})" * (
            scale == "text"
        )
        if heading:
            lines.append(_Line(heading.strip(), [], np.zeros(0), ranges[k]))
        for name, rows in kept.items():
            lines += _wrapped(_short(name), text, rows[k], ranges[k])
    return _drawn(lines, caption, scale, kept, ranges, _about(named, kept, summed))


def _texts(tokens: Any) -> list[list[str]]:
    """Tokens of each text as they are shown."""
    expected = "a list of tokens, or of lists of them"
    if isinstance(tokens, str) or not isinstance(tokens, Sequence) or not len(tokens):
        raise ArgumentTypeError("tokens", expected, describe(tokens))
    texts = [tokens] if isinstance(tokens[0], str) else tokens
    for text in texts:
        if isinstance(text, str) or not isinstance(text, Sequence) or not all(isinstance(one, str) for one in text):
            raise ArgumentTypeError("tokens", expected, describe(text))
    return [[shown(one, _LONGEST) or "''" for one in text] for text in texts]


def _named(maps: Any, texts: list[list[str]]) -> tuple[dict[str, Array], int]:
    """Numbers (N, L) of each method, and over how many numbers of an embedding they were summed."""
    given = maps if isinstance(maps, Mapping) else {"": maps}
    if not given:
        raise ArgumentError("maps", "at least one map", "an empty dictionary")
    named, summed, longest = {}, 1, max(map(len, texts))
    for name, one in given.items():
        label = f"maps[{name!r}]" if name else "maps"
        values = as_numbers(label, one)
        values = values[None] if values.ndim == 1 else values
        if values.ndim == 3:
            summed = values.shape[2]
            values = values.sum(2)
        if values.ndim != 2 or len(values) != len(texts) or values.shape[1] < longest:
            expected = f"(N, L) or (N, L, E) of {len(texts)} texts of up to {longest} tokens"
            raise ArgumentError(label, expected, f"shape {np.shape(one)}")
        named[str(name)] = values
    return named, summed


def _short(name: str) -> str:
    """A name in front of tokens."""
    visible = shown(name, 200)
    return visible if len(visible) <= _LONGEST_NAME else f"{visible[: _LONGEST_NAME - 3]}..."


def _width(token: str) -> int:
    """Columns that a token takes in letters of one width."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in token)


def _wrapped(name: str, tokens: list[str], values: Array, own: Range) -> list[_Line]:
    """Lines of tokens, the first with the name of the method."""
    lines: list[_Line] = []
    begin = filled = 0
    for place, token in enumerate(tokens):
        if filled and filled + _width(token) > _WIDEST:
            lines.append(_Line(name if not lines else "", tokens[begin:place], values[begin:place], own))
            begin, filled = place, 0
        filled += _width(token) + 1
    lines.append(_Line(name if not lines else "", tokens[begin:], values[begin:], own))
    return lines


def _about(named: dict[str, Array], kept: dict[str, list[Array]], summed: int) -> list[str]:
    said = [f"Numbers are sums over {summed} of an embedding"] if summed > 1 else []
    parts, missing = {}, {}
    for name, values in named.items():
        sizes = np.abs(np.where(np.isfinite(values), values, 0)).sum()
        inside = sum(np.abs(np.where(np.isfinite(row), row, 0)).sum() for row in kept[name])
        if sizes and 1 - inside / sizes > 1e-12:
            parts[name] = percent(1 - inside / sizes)
        if count := sum(int((~np.isfinite(row)).sum()) for row in kept[name]):
            missing[name] = count
    if parts:
        said.append(f"Mass behind the texts, not drawn: {listed(parts)}")
    if missing:
        said.append(f"Crossed out, NaN or infinite: {listed(missing)}")
    return said


def _drawn(
    lines: list[_Line],
    caption: Caption,
    scale: str,
    kept: dict[str, list[Array]],
    ranges: list[Range],
    said: list[str],
) -> Figure:
    if len(lines) > _MOST_LINES:
        raise ArgumentError("tokens", f"of at most {_MOST_LINES} lines", f"{len(lines)}")
    margin = max(len(line.name) for line in lines if line.tokens) + 2
    letters = margin + max([30, *(sum(_width(one) + 1 for one in line.tokens) for line in lines)])
    letters = max(letters, *(len(line.name) + 2 for line in lines))
    figure = new_figure(_LETTER * letters + 1.3 * (scale == "all"), _LINE * (len(lines) + 1) + 0.6)
    axis = figure.subplots()
    axis.set(xlim=(0, letters), ylim=(len(lines) - 0.4, -0.6))
    axis.set_axis_off()
    for place, line in enumerate(lines):
        if not line.tokens:
            axis.text(0, place, in_figure(line.name), fontsize=9, weight="bold", va="center")
        else:
            axis.text(0, place, in_figure(line.name), fontsize=8, va="center")
            _draw_tokens(axis, line, place, margin)
    if scale == "all":
        draw_bar(figure, [axis], ranges[0], [row for rows in kept.values() for row in rows], caption.unit)
    own = ranges[0].palette
    negative = any(
        (row < -_FRAMED * one.limits[1]).any() for rows in kept.values() for row, one in zip(rows, ranges, strict=True)
    )
    said = [*said, own.meaning] + ["Dashed frame: against it"] * bool(negative and own.name == "signed")
    if scale == "text" and len(ranges) > 1:
        said.append("Each text has its own scale")
    padded = {name: [row if len(row) else np.zeros(1) for row in rows] for name, rows in kept.items()}
    return write_around(figure, caption, [*said, beyond(padded, dict.fromkeys(kept, ranges), "token")])


def _draw_tokens(axis: Axes, line: _Line, place: int, left: int) -> None:
    """Tokens beside each other; where a number is negative, a frame shows the sign in grey print."""
    if not len(line.values):
        return
    colours = colorize(line.values, line.own.limits, line.own.palette, nonfinite=(255, 255, 255)) / 255
    for token, value, colour in zip(line.tokens, line.values, colours, strict=True):
        box = {"facecolor": colour, "edgecolor": "none", "pad": 1.5, "linewidth": 0.8}
        if line.own.palette.name == "signed" and value < -_FRAMED * line.own.limits[1]:
            box |= {"edgecolor": "black", "linestyle": "--"}
        if not np.isfinite(value):
            box |= {"hatch": "xxxx", "edgecolor": "0.5"}
        ink = "white" if colour @ LUMINANCE < 0.45 else "black"
        axis.text(left, place, in_figure(token), fontsize=8, family="monospace", va="center", color=ink, bbox=box)
        left += _width(token) + 1
