"""The server: what it answers, to whom, and that no text of a run is more than text."""

import http.client
import json
import socket
from html.parser import HTMLParser
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from skimage import data

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from captum_ext.core.text import shown
from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.viewer.collection import opened
from captum_ext_integrations.viewer.photographs import Fit
from captum_ext_integrations.viewer.server import Page, photographs_of
from captum_ext_integrations.viewer.serving import Serving
from tests.integrations.viewer.runs import small_run

HOSTILE = [
    "<script>document.title='run'</script>.png",
    '"><img src=x onerror=alert(1)>.png',
    "a\x1b[2J\n\t.png",
    "\u202egnp.exe",
    "</script></table>&amp;&#60;.png",
    "=cmd|' /C calc'!A0.png",
    "قطة/猫 Größe.png",
    "{{7*7}}${7*7}.png",
]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    photos = folder / "photos" / "a"
    photos.mkdir(parents=True)
    Image.fromarray(data.chelsea()).save(photos / "0.png")
    runs = [small_run(folder / name, seed=k) for k, name in enumerate(("ig", "<b>lpi"))]
    collection = opened(runs)
    with Serving(Page(collection, photographs_of(collection, folder / "photos", Fit(20, 16)))) as serving:
        yield serving


def get(serving, path, host=None, method="GET", whole=False):
    """Status, headers and content of what the server answers; `path` is behind the token unless it is the whole one."""
    address = urlsplit(serving.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    try:
        connection.request(method, path if whole else address.path + path, headers={"Host": host or address.netloc})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


class Text(HTMLParser):
    """Elements with their attributes, and the text between them."""

    def __init__(self, content):
        super().__init__()
        self.elements, self.text = [], []
        self.feed(content.decode())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, text):
        self.text.append(text)


def test_the_page_is_a_table_of_rows_without_javascript(served):
    status, headers, content = get(served, "?sort=score&descending=1&target=1")
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    page = Text(content)
    scores = served.page.collection.values("score@0")
    expected = sorted((k for k in range(12) if k % 2), key=lambda k: -scores[k])
    links = [values["href"] for tag, values in page.elements if tag == "a" and "sample/" in values.get("href", "")]
    assert links == [f"./sample/{k}?sort=score&descending=1&target=1" for k in expected]
    assert "b/1.png" in page.text
    assert len(content) < 200_000


def test_the_page_of_a_sample_has_its_numbers_in_each_run_and_links_to_its_neighbours(served):
    status, _, content = get(served, "sample/3?target=1")
    page = Text(content)
    assert status == 200
    assert {values["id"]: values["href"] for tag, values in page.elements if tag == "a" and "id" in values} == {
        "back": "../?target=1",
        "before": "1?target=1",
        "after": "5?target=1",
    }
    assert "wrong" in page.text
    assert "<b>lpi" in page.text


def test_maps_are_the_numbers_of_the_run(served):
    status, headers, content = get(served, "api/map/1/5")
    assert status == 200
    assert headers["x-map-size"] == "4 4"
    expected = served.page.collection.map_of(1, 5)
    np.testing.assert_array_equal(np.frombuffer(content, "<f4").reshape(4, 4), expected)


def test_curves_are_those_of_the_run_and_of_no_other_sample(served, tmp_path):
    status, _, content = get(served, "api/curves/3")
    assert (status, json.loads(content)) == (200, [{}, {}])
    assert get(served, "api/curves/99")[0] == 404
    run = small_run(tmp_path / "run", curves=True)
    with Serving(Page(opened([run]))) as serving:
        assert json.loads(get(serving, "api/curves/3")[2])[0]["insertion"]["scores"] == [3, 3.25, 3.5, 3.75, 4]
        for path in run.glob("rows-*.parquet"):
            path.write_bytes(b"nothing")
        status, _, content = get(serving, "api/curves/3")
    assert status == 404
    assert b"is damaged" in content


def test_photographs_are_read_where_they_are_and_the_reason_is_said_where_not(served):
    status, headers, content = get(served, "photograph/0")
    assert (status, headers["content-type"], content[:2]) == (200, "image/jpeg", b"\xff\xd8")
    status, _, content = get(served, "photograph/1")
    assert (status, content) == (404, b"The photograph could not be read: No such file or directory")


