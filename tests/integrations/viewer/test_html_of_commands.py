"""Pages that commands write beside their pictures, and the page of a run in a notebook."""

import base64
import json
import re
import urllib.request

import numpy as np
import pytest

pytest.importorskip("typer")

from captum_ext.dataset import DatasetAttributions
from captum_ext_integrations.cli.html_pages import Explained, of_explained
from tests.integrations.cli.calls import FEW_STEPS, fail, succeed
from tests.integrations.cli.conftest import files, here  # noqa: F401 (fixtures)
from tests.integrations.viewer.runs import small_run


def test_explain_writes_a_page_with_the_map_that_it_computed(here):  # noqa: F811
    output = succeed("explain", "cat.png", *FEW_STEPS, "--out", "map.npy", "--html", "map.html")
    assert "map.html" in output
    text = (here / "map.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])
    stored = data["maps"][0]["0"]
    values = np.frombuffer(base64.b64decode(stored["values"]), "<f4").reshape(stored["height"], stored["width"])
    np.testing.assert_array_equal(values, np.load("map.npy"))
    assert set(data["rows"][0]["values"]) == {"score", "sum of the map", "delta"}
    assert data["about"]["unit"] == "attribution of a pixel, in units of the score"
    assert "seed 0" in text
    assert re.search(r"captum-ext \d", text)


def test_evaluate_writes_a_page_with_its_figure_and_its_table(here):  # noqa: F811
    succeed("evaluate", "photos", *FEW_STEPS, "--method", "ig", "--method", "idgi", "--html", "scores.html")
    text = (here / "scores.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in text
    assert "ci_low" in text
    assert text.count("<bdi>idgi</bdi>") == 3
    assert "<script" not in text


def test_a_name_that_is_no_page_is_refused_before_anything_is_computed(here):  # noqa: F811
    assert "--html to be a file whose name ends in .html" in fail("explain", "cat.png", *FEW_STEPS, "--html", "map.png")


def test_names_of_photographs_and_classes_are_text_in_the_page():
    hostile = "</script><img src=x onerror=alert(1)>\x1b\u202e"
    page = of_explained(
        Explained(
            hostile, np.zeros((2, 2, 3)), np.eye(2), hostile, hostile, hostile, "unit", 0, {hostile: 1.0}, [hostile]
        )
    ).decode()
    assert "<img" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert page.count("<script") == page.count("</script>") == 6


def test_a_run_shows_itself_beside_another_and_ends_when_it_is_closed(tmp_path):
    pytest.importorskip("uvicorn")
    runs = [DatasetAttributions(small_run(tmp_path / name, seed=k)) for k, name in enumerate(("ig", "lpi"))]
    page = runs[0].view(runs[1])
    try:
        with urllib.request.urlopen(page.url + "api/about") as answer:
            assert [run["label"] for run in json.load(answer)["runs"]] == ["ig", "lpi"]
        assert f'<iframe src="{page.url}"' in page._repr_html_()
    finally:
        page.close()
    with pytest.raises(OSError, match=r"refused"):
        urllib.request.urlopen(page.url, timeout=5)
