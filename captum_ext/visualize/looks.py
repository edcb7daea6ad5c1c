"""How a figure looks, what is written around it, and how it becomes a file."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captum_ext.core.atomic import replaced
from captum_ext.core.checks import check_bool, check_number, describe
from captum_ext.core.optional import require
from captum_ext.core.text import in_figure, shown
from captum_ext.exceptions import ArgumentTypeError
from captum_ext.visualize.palettes import Palette, palette_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXTRA = "plot"
_LONGEST_NOTE, _LONGEST_NAME = 400, 40
_HARD = "\u00a0"  # a space at which no line ends
_LETTERS_OF_CAPTION, _LETTERS_OF_TITLE = 14.5, 11.5  # in an inch


@dataclass(frozen=True)
class Caption:
    """What is written around a figure, beside what it says itself. All of it is shown as it is: `$` begins no formula.

    Attributes:
        title: above all.
        unit: of the numbers, beside the colour bar.
        notes: sentences below, without full stops, before those of the figure.
    """

    title: str = ""
    unit: str = "attribution of a pixel"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Look:
    """How maps are drawn.

    Attributes:
        palette: see `colorize`.
        quantile: of the sizes of all numbers, where the colours end; see `symmetric_limits`.
        overlay: draw maps over their photographs; see `overlay`.
        outlined: share of each map's pixels, those with its largest numbers, to draw a line around; None: no line.
        smoothing: standard deviation in pixels of a Gaussian blur of maps before they are drawn; the caption says it.

    Raises:
        ArgumentTypeError, ArgumentError: a value that cannot be used.
    """

    palette: str | Palette | None = None
    quantile: float = 0.995
    overlay: bool = False
    outlined: float | None = None
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        palette_of(self.palette, True)
        self._keep("quantile", "a number in (0, 1]", lambda value: 0 < value <= 1)
        check_bool("overlay", self.overlay)
        if self.outlined is not None:
            self._keep("outlined", "None or a number in (0, 1]", lambda value: 0 < value <= 1)
        self._keep("smoothing", "a number from 0 to 1,000", lambda value: 0 <= value <= 1000)

    def _keep(self, name: str, expected: str, allowed: Callable[[float], bool]) -> None:
        """The number of a field as a float."""
        object.__setattr__(self, name, check_number(name, getattr(self, name), expected, allowed))


def check_words(caption: Any, look: Any = Look()) -> None:
    """What is written around a figure, and how its maps are drawn.

    Raises:
        ArgumentTypeError: something else than a Caption and a Look.
    """
    if not isinstance(caption, Caption):
        raise ArgumentTypeError("caption", "a Caption", describe(caption))
    if not isinstance(look, Look):
        raise ArgumentTypeError("look", "a Look", describe(look))


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that many inches, which pyplot does not know, so that nothing is shown or left open."""
    return require("matplotlib.figure", EXTRA).Figure(figsize=(width, height), layout="constrained")  # type: ignore[no-any-return]


def write_around(figure: Figure, caption: Caption, sentences: list[str]) -> Figure:
    """A figure with its title and its caption, in which no text is set by TeX."""
    width = float(figure.get_figwidth())
    if caption.title:
        letters = int(_LETTERS_OF_TITLE * width)
        figure.suptitle(wrapped(caption.title, letters, 2 * letters - 20), fontsize=10)
    text = ". ".join([*(shown(note, _LONGEST_NOTE).removesuffix(".") for note in caption.notes), *sentences])
    if text:
        below = wrapped(f"{text}.", int(_LETTERS_OF_CAPTION * width))
        figure.set_figheight(figure.get_figheight() + 0.14 * below.count("\n"))  # else panels would shrink
        figure.supxlabel(below, fontsize=8)
    for one in figure.findobj(require("matplotlib.text", EXTRA).Text):
        one.set_usetex(False)
    return figure


def wrapped(text: object, width: int, most: int = 3000) -> str:
    """Text of at most so many letters in lines of that many, as matplotlib shows it; none begins with a per cent."""
    lines = textwrap.wrap(shown(text, most).replace(" %", f"{_HARD}%"), max(width, 10))
    return "\n".join(in_figure(line.replace(_HARD, " ")) for line in lines)


def name_of(name: object) -> str:
    """A name that fits a panel."""
    return wrapped(name, 30, 56)


def percent(share: float) -> str:
    """A share in words: "0.5 %".

    Example:
        >>> from captum_ext.visualize.looks import percent
        >>> percent(0.005), percent(1), percent(0.12345), percent(1e-9)
        ('0.5 %', '100 %', '12 %', 'less than 0.01 %')
    """
    if 0 < share < 1e-4:
        return "less than 0.01 %"
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.2g} %"


def save_figure(figure: Figure, file: str | Path | io.BytesIO, *, dpi: float = 120, format: str | None = None) -> None:  # noqa: A002 (matplotlib's name)
    """Write a figure: whole or not at all, its folder made where it is missing.

    Args:
        figure: of this package, or any of matplotlib's.
        file: a path, whose suffix says the format, or a file that is open for bytes.
        dpi: pixels in an inch.
        format: of an open file; None: PNG.

    Letters that no font here has are drawn as boxes, without a warning for each. A picture as SVG keeps its text as
    text. It does not
    have the time at which it was written: what is drawn anew from the same numbers gives the same bytes.

    Raises:
        ArgumentTypeError, ArgumentError: another number of pixels.
        OSError: no room, or no permission; of a suffix that matplotlib does not know, its ValueError.

    Example:
        >>> import io, numpy as np
        >>> from captum_ext.visualize import save_figure, show_maps
        >>> file = io.BytesIO()
        >>> save_figure(show_maps(np.eye(3)), file)
        >>> file.getvalue()[1:4]
        b'PNG'
    """
    dpi = check_number("dpi", dpi, "a positive number of at most 2,000", lambda value: 0 < value <= 2000)
    drawn = io.BytesIO()
    path = Path(file) if isinstance(file, str | Path) else None
    kind = format or (path.suffix.removeprefix(".") if path is not None else "") or "png"
    settings = {"svg.fonttype": "none", "svg.hashsalt": "captum-ext"}
    undated = {"svg": {"Date": None}, "svgz": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind.lower())
    with warnings.catch_warnings(), require("matplotlib", EXTRA).rc_context(settings):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(drawn, format=kind, dpi=dpi, metadata=undated)
    if path is None:
        file.write(drawn.getvalue())  # type: ignore[union-attr]
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary:
        temporary.write_bytes(drawn.getvalue())


def figure_pixels(figure: Figure, *, dpi: float = 120) -> NDArray[np.uint8]:
    """A figure as an image, for whatever takes images: TensorBoard, MLflow, a report.

    Args:
        figure: of this package, or any of matplotlib's.
        dpi: pixels in an inch.

    Returns:
        (H, W, 3) red, green and blue, 8 bits.

    Raises:
        ArgumentTypeError, ArgumentError: another number of pixels.

    Example:
        >>> import numpy as np
        >>> from captum_ext.visualize import figure_pixels, show_maps
        >>> figure_pixels(show_maps(np.eye(3)), dpi=50).shape[2]
        3
    """
    file = io.BytesIO()
    save_figure(figure, file, dpi=dpi)
    return np.array(Image.open(file).convert("RGB"))


def listed(parts: dict[str, Any]) -> str:
    """Names and what is said of them, "a 1 %; b 2 %"; the only one may have no name."""
    return "; ".join(f"{shown(name, _LONGEST_NAME)} {words}".strip() for name, words in parts.items())
