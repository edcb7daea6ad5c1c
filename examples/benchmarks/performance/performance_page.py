"""The page, written from kept rows and from nothing else."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

from examples.benchmarks.engine.reporting import Table
from examples.benchmarks.performance.programs import PROGRAMS, Program

_INTRODUCTION = """# What it costs

Written by `make benchmark-speed`; no number here is typed. Every section names its command, where it ran, and the
commit. Seconds say more about that machine than about the package; ratios are of pairs that follow each other. Where a
section measures seconds, the machine's load before it is given: other work changes them.
"""


#: Networks as the programs' arguments call them, and as the page does; "efficientnet:8" has eight images.
_NETWORKS = {
    "efficientnet": "EfficientNet-Lite0",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "small": "five layers, 28 x 28",
    "vit_b_16": "ViT-B/16",
}


def page(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of the page from what was measured, by program."""
    contents = [f"- [{program.title}](#{_anchor(program.title)})" for program in PROGRAMS]
    sections = [_section(program, kept.get(program.name)) for program in PROGRAMS]
    return "\n".join([_INTRODUCTION, *contents, "", *sections])


def _anchor(title: str) -> str:
    """Where MyST's heading anchors put a title."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _section(program: Program, found: Mapping[str, Any] | None) -> str:
    lines = [f"## {program.title}", "", "```sh", program.command if found is None else found["command"], "```", ""]
    lines += [_filled(paragraph) + "\n" for paragraph in program.about.split("\n\n")]
    if found is None:
        return "\n".join([*lines, "Not measured yet.\n"])
    lines += [_origin(found, program.timed), ""]
    for table in found["tables"]:
        rows = [[_called(row[0]), *row[1:]] for row in table["rows"]]
        lines += [table["title"] + ":", "", *Table(table["title"], table["header"], rows).lines(), ""]
    return "\n".join(lines)


def _called(cell: Any) -> Any:
    """A network's name, with its number of images where it has one; another first cell as it is."""
    name, _, n_images = str(cell).partition(":")
    return f"{_NETWORKS[name]}{n_images and f' x {n_images}'}" if name in _NETWORKS else cell


def _origin(found: Mapping[str, Any], timed: bool) -> str:
    machine, versions = found["machine"], found["versions"]
    packages = ", ".join(f"{name} {versions[name]}" for name in ("captum-ext", "captum", "torch", "numpy", "python"))
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}"
    load = f", load {found['load']:.1f} before" if timed else ""
    minutes = f" in {found['seconds'] / 60:.1f} minutes" if timed else ""
    return _filled(f"Measured {found['measured']}{minutes} at commit {found['commit']}; {where}{load}; {packages}.")


def _filled(paragraph: str) -> str:
    """A paragraph of prose in lines of the documentation's width; a list or a table as it is."""
    if paragraph.lstrip().startswith(("-", "|", "`")) or "\n    " in paragraph:
        return paragraph
    return textwrap.fill(" ".join(paragraph.split()), 130, break_long_words=False, break_on_hyphens=False)
