"""The page of the documentation, written from the files of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_INTRODUCTION = """# On a GPU

Written by `python -m examples.benchmarks.accelerator --page`; no number here is typed. Networks have random weights
unless said otherwise: costs do not depend on them. "Of bare" is the share of the throughput of the same passes without
a method: 1 is all of it. Figures hold for the card that they stand under.
"""
_PARTS = {
    "throughput": (
        "Integrated gradients and local path integration beside the bare passes",
        "`rows` are in flight at once (`internal_batch_size`); one image; median of {runs} rounds in turn. Where "
        "passes are short, in bfloat16 and compiled, the processor's launches decide, and a share moves by more than a "
        "tenth from run to run, also above 1.",
    ),
    "completeness": (
        "A given completeness",
        "EfficientNet-Lite0 with its weights, 20 real images, zero baseline; Captum with 512 rows in flight. "
        "One image at a time the adaptive rule asks for few rows at once, and the card waits for their launches: "
        "give it several images.",
    ),
    "scoring": ("Metrics and scores of an upsampler", "Beside the forward passes that each makes."),
    "data set": (
        "Maps of many images",
        "`attribute_dataset` writes maps in float16; the loop keeps nothing of what it computes. What is left of the "
        "loop is a matter of the processor beside the card, which reads, digests and writes: how fast that one is "
        "shows in the time of a launched pass of one row below.",
    ),
    "graphs": ("CUDA graphs", "One pass both ways of ResNet-50 in float32, launched and replayed: not used here."),
}


def page(files: Sequence[Mapping[str, Any]]) -> str:
    """The text of the page from what was measured, one section for each card."""
    return "\n".join([_INTRODUCTION, *(_section(figures) for figures in _of_one_environment(files))])


def _of_one_environment(files: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Files of the same card, day and versions as one, with their rows below each other."""
    together: list[dict[str, Any]] = []
    for figures in files:
        same = [one for one in together if all(one[name] == figures[name] for name in ("environment", "runs"))]
        if not same:
            together.append({name: list(value) if name in _PARTS else value for name, value in figures.items()})
        for part in _PARTS.keys() & figures.keys() if same else ():
            same[0].setdefault(part, []).extend(figures[part])
    return together


def _section(figures: Mapping[str, Any]) -> str:
    environment = dict(figures["environment"])
    title = ", measured ".join(environment.pop(name) for name in ("card", "measured") if name in environment)
    lines = [f"## {title}", "", ", ".join(f"{name} {value}" for name, value in environment.items())]
    for part, (title, note) in _PARTS.items():
        if part not in figures:
            continue
        rows = figures[part]
        lines += ["", f"### {title}", "", note.format(runs=figures["runs"]), ""]
        lines += _table(rows) if rows else ["Not measured."]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    body = ["| " + " | ".join(_cell(row.get(name, "")) for name in names) + " |" for row in rows]
    return ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names), *body]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
