"""Text that somebody may have put into the name of a file or of a class, or into a message."""

import unicodedata

PIECES = (
    *map(chr, range(32)),
    "\x7f",
    "\x85",
    "\x9b31m",
    "\x1b[2J",
    "\x1b[1A\x1b[2K",
    "\x1b]0;title\x07",
    "\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\",
    "\x1bP$q\x1b\\",
    "\r\nError: forged",
    "\u202egnp.",
    "\u2066a\u2069",
    "\u200b",
    "\u200e",
    "\ufeff",
    "\u2028",
    "\u2029",
    "\U000e0041",
    "\udcff",
    "\udc80\udce9",
    "\ud83d",
    "|",
    "||",
    "\\",
    "\\|",
    "<!--",
    "-->",
    "<script>alert(1)</script>",
    "</script>",
    "</td></tr></table>",
    "<b",
    '" onmouseover="x',
    "'",
    "&lt;",
    "&#0;",
    "&",
    "{{ 1 }}",
    "{% raw %}",
    "[a](javascript:b)",
    "![](x)",
    "<http://example.org>",
    "http://example.org",
    "`",
    "``",
    "*",
    "**",
    "_",
    "__",
    "~~",
    "# ",
    "- ",
    "1. ",
    "> ",
    "    ",
    "[bold]",
    "[/]",
    ":smile:",
    "=1+1",
    "+1",
    "-1",
    "@sum(a1)",
    "=cmd|' /C calc'!A0",
    '"',
    '""',
    ",",
    ";",
    "\t",
    "$",
    "$$",
    "$\\frac{",
    "\\$",
    "x_1^2",
    "%",
    "{",
    "}",
    "%s",
    "{0}",
    "\u732b",
    "\u05e7\u05d8",
    "\u0645\u06cc\u200c\u062e",
    "\u0915\u094d\u200d\u0937",
    "\U0001f469\u200d\U0001f52c",
    "Gr\xf6\xdfe",
    "e\u0301",
    "cat",
    " ",
    "\xa0",
    "\u3000",
)


def hostile(random, most=12):
    """Some pieces after each other; one text in twenty is very long."""
    text = "".join(random.choice(PIECES) for _ in range(random.randint(1, most)))
    if random.random() < 0.1:
        text += "".join(chr(random.randrange(0x110000)) for _ in range(5))
    return text * random.randint(200, 2000) if random.random() < 0.05 else text


def obeyed(text):
    """What a terminal would obey or could not show, in what was written to one; a line break is none."""
    return [
        character
        for character in text
        if (unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") and character != "\n")
        or character in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    ]
