"""Text of others, made harmless for where it is shown: a terminal, a table, a spreadsheet, a figure.

Names of files and classes, keys of weights and messages of errors come from people whom nobody vouches for. Each of
these functions leaves ordinary text of any language as it is.
"""

from __future__ import annotations

import re
import unicodedata

# Marks that writing needs: the joiners of Persian, Hindi and emoji, and signs that stand before Arabic, Syriac and
# Kaithi numbers.
_NEEDED = {"\u200c", "\u200d", *map(chr, range(0x600, 0x606)), "\u06dd", "\u070f", "\u0890", "\u0891", "\u08e2"}
_NEEDED |= {"\U000110bd", "\U000110cd"}
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format, surrogates, line and paragraph separators
_NAMES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ASCII = re.compile(r"[ -~]*")
_MARKDOWN = re.compile(r"[\\`*\[\]|$~]|<(?=[A-Za-z/!?])|&(?=[#A-Za-z])|(?<![^\W_])_|_(?![^\W_])")
_FORMULA = re.compile(r"'*\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")


def shown(text: object, most: int | None = None) -> str:
    r"""Text on one line, with what a terminal would obey or hide written as an escape.

    Control characters and escape sequences, line breaks, marks that turn the direction of writing, invisible
    characters, and bytes of a file name that are not UTF-8 (`\xff`).

    Args:
        text: anything; `str` of it is shown.
        most: characters of what is shown; of a longer text the middle is left out where that makes it shorter.

    Example:
        >>> from captum_ext.core.text import shown
        >>> print(shown("cat\x1b]0;title\x07\n.png"), shown("Größe 猫 قطة"))
        cat\x1b]0;title\x07\n.png Größe 猫 قطة
    """
    given = text if type(text) is str else str(text)
    visible = given if _ASCII.fullmatch(given) else "".join(map(_visible, given))
    if most is None or len(visible) <= most:
        return visible
    kept = most // 2
    shortened = f"{visible[:kept]} ... {len(visible) - 2 * kept} characters ... {visible[-kept:]}"
    return min(visible, shortened, key=len)


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN or character in _NEEDED:
        return character
    if character in _NAMES:
        return _NAMES[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as Python's file names carry it
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def in_markdown(text: object) -> str:
    r"""The same as plain text of Markdown, which begins no cell, tag, link, code, formula or emphasis.

    Example:
        >>> from captum_ext.core.text import in_markdown
        >>> print(in_markdown("a|b <!-- c"), in_markdown("my_module:MyMethod"))
        a\|b \<!-- c my_module:MyMethod
    """
    return _MARKDOWN.sub(r"\\\g<0>", shown(text))


def in_csv(text: object) -> str:
    """The same as a text cell, which no spreadsheet takes for a formula: an apostrophe stands before one.

    For columns of text: numbers below zero are none. `from_csv` takes the apostrophe away.

    Example:
        >>> from captum_ext.core.text import in_csv
        >>> in_csv("=1+1"), in_csv("'=1"), in_csv("LPI, 1 n."), in_csv("it's")
        ("'=1+1", "''=1", 'LPI, 1 n.', "it's")
    """
    cell = shown(text)
    return f"'{cell}" if _FORMULA.match(cell) else cell


def from_csv(cell: str) -> str:
    """What `in_csv` was given, as far as it could be shown."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def in_figure(text: object, most: int | None = None) -> str:
    r"""The same for matplotlib, which would set what stands between two `$` as a formula, or fail at it.

    Example:
        >>> from captum_ext.core.text import in_figure
        >>> print(in_figure("$x_1$"))
        \$x_1\$
    """
    return shown(text, most).replace("$", "\\$")
