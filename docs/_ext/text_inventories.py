"""Inventories of other packages, kept as text in docs/inventories and packed as Sphinx reads them."""

from __future__ import annotations

import zlib
from pathlib import Path

_HEAD = """# Sphinx inventory version 2
# Project: {name}
# Version:
# The remainder of this file is compressed using zlib.
"""


def packed(folder: Path, into: Path) -> dict[str, tuple[str, str]]:
    """The files of a folder as `intersphinx_mapping`: name to address and packed inventory, which is written."""
    into.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for file in sorted(folder.glob("*.txt")):
        address, *entries = file.read_text(encoding="utf-8").splitlines()
        made = into / f"{file.stem}.inv"
        text = "".join(f"{entry}\n" for entry in entries)
        made.write_bytes(_HEAD.format(name=file.stem).encode() + zlib.compress(text.encode()))
        mapping[file.stem] = (address, str(made))
    return mapping
