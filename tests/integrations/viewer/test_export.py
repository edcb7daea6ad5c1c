"""The page as a file: all of it inside, and nothing of it run but its own scripts."""

import base64
import csv
import hashlib
import json
import re

import numpy as np
import pytest
from PIL import Image
from skimage import data

pytest.importorskip("starlette")

from captum_ext.core.text import shown
from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.viewer.collection import opened
from captum_ext_integrations.viewer.export import export
from captum_ext_integrations.viewer.photographs import Fit
from captum_ext_integrations.viewer.questions import Question
from captum_ext_integrations.viewer.server import Page, photographs_of
from tests.integrations.viewer.runs import small_run
from tests.integrations.viewer.test_server import HOSTILE


def embedded(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


@pytest.fixture
def page(tmp_path):
    (tmp_path / "photos" / "a").mkdir(parents=True)
    Image.fromarray(data.chelsea()).save(tmp_path / "photos" / "a" / "0.png")
    collection = opened([small_run(tmp_path / "ig"), small_run(tmp_path / "lpi", seed=1)])
    return Page(collection, photographs_of(collection, tmp_path / "photos", Fit(20, 16)))


def test_the_samples_on_which_methods_disagree_most_are_in_the_file(page, tmp_path):
    written = export(page, tmp_path / "out", Question(sort="disagreement", descending=True), 3)
    values = page.collection.values("disagreement@0-1")
    assert written == np.argsort(-values)[:3].tolist()
    found = embedded(tmp_path / "out" / "index.html")
    assert [row["index"] for row in found["rows"]] == written
    assert found["sort"] == "disagreement@0-1"
    assert found["asked"] == "the first of 12, by disagreement of ig and lpi, largest first"
    assert f"; <bdi>{found['asked']}</bdi>" in (tmp_path / "out" / "index.html").read_text()
    stored = found["maps"][1][str(written[0])]
    numbers = np.frombuffer(base64.b64decode(stored["values"]), "<f4").reshape(stored["height"], stored["width"])
    np.testing.assert_array_equal(numbers, page.collection.map_of(1, written[0]))


def test_curves_are_inside_where_a_run_has_them(tmp_path):
    collection = opened([small_run(tmp_path / "ig", curves=True), small_run(tmp_path / "lpi", seed=1)])
    export(Page(collection), tmp_path / "out", Question(), 2, samples=[3])
    found = embedded(tmp_path / "out" / "index.html")
    assert found["about"]["curves"]
    assert found["curves"]["3"][0]["insertion"]["scores"] == [3, 3.25, 3.5, 3.75, 4]
    assert found["curves"]["3"][1] == {}


def test_the_file_says_how_its_samples_were_chosen(page, tmp_path):
    export(page, tmp_path / "all", Question(sort="score", right="right"), 100)
    assert embedded(tmp_path / "all" / "index.html")["asked"] == "by score of ig, smallest first, right in every run"
    export(page, tmp_path / "some", Question(), 10, samples=[3, 1])
    assert embedded(tmp_path / "some" / "index.html")["asked"] == "chosen by number"


def test_photographs_are_inside_or_the_reason_is(page, tmp_path):
    export(page, tmp_path / "out", Question(), 2, samples=[1, 0])
    found = embedded(tmp_path / "out" / "index.html")
    assert [row["index"] for row in found["rows"]] == [1, 0]
    assert found["photographs"]["0"].startswith("data:image/jpeg;base64,")
    assert found["why"] == {"1": "The photograph could not be read: No such file or directory"}


def test_what_is_not_shown_is_said_in_the_file_and_to_the_caller(page, tmp_path):
    first = sorted((tmp_path / "ig").glob("rows-*.parquet"))[0]
    first.unlink()
    heard = []
    export(page, tmp_path / "out", Question(), 3, say=heard.append)
    gone = f"Of {first.name} of ig maps are not shown, and not compared: it is gone."
    photographs = "2 of 3 samples have no photograph here. The photograph could not be read: No such file or directory"
    assert heard == [gone, photographs]
    found = embedded(tmp_path / "out" / "index.html")
    assert found["about"]["notices"] == heard
    assert [sorted(one) for one in found["maps"]] == [[], ["0", "1", "2"]]
    assert str(tmp_path) not in (tmp_path / "out" / "index.html").read_text()


def test_only_its_own_scripts_and_styles_may_run(page, tmp_path):
    export(page, tmp_path / "out", Question(), 2)
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; img-src data:;")
    blocks = re.findall(r"<script>(.*?)</script>", text, re.DOTALL) + re.findall(
        r"<style>(.*?)</style>", text, re.DOTALL
    )
    digests = {base64.b64encode(hashlib.sha256(block.encode()).digest()).decode() for block in blocks}
    assert len(digests) == 6
    assert set(re.findall(r"'sha256-([^']*)'", policy)) == digests
    assert not re.search(r'(src|href)="(https?:)?//', text)


def test_texts_of_a_run_end_no_script_and_begin_no_formula(tmp_path):
    page = Page(opened([small_run(tmp_path / "run", n=8, names=HOSTILE)]))
    export(page, tmp_path / "out", Question(), 8)
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert text.count("<script") == 6
    assert text.count("</script>") == 6
    assert "<img" not in text
    assert [row["name"] for row in embedded(tmp_path / "out" / "index.html")["rows"]] == [shown(one) for one in HOSTILE]
    with (tmp_path / "out" / "samples.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][:3] == ["sample", "name", "target of run"]
    assert rows[6][1] == "'" + HOSTILE[5]
    assert rows[1][2] == str(int(page.collection.values("target@0")[0]))  # a class is no 3.0
    assert float(rows[1][4]) == page.collection.values("score@0")[0]


def test_what_cannot_be_written_is_said(page, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ArgumentError, match="`limit` to be 1 to 500 samples in a page, but got 501"):
        export(page, out, Question(), 501)
    with pytest.raises(ArgumentError, match="`sort` to be one of index, name, disagreement@0-1, target@0"):
        export(page, out, Question(sort="nothing"), 3)
    with pytest.raises(
        ArgumentError, match="`where` to be filters that a sample passes, but got name has “nothing”: none does."
    ):
        export(page, out, Question(name="nothing"), 3)
    with pytest.raises(ArgumentError, match="`sample` to be numbers of samples that are in the runs, but got 99"):
        export(page, out, Question(), 3, samples=[1, 99])
    assert not out.exists()
    out.write_text("a file")
    with pytest.raises(OSError, match="exists"):
        export(page, out, Question(), 3)
