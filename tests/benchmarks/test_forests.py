"""The verdicts as pictures: where each symbol stands, what it says, and that names are text in it."""

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from examples.benchmarks import report
from examples.benchmarks.engine.claims import Claim, Comparison, Judged, Kind, judge
from examples.benchmarks.engine.forests import MARKS, forest, png, sentence, svg
from examples.benchmarks.engine.page import page
from tests.benchmarks.test_claims import ABOUT, WAVE, rows

pytestmark = pytest.mark.long

HOSTILE = "a|b </svg><script>alert(1)</script> \x1b[2J\n$x$ \ufffe"


def judged(metric="insertion", text="ours > theirs", against="theirs", controls=(), **scores):
    """A claim on one network and on another one."""
    data = {"paths-imagenet20": rows(**scores), "paths-imagenet20-lite1": rows(**scores)}
    shared = ("SAMP", "Table 1", text)
    return judge([Claim(*shared, name, metric, "ours", against, controls) for name in data], data)


def symbols(figure):
    """Of each panel: title -> label -> place on the axis, symbol and size."""
    found, labels = {}, []
    for axis in figure.axes:
        labels = labels if found else [text.get_text() for text in axis.get_yticklabels()]
        single = [line for line in axis.lines if len(line.get_xdata()) == 1 and line.get_marker() not in "<>"]
        found[axis.get_title().replace("\n", " ")] = {
            labels[int(line.get_ydata()[0])]: (float(line.get_xdata()[0]), line.get_marker(), line.get_markersize())
            for line in single
        }
    return found


def test_a_claim_has_a_line_with_its_controls_below_and_a_panel_for_each_network():
    found = judged(ours=0.5 + 0.25 * WAVE, theirs=0.0, fair=0.9, controls=("fair",))
    figure, sentences = forest(found)
    drawn = symbols(figure)
    assert list(drawn) == ["imagenet20 efficientnet-lite0", "imagenet20 efficientnet-lite1"]
    label = "ours > theirs, insertion (Table 1)"
    spread = (0.25 * WAVE).std(ddof=1)
    for panel in drawn.values():
        assert panel[label] == (pytest.approx(0.5 / spread), MARKS[Kind.PARTLY].symbol, 7)
        assert panel["against fair"] == (pytest.approx(-0.4 / spread), MARKS[Kind.OPPOSITE].symbol, 4)
    assert len(sentences) == 4
    seen = found[0].comparisons[0]
    said = "ours > theirs (Table 1; imagenet20; insertion) against theirs: 1 and 0.5, difference +0.5 ["
    assert sentences["effect-0"] == sentence(found[0], seen, found[0].verdict)
    assert sentences["effect-0"].startswith(said)
    assert sentences["effect-0"].endswith("n 12. holds only against theirs, not against fair")
    assert sentences["effect-1"].endswith(". worse")


def test_the_right_side_is_the_better_one_where_lower_is_better():
    figure, _ = forest(judged("deletion", ours=-0.5 + 0.25 * WAVE, theirs=0.0))
    (place, symbol, _), *_ = symbols(figure)["imagenet20 efficientnet-lite0"].values()
    assert place > 0
    assert symbol == MARKS[Kind.HOLDS].symbol
    low, high = next(
        line.get_xdata()
        for line in figure.axes[0].lines
        if len(line.get_xdata()) == 2 and line.get_ydata()[0] == line.get_ydata()[1]
    )
    assert 0 < low < place < high


def test_differences_that_are_all_alike_stand_at_zero_or_at_the_end():
    (place, *_), *_ = symbols(forest(judged(ours=0.0, theirs=0.0))[0])["imagenet20 efficientnet-lite0"].values()
    assert place == 0
    figure, _ = forest(judged(ours=0.5, theirs=0.0))
    (place, *_), *_ = symbols(figure)["imagenet20 efficientnet-lite0"].values()
    assert place == 2.5
    assert "Arrow: beyond the axis (2 of 2)" in " ".join(figure.get_supxlabel().split())


