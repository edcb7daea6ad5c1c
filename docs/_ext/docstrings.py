"""Docstrings as this package writes them, made into reStructuredText before napoleon reads their sections.

They are plain text with `code` in single backticks, $formulas$ and $$formulas on lines of their own$$, lists below
a sentence that ends in a colon, and tables as Markdown has them. A public name in backticks becomes a link to its page,
as does the file of a page below docs.
"""

from __future__ import annotations

import re
from typing import Any

from completing import completed
from public_names import canonical, present

PROTECTED = re.compile(
    r"\$\$(?P<block>.+?)\$\$|(?<![\\$\w`])\$(?P<inline>[^$\n][^$]*?)\$(?![\d\w])|(?<!`)``?(?P<code>[^`]+?)``?(?!`)",
    re.DOTALL,
)
NO_LITERAL = re.compile(r"<factory>|<function [\w.]+<lambda>>|<function [^<>]*>")
SECTIONS = ("Args:", "Attributes:", "Example:", "Raises:", "Returns:", "Warns:", "Yields:")


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Change a docstring in place, as autodoc asks for it."""
    home = ".".join(name.split(".")[:-1])
    if callable(obj):
        lines[:] = completed(name, obj, lines)
    lines[:] = [line for chunk in chunks(lines) for line in converted(chunk, home)]


def signature(
    app: Any, what: str, name: str, obj: Any, options: Any, given: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """A default that has no literal is `...`: with `<factory>` or `<function ...>` Sphinx reads no signature."""
    return (NO_LITERAL.sub("...", given), returned) if given else None


def chunks(lines: list[str]) -> list[list[str]]:
    """Paragraphs, each with the empty line behind it; examples of the interpreter are paragraphs, too."""
    found: list[list[str]] = [[]]
    for line in lines:
        found[-1].append(line)
        if not line.strip():
            found.append([])
    return found


def converted(chunk: list[str], home: str) -> list[str]:
    """One paragraph; examples stay as they are."""
    prose: list[str] = []
    for place, line in enumerate(chunk):
        if line.lstrip().startswith(">>> "):
            return [*of_prose(prose, home), *chunk[place:]]
        prose.append(line)
    if is_table(prose):
        return table(prose, home)
    return of_prose(_entries_as_list(prose), home)


def is_table(lines: list[str]) -> bool:
    """Whether a paragraph is one of Markdown's tables."""
    return len(lines) > 2 and all(line.lstrip().startswith("|") for line in lines if line.strip())


def table(lines: list[str], home: str) -> list[str]:
    """A table of Markdown, of which the second line has no cells."""
    indent, rows = " " * _indent(lines[0]), [line.strip() for line in lines if line.strip()]
    made = [f"{indent}.. list-table::", f"{indent}   :header-rows: 1", ""]
    for row in (rows[0], *rows[2:]):
        cells = [" ".join(of_prose([cell.strip()], home)) for cell in row[1:-1].split("|")]
        made += [f"{indent}   {'  ' if place else '* '}- {cell}".rstrip() for place, cell in enumerate(cells)]
    return [*made, ""]


def _entries_as_list(lines: list[str]) -> list[str]:
    """Indented entries below a heading that is none of napoleon's become a list."""
    if len(lines) < 2 or not re.fullmatch(r" *[A-Z][\w ]*:", lines[0]) or lines[0].strip() in SECTIONS:
        return lines
    depth = _indent(lines[1])
    if depth <= _indent(lines[0]) or lines[1].lstrip().startswith(("* ", "- ")):
        return lines
    return [lines[0], "", *(_entry(line, depth) for line in lines[1:])]


def _entry(line: str, depth: int) -> str:
    """A line of such a list: what an entry goes on with stands below its first word."""
    if not line.strip():
        return line
    deeper = _indent(line) - depth
    return " " * depth + ("* " if deeper == 0 else "  " + " " * max(deeper - 4, 0)) + line.lstrip()


def of_prose(lines: list[str], home: str) -> list[str]:
    """Formulas, code and links of a paragraph; a list below a sentence gets the empty line that it needs."""
    text = PROTECTED.sub(lambda match: _of_match(match, home, lines), _escaped("\n".join(lines)))
    out: list[str] = []
    for line in text.split("\n"):
        before = out[-1] if out else ""
        begins_list = re.match(r" *[*-] ", line) is not None
        if begins_list and before.strip() and not re.match(r" *[*-] ", before) and _indent(line) > _indent(before):
            out.append("")
        out.append(line)
    return out


def _of_match(match: re.Match[str], home: str, lines: list[str]) -> str:
    if match["block"] is not None:
        indent = " " * min((_indent(line) for line in lines if line.strip()), default=0)
        formula = " ".join(match["block"].split())
        return f"\n{indent}.. math:: {formula}\n{indent}"
    if match["inline"] is not None:
        formula = " ".join(match["inline"].split())
        return f":math:`{formula}`"
    code = " ".join(match["code"].split())
    if page := re.fullmatch(r"docs/([\w-]+)\.md", code):
        return f":doc:`{code} </{page[1]}>`"
    if code in present():
        return f":py:mod:`{code}`"
    return f":py:obj:`{code} <{target}>`" if (target := canonical(code, home)) else f"``{code}``"


def _escaped(text: str) -> str:
    """Text outside of code and formulas without what reStructuredText would read as markup."""
    parts, last = [], 0
    for match in PROTECTED.finditer(text):
        parts += [_plain(text[last : match.start()]), match[0]]
        last = match.end()
    return "".join([*parts, _plain(text[last:])])


def _plain(text: str) -> str:
    text = re.sub(r"(?<=\w)_(?=[\s,.;:)\]])", r"\\_", text)
    text = re.sub(r"\|", r"\\|", text)
    text = text.replace("**", r"\*\*")
    return re.sub(r"(?<!^)(?<!\n)(?<![\s*\\])\*(?=\S)|(?<=\s)\*(?=[^\s*])", r"\\*", text)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process, priority=400)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True}
