"""The page of the documentation with the counts of a campaign."""

from __future__ import annotations

import platform
from importlib.metadata import version

from tests.fuzz.engine import Counts, Outcome
from tests.fuzz.kinds import KINDS

_INTRODUCTION = """# What was tried to break it

Written by `make fuzz`; no number here is typed. Every case is made from a seed and tried once: odd values for every
argument of the public functions, damaged and hostile files, flipped bits, killed processes. "Refused" is an error of a
class that a caller can catch, with the name of the argument or of the file; "right" a result that was compared with
the right one. "Broken" is everything else: another number without a word, an error from the depths, half of a file, a
hang, more memory than a small file deserves.
"""


def page(found: dict[str, Counts], minutes: float, seed: int) -> str:
    """The text of the page."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("captum-ext", "captum", "torch", "numpy"))
    lines = [
        _INTRODUCTION,
        f"{minutes:g} minutes, seed {seed}; {versions}; Python {platform.python_version()}.",
        "",
        "| kind | tried | right | refused | broken | what |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, counts in found.items():
        right, refused = (counts.outcomes[outcome.value] for outcome in Outcome)
        lines.append(f"| {name} | {counts.tried} | {right} | {refused} | {len(counts.broken)} | {KINDS[name].SAYS} |")
    return "\n".join(lines) + "\n"