def test_claims_on_other_data_stand_in_a_block_of_their_own_and_the_same_claim_twice_in_two_lines():
    table = rows(ours=0.5 + 0.25 * WAVE, theirs=0.0)
    claims = [Claim("USU", "", "a > b", f"usu-{name}", "insertion", "ours", "theirs") for name in ("x", "y", "x")]
    figure, _ = forest(judge(claims, dict.fromkeys(("usu-x", "usu-y"), table)))
    assert [part.get_suptitle() for part in figure.subfigs] == ["", ""]  # the legend, and one block
    assert [len(panel) for panel in symbols(figure).values()] == [1, 1]  # both lines have the same label
    assert len(figure.axes[0].get_yticks()) == 2
    apart = [Claim("USU", "", f"{name} wins", f"usu-{name}", "insertion", "ours", "theirs") for name in ("x", "y")]
    figure, _ = forest(judge(apart, dict.fromkeys(("usu-x", "usu-y"), table)))
    assert [part.get_suptitle() for part in figure.subfigs] == ["", "1. x", "2. y"]


def test_without_a_comparison_there_is_no_picture():
    assert forest([]) is None
    assert forest([Judged("LPI", *"abcde", 3, "f", Kind.HOLDS, (Comparison("g", "better"),))]) is None


def test_every_verdict_has_a_symbol_of_its_own():
    assert set(MARKS) == set(Kind)
    assert len({(mark.symbol, mark.filled) for mark in MARKS.values()}) == len(Kind)


def test_a_symbol_that_is_pointed_at_says_its_sentence_and_names_are_text():
    found = judged(text=HOSTILE, against=HOSTILE, ours=0.5 + 0.25 * WAVE, **{HOSTILE: 0.0})
    drawn, again = (svg(*forest(found), "SAMP-", HOSTILE) for _ in range(2))
    assert drawn == again
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    root = ElementTree.fromstring(drawn.replace("<svg", f"<svg {names}", 1))
    titles = [one.text for one in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == 2
    assert titles[0].startswith("a|b </svg><script>alert(1)</script> \\x1b[2J\\n$x$")
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
    names = [one.get("id") for one in root.iter() if one.get("id")]
    assert len(set(names)) == len(names)
    assert all(name.startswith("SAMP-") for name in names)
    assert not re.findall(r"(?:url\(|href=\")#(?!SAMP-)", drawn)
    assert "<dc:date>" not in drawn
    assert "http" not in drawn
    text = page({"LPI": found, "SAMP": found}, {}, {}, ABOUT, {})
    assert text.count("<svg") == 2
    assert text.count("<script>") == 1
    names = re.findall(r' id="([^"]*)"', text)
    assert len(set(names)) == len(names)


def test_the_pictures_of_the_summary_are_files_beside_it_and_the_same_each_time(tmp_path, monkeypatch):
    found = judged(ours=0.5 + 0.25 * WAVE, theirs=0.0)
    monkeypatch.setattr(report, "verdicts", lambda _: {"SAMP": found, "WG": []})
    for name in ("a", "b"):
        written = report.write({}, ABOUT, None, tmp_path / name / "results.md")
        assert written == [tmp_path / name / "results.md", tmp_path / name / "images" / "verdicts_samp.png"]
        assert "![Forest plot of the claims of SAMP](images/verdicts_samp.png)" in written[0].read_text()
    pictures = [(tmp_path / name / "images" / "verdicts_samp.png").read_bytes() for name in ("a", "b")]
    assert pictures[0] == pictures[1] == png(forest(found)[0])


def test_a_picture_as_a_file_keeps_the_colour_of_a_verdict_that_is_seldom():
    often = judged(ours=0.5 + 0.25 * WAVE, theirs=0.0)
    seldom = judged(text="another", ours=0.0, theirs=0.5 + 0.25 * WAVE)[:1]
    assert [one.kind for one in often + seldom] == [Kind.HOLDS, Kind.HOLDS, Kind.OPPOSITE]
    pixels = np.asarray(Image.open(io.BytesIO(png(forest(often + seldom)[0]))).convert("RGB")).astype(int)
    for kept in (MARKS[Kind.HOLDS].colour, MARKS[Kind.OPPOSITE].colour, "#ffffff"):
        assert (pixels == [int(kept[k : k + 2], 16) for k in (1, 3, 5)]).all(-1).any()
