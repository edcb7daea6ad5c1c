"""Mends what axe-core finds in the pages that Sphinx and the theme write: a level for headings of the navigation, names
for its landmarks, parameters of a signature that are no list of definitions, a heading on the page of the search.
Options of commands, which a browser would break behind their hyphens, stay whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_PARAMETERS = re.compile(r"<dl>\s*(<dd><em class=\"sig-param\">.*?)</dl>", re.DOTALL)
_THUMBNAIL = re.compile(
    r'(sphx-glr-thumbcontainer".{0,900}?<a class="reference internal" href="[^"]*")(><span[^>]*>([^<]*)<)', re.DOTALL
)
_COMMANDS = re.compile(r'<div class="highlight-(?:sh|bash|console|default)[^>]*>.*?</pre>', re.DOTALL)
_OPTION = re.compile(r"(?<![\w\"'=<-])--[a-z][a-z0-9-]*")
_WORD = re.compile(r'<span class="pre">(--[a-z][a-z0-9-]*)</span>')
_WHOLE = '<span class="whole">'
_PLAIN = {
    'class="caption" role="heading">': 'class="caption" role="heading" aria-level="2">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="All pages">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="On this page">',
    '<aside class="toc-drawer no-toc">': '<aside class="toc-drawer no-toc" aria-label="On this page">',
    '<div id="search-results"></div>': '<h1>Search</h1>\n<div id="search-results" aria-live="polite"></div>',
}


def mended(text: str) -> str:
    """A page with these places as they should be; of a page that is so already, the same."""
    for before, after in _PLAIN.items():
        text = text.replace(before, after)
    text = _WORD.sub(r'<span class="pre whole">\1</span>', text)
    text = _COMMANDS.sub(lambda match: _OPTION.sub(_whole, match[0]) if _WHOLE not in match[0] else match[0], text)
    text = _THUMBNAIL.sub(r'\1 aria-label="\3"\2', text)
    return _PARAMETERS.sub(_lines, text)


def _whole(match: re.Match[str]) -> str:
    return f"{_WHOLE}{match[0]}</span>"


def _lines(match: re.Match[str]) -> str:
    inside = match[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
    return f'<span class="sig-lines">{inside}</span>'


def _mend(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        for path in sorted(Path(app.outdir).rglob("*.html")):
            text = path.read_text()
            if (better := mended(text)) != text:
                path.write_text(better)


def setup(app: Any) -> dict[str, bool]:
    app.connect("build-finished", _mend)
    return {"parallel_read_safe": True}
