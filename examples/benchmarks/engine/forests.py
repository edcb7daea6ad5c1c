"""The verdicts as pictures: a forest plot for each paper, with a sentence for each of its symbols."""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from captum_ext.core.text import shown
from captum_ext.visualize import Caption, Effect, ForestLine, Mark, save_figure, show_forest
from examples.benchmarks.engine.claims import NONE, Comparison, Difference, Judged, Kind
from examples.benchmarks.engine.tables import METRICS

_FARTHEST = 2.5  # standard deviations, beyond which an arrow stands
_GREY = "#6b7480"
#: Colours that differ for every kind of colour blindness, and symbols that differ without colours.
MARKS = {
    Kind.HOLDS: Mark("holds; small: better than the control", "#0072b2", "o"),
    Kind.PARTLY: Mark("holds only against the paper's comparison", "#b87400", "D"),
    Kind.NOT_CONTRADICTED: Mark("no difference claimed, none seen", "#0072b2", "s", filled=False),
    Kind.NOT_REPRODUCED: Mark("not reproduced; small: no difference from the control seen", _GREY, "o", filled=False),
    Kind.OPPOSITE: Mark("the opposite; small: worse than the control", "#c0392b", "X"),
    Kind.TOO_FEW: Mark("too few samples to tell", _GREY, "_", filled=False),
    Kind.COMPARISON: Mark("for comparison", _GREY, "d", filled=False),
}
_OF_CONTROLS = {"better": Kind.HOLDS, NONE: Kind.NOT_REPRODUCED, "worse": Kind.OPPOSITE}
_NOTES = (
    "Differences are paired and in units of their own standard deviation, so that metrics share an axis; to the right: "
    "as the paper claims, whether higher or lower is better",
    "Lines: 95 % BCa intervals of the mean, in the same units. Verdicts are the Wilcoxon test's after Holm's "
    "correction over all comparisons of the paper, by ranks",
)
_SVG, _LINKS = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_NOT_IN_XML = re.compile("[\ufffe\uffff]")
Lines = dict[tuple[str, ...], dict[str, dict[str, Effect]]]


def forest(judged: Sequence[Judged]) -> tuple[Any, dict[str, str]] | None:
    """The figure of a paper's claims, and a sentence for each name of an effect in it; None: nothing was compared.

    A line is a claim with its metric, with a line below it for each control; a panel is data with a network.
    """
    lines: Lines = {}
    sentences: dict[str, str] = {}
    for one in judged:
        if not one.comparisons or one.comparisons[0].seen is None:
            continue
        panel = f"{one.base or one.data} {one.network}".strip()
        of_claim = _lines_of(lines, one, panel)
        for place, comparison in enumerate(one.comparisons):
            if comparison.seen is None:
                continue
            name = f"effect-{len(sentences)}"
            mark = MARKS[one.kind if place == 0 else _OF_CONTROLS[comparison.side]]
            of_claim.setdefault(comparison.against, {})[panel] = _effect(comparison.seen, mark, name)
            sentences[name] = sentence(one, comparison, one.verdict if place == 0 else comparison.side)
    if not sentences:
        return None
    blocks = _blocks(lines)
    caption = Caption(unit="← against | for it →", notes=_NOTES)
    return show_forest(blocks, limit=_limit(blocks), caption=caption), sentences


def _lines_of(lines: Lines, one: Judged, panel: str) -> dict[str, dict[str, Effect]]:
    """The lines of a claim: those it has on other data, or new ones where it has been on these data already."""
    keys = ((one.where, one.text, one.metric, str(number)) for number in itertools.count())
    key = next(key for key in keys if not any(panel in effects for effects in lines.get(key, {}).values()))
    return lines.setdefault(key, {})


def _effect(seen: Difference, mark: Mark, name: str) -> Effect:
    """A difference in units of its standard deviation, whose right side is the better one."""
    sign = 1 if METRICS[seen.claim.metric].higher_is_better else -1
    numbers = [sign * _scaled(number, seen) for number in (seen.difference, seen.low, seen.high)]
    return Effect(numbers[0], min(numbers[1:]), max(numbers[1:]), mark, name)


def _scaled(number: float, seen: Difference) -> float:
    if math.isnan(seen.cohens_d):  # the differences are all alike
        return 0.0 if seen.p == 1 else math.copysign(math.inf, number)
    return number / seen.spread


