"""docs/messages.md: all messages of errors by their text, each with the section of Troubleshooting that it leads to."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import Any

from messages import Message, messages

PAGE = "messages.md"
GUIDE = "troubleshooting.md"
_TITLE = "# All messages\n\nEvery message of an error, with … for what only the call knows. The link says what to do.\n"


def sections(guide: str) -> dict[str, str]:
    """What an entry is for, an argument or the class of an error, to the heading that it stands below."""
    found: dict[str, str] = {}
    heading = ""
    for line in guide.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ").strip()
            found.setdefault(heading, heading)
        if line.startswith("Arguments: "):
            for name in re.findall(r"`([^`]+)`", line):
                found.setdefault(name, heading)
    return found


def key_of(message: Message, known: dict[str, str]) -> str:
    """What the guide has to have for a message: its argument, or the class of its error."""
    if not message.argument:
        return message.error
    for name in (message.argument, re.sub(r"\[.*", "", message.argument), re.sub(r"[(\[…].*", "", message.argument)):
        if name in known:
            return name
    return "…" if "…" in message.argument else message.argument


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def page(guide: str) -> str:
    """The list as Markdown."""
    known = sections(guide)
    lines = [_TITLE]
    for error, group in groupby(messages(), key=lambda one: one.error):
        rows = {
            one.text: f"[{known[key]}]({GUIDE}#{slug(known[key])})"
            for one in group
            for key in [key_of(one, known)]
            if re.search(r"\w", one.text)  # else all of its text is from elsewhere
        }
        if rows:
            lines += [f"## {error}\n", "| message | what to do |", "| --- | --- |"]
            lines += [*(f"| {_cell(text)} | {link} |" for text, link in rows.items()), ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text as it is printed, in a table of Markdown."""
    code = " ".join(text.split())
    fence = "``" if "`" in code else "`"
    pad = " " if "`" in code else ""
    return f"{fence}{pad}{code}{pad}{fence}".replace("|", r"\|")


def _before_reading(app: Any) -> None:
    folder = Path(app.srcdir)
    text = page((folder / GUIDE).read_text())
    target = folder / PAGE
    if not target.exists() or target.read_text() != text:
        target.write_text(text)


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", _before_reading)
    return {"parallel_read_safe": True}
