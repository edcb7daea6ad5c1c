"""The changelog page begins with what is not released yet: what towncrier makes of the files in changelog.d."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = "changelog"
HERE = "<!-- unreleased -->"
TITLE = "## Not released yet"


def draft(root: Path) -> str:
    """The entry as a release would have it, below a title without a date; nothing where there are no fragments."""
    line = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "next", "--date", "today"]
    made = subprocess.run(line, cwd=root, capture_output=True, text=True, check=True).stdout
    _, found, entries = made.partition("### ")
    return f"{TITLE}\n\n{found}{entries}" if found else ""


def on_read(_: Any, page: str, source: list[str]) -> None:
    """Links of fragments are as from the root of the repository."""
    if page == PAGE:
        source[0] = source[0].replace(HERE, draft(ROOT).replace("](docs/", "]("))


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", on_read)
    return {"parallel_read_safe": True}