def sentence(one: Judged, comparison: Comparison, verdict: str) -> str:
    """What a symbol says, in words and numbers."""
    seen = comparison.seen
    if seen is None:
        return ""
    where = "; ".join(part for part in (one.where, one.data, one.metric) if part)
    numbers = f"{seen.means[0]:.3g} and {seen.means[1]:.3g}, difference {seen.difference:+.3g}"
    tests = f"[{seen.low:.3g}, {seen.high:.3g}], p {comparison.holm:.2g} (Holm), d {seen.cohens_d:.2f}, n {seen.n}"
    return f"{one.text} ({where}) against {comparison.against}: {numbers} {tests}. {verdict}"


def _limit(blocks: Mapping[str, Sequence[ForestLine]]) -> float:
    effects = [effect for lines in blocks.values() for line in lines for effect in line.effects.values()]
    ends = [abs(end) for effect in effects for end in (effect.difference, effect.low, effect.high)]
    return max(0.5, *(min(end, _FARTHEST) for end in ends if not math.isnan(end)))


def _blocks(lines: Lines) -> dict[str, list[ForestLine]]:
    """Lines with the data that they share, and claims that are on other data apart."""
    groups: list[tuple[set[str], list[ForestLine]]] = []
    for (where, text, metric, _), of_claim in lines.items():
        made = [
            ForestLine(f"against {against}" if number else _label(text, metric, where), effects, is_minor=number > 0)
            for number, (against, effects) in enumerate(of_claim.items())
        ]
        panels = {panel for effects in of_claim.values() for panel in effects}
        joined = [group for group in groups if group[0] & panels]
        groups = [group for group in groups if not group[0] & panels]
        panels.update(*(group[0] for group in joined))
        groups.append((panels, [line for group in joined for line in group[1]] + made))
    if len(groups) == 1:
        return {"": groups[0][1]}
    return {f"{number}. {_title(made)}": made for number, (_, made) in enumerate(groups, 1)}


def _label(text: str, metric: str, where: str) -> str:
    return f"{text}, {metric}" + (f" ({where.strip('()')})" if where else "")


def _title(lines: Sequence[ForestLine]) -> str:
    """What the names of all panels have in common; without anything, what they begin with."""
    names = [panel.split(", ") for line in lines for panel in line.effects]
    common = [part for part in names[0] if all(part in name for name in names)]
    return ", ".join(common or dict.fromkeys(name[0].partition(" ")[0] for name in names))


def png(figure: Any) -> bytes:
    """The picture as a file of 256 colours, for pages that show no sentence when they are pointed at."""
    drawn, file = io.BytesIO(), io.BytesIO()
    save_figure(figure, drawn, dpi=110)
    _of_few_colours(Image.open(drawn).convert("RGB")).save(file, "PNG", optimize=True)
    return file.getvalue()


def _of_few_colours(picture: Image.Image) -> Image.Image:
    """With its 256 commonest colours as they are, and of the others, which smooth edges, the nearest of these: median
    cut and octree change those of symbols, of which few pixels are, or of the ground."""
    pixels = np.asarray(picture).astype(np.int64) @ [1 << 16, 1 << 8, 1]
    codes, places, counts = np.unique(pixels, return_inverse=True, return_counts=True)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], 1)
    common = colours[np.argsort(-counts, kind="stable")[:256]]
    nearest = np.square(colours[:, None] - common).sum(2).argmin(1).astype(np.uint8)
    few = Image.fromarray(nearest[places.reshape(pixels.shape)])
    few.putpalette(common.astype(np.uint8).tobytes())
    return few


def svg(figure: Any, sentences: Mapping[str, str], prefix: str, alt: str) -> str:
    """The picture for an HTML page, in which a symbol that is pointed at says its sentence.

    Args:
        figure: from `forest`.
        sentences: by the name of an effect.
        prefix: of all names in it, which another picture of the page must not have.
        alt: what it shows.
    """
    file = io.BytesIO()
    save_figure(figure, file, format="svg")
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINKS)
    root = ElementTree.fromstring(_NOT_IN_XML.sub("\ufffd", file.getvalue().decode()))
    for part in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(part)
    for element in root.iter():
        if element.get("id") in sentences:
            title = ElementTree.Element(f"{{{_SVG}}}title")
            title.text = shown(sentences[element.attrib["id"]])
            element.insert(0, title)
        for name, value in element.attrib.items():
            element.set(name, _prefixed(name, value, prefix))
    root.attrib |= {"role": "img", "aria-label": shown(alt)}
    text = _NOT_IN_XML.sub("\ufffd", ElementTree.tostring(root, encoding="unicode"))
    return re.sub(r' xmlns(:xlink)?="[^"]*"', "", text, count=2)  # which HTML knows


def _prefixed(name: str, value: str, prefix: str) -> str:
    """An attribute whose names of elements are those of one picture alone."""
    if name == "id":
        return prefix + value
    if name.endswith("href") and value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    return value.replace("url(#", f"url(#{prefix}")
