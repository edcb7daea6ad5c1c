"""Names of a caller's methods, folders and errors on the page and in the summary, which are written whole."""

import errno
import os
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from examples.benchmarks import report
from examples.benchmarks.engine.claims import Comparison, Judged, Kind
from examples.benchmarks.engine.page import page
from examples.benchmarks.engine.summary import summary, verdict_lines
from examples.benchmarks.engine.tables import View, fill

NAME = "a|b <!-- </script><script>alert(1)</script> \x1b[2J\n$x$"
SHOWN = "a|b <!-- </script><script>alert(1)</script> \\x1b[2J\\n$x$"
ABOUT = {
    "versions": {"python": "3"},
    "commit": "1",
    "seed": 0,
    "size": "small",
    "data": NAME,
    "digest": "0",
    "machine": {"processor": "p", "cores": 1, "memory": "1 GB"},
    "workers": "1",
    "cost": "nothing",
    "failures": [NAME],
}


def table():
    rows = [
        {"sample": sample, "method": method, "diff_id": 0.1 * sample + shift, "diff_id_curve": [0.1, 0.2]}
        for sample in range(4)
        for method, shift in ((NAME, 0.0), ("IG (zero)", 0.1))
    ]
    view = View("key", f"table of {NAME}", "paths", ("diff_id",), NAME, plotted="diff_id", curve="diff_id")
    return fill(view, {"paths": pd.DataFrame(rows)}, n_resamples=100)


def verdicts():
    compared = (Comparison(NAME, "better"),)
    return {"LPI": [Judged("LPI", "Table 1", NAME, NAME, "DiffID", "", 4, "holds", Kind.HOLDS, compared)]}


class Parsed(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.comments = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)

    def handle_comment(self, data):
        self.comments.append(data)


def test_a_name_is_text_on_the_page():
    pictured = pd.DataFrame({"method": [NAME], "sample": [NAME], "picture": [b"a"], "photograph": [b"b"]})
    parsed = Parsed(page(verdicts(), {"LPI": [table()]}, {NAME: pictured}, ABOUT, {}))
    assert parsed.tags.count("script") == 1
    assert parsed.comments == []
    assert parsed.texts.count(SHOWN) >= 4  # cells of the verdict, the method, the title of the gallery
    assert f"failed: {SHOWN}" in parsed.texts
    assert not any("\x1b" in text for text in parsed.texts)


def test_a_name_is_text_in_the_summary_and_no_cell_of_its_own():
    text = summary(verdicts(), [table()], ABOUT, {}, {})
    assert "\x1b" not in text
    assert "<!--" not in text.replace("\\<!--", "")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for block in (rows[3:6], rows[6:]):
        assert len({line.replace("\\\\", "").replace("\\|", "").count("|") for line in block}) == 1
    assert len(verdict_lines(verdicts()["LPI"])) == 3


def test_half_of_a_page_takes_no_other_page_away(tmp_path, monkeypatch):
    target = tmp_path / "page.html"
    target.write_text("what was there before")
    really = Path.write_bytes

    def half(self, content):
        really(self, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match=f"No space left for {target}"):
        report._write(target, b"a new page")
    assert target.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [target]