def test_nothing_is_answered_without_the_token_or_by_another_name_of_this_machine(served):
    for path in ("/", "/api/about", "/wrong/", "/static/page.js", "/wrong/api/rows"):
        assert get(served, path, whole=True)[0] == 404
    assert get(served, "", host="attacker.example")[0] == 404
    assert get(served, "", host="attacker.example:80")[0] == 404
    assert get(served, "", host=f"localhost:{urlsplit(served.url).port}")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        *("static/../server.py", "static/%2e%2e/server.py", "static/..%2fserver.py", "static//etc/passwd"),
        *("static/server.py", "api/map/0/../../x", "api/map/9/0", "api/map/0/999", "api/map/0/-1", "sample/999"),
        *("sample/x", "photograph/999", "photograph/..%2f..%2fetc%2fpasswd", "manifest.json"),
        "rows-000000000-000000003-00000000.parquet",
    ],
)
def test_a_path_outside_of_what_is_shown_is_not_found_and_nothing_is_read(served, path):
    status, _, content = get(served, path)
    assert status == 404
    assert len(content) < 200
    assert b"import" not in content
    assert b"root:" not in content


def test_it_changes_nothing_and_says_nothing_of_its_errors(served):
    for method in ("POST", "PUT", "DELETE"):
        assert get(served, "", method=method)[0] == 405
    assert get(served, "api/again", method="GET")[0] == 405
    before = served.page.collection.read_again
    served.page.collection.read_again = lambda: 1 / 0
    try:
        status, _, content = get(served, "api/again", method="POST")
    finally:
        served.page.collection.read_again = before
    assert (status, content) == (500, b"Something went wrong.")


def test_every_answer_forbids_what_is_not_the_pages_own(served):
    for path in ("", "api/about", "static/page.js", "photograph/0", "sample/0"):
        _, headers, _ = get(served, path)
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"


def test_a_port_that_is_in_use_is_said(served):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ArgumentError, match=f"`port` to be one that is free, .* but got {port}, which is in use"):
            Serving(served.page, port)


def test_it_listens_on_this_machine_alone(served):
    assert urlsplit(served.url).hostname == "127.0.0.1"
    assert served._socket.getsockname()[0] == "127.0.0.1"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    failures = [{"index": 8, "name": HOSTILE[0], "error": "OSError: <img src=x onerror=alert(1)>\x1b[2J"}]
    columns_run = small_run(folder / "<i>run", n=8, names=HOSTILE, given={"method": "<u>ig", "model": "\u202em"})
    manifest = columns_run / "manifest.json"
    from captum_ext.dataset.manifest import read_manifest, write_manifest

    content = read_manifest(manifest)
    write_manifest(manifest, {**content, "n_samples": 9, "failures": failures})
    with Serving(Page(opened([columns_run]))) as serving:
        yield serving


def test_texts_of_a_run_are_text_and_no_markup_in_the_page(hostile):
    for path in ("", *(f"sample/{k}" for k in range(9))):
        status, _, content = get(hostile, path)
        page = Text(content)
        assert status == 200
        assert {tag for tag, _ in page.elements} <= {
            *("html", "head", "meta", "title", "link", "script", "body", "a", "header", "h1", "h2", "ul", "li", "div"),
            *(
                "p",
                "form",
                "label",
                "select",
                "option",
                "input",
                "button",
                "main",
                "table",
                "caption",
                "thead",
                "tbody",
            ),
            *("tr", "th", "td", "bdi", "nav", "noscript"),
        }
        assert not any(name.startswith("on") for _, values in page.elements for name in values)
        assert all(values.get("src", "").endswith(".js") for tag, values in page.elements if tag == "script")
    listed = Text(get(hostile, "")[2]).text
    assert all(shown(name) in listed for name in HOSTILE)


def test_texts_of_a_run_are_harmless_lines_in_json(hostile):
    rows = json.loads(get(hostile, "api/rows")[2])["rows"]
    assert [row["name"] for row in rows[:8]] == [shown(name) for name in HOSTILE]
    assert rows[8]["errors"] == ["OSError: <img src=x onerror=alert(1)>\\x1b[2J"]
    raw = get(hostile, "api/rows")[2] + get(hostile, "api/about")[2]
    text = raw.decode()
    assert not any(one in text for one in "\x1b\u202e\n\t")


def test_numbers_that_json_does_not_have_are_words_or_nothing(tmp_path):
    from tests.integrations.viewer.runs import columns_of, write_run

    columns = columns_of(range(3), np.ones((3, 2, 2)), score=[np.inf, -np.inf, np.nan])
    with Serving(Page(opened([write_run(tmp_path / "run", columns, 3)]))) as serving:
        content = get(serving, "api/rows?sort=score")[2]
    assert [row["values"]["score@0"] for row in json.loads(content)["rows"]] == ["-∞", "∞", None]
    assert b"NaN" not in content
    assert b"Infinity" not in content
