"""The page in a real Chromium: sorting, filters, sliders, keyboard, files from disk, names of others, accessibility."""

import shutil

import numpy as np
import pytest
from PIL import Image
from skimage import data

pytest.importorskip("starlette")
pytest.importorskip("playwright")
pytest.importorskip("axe_playwright_python")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from captum_ext.visualize import colorize, symmetric_limits
from captum_ext_integrations.cli.html_pages import Explained, of_explained
from captum_ext_integrations.viewer.collection import opened
from captum_ext_integrations.viewer.export import export
from captum_ext_integrations.viewer.photographs import Fit
from captum_ext_integrations.viewer.questions import Question
from captum_ext_integrations.viewer.server import Page, photographs_of
from captum_ext_integrations.viewer.serving import Serving
from tests.integrations.viewer.runs import small_run
from tests.integrations.viewer.test_server import HOSTILE

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's chromium is not installed"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
N = 60
PIXELS = """(k) => { const c = document.querySelectorAll('canvas.map')[k];
    return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data); }"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    for k in range(N):
        path = folder / "photos" / "ab"[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(data.chelsea()[::4, ::4], 3 * k, 1)).save(path)
    for seed, name in enumerate(("ig", "lpi")):
        small_run(folder / name, N, seed=seed, size=(14, 14), shard_rows=16)
    return folder


@pytest.fixture(scope="module")
def page_of_runs(folder):
    collection = opened([folder / "ig", folder / "lpi"])
    collection.comparisons.compute()
    return Page(collection, photographs_of(collection, folder / "photos", Fit(64, 56)))


@pytest.fixture(scope="module")
def address(page_of_runs):
    with Serving(page_of_runs) as serving:
        yield serving.url


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as host:
        browser = host.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium, address):
    """A tab of which the console has to stay quiet, and which asks nobody but the server or the disk."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    said, asked = [], []
    tab.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    tab.on("request", lambda request: asked.append(request.url))
    yield tab
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "file://", "data:", "blob:"))] == []


def shown(tab, path):
    tab.goto(path)
    drawn(tab)
    return tab


def drawn(tab):
    tab.wait_for_selector("#main[data-ready]")
    tab.wait_for_function(
        "document.querySelectorAll('canvas.map').length && "
        "[...document.querySelectorAll('canvas.map')].every((one) => one.width > 1)"
    )


def names(tab):
    return tab.locator(".tile .name a").all_inner_texts()


def after(tab, act):
    """Do something that asks for rows, and wait for what it shows."""
    before = tab.get_attribute("#main", "data-ready")
    act()
    tab.wait_for_function("(before) => document.getElementById('main').dataset.ready !== before", arg=before)


def test_rows_are_sorted_filtered_and_turned_and_the_link_keeps_it(tab, address, page_of_runs):
    shown(tab, address)
    assert len(names(tab)) == 24
    after(tab, lambda: tab.select_option('[name="sort"]', "disagreement@0-1"))
    after(tab, lambda: tab.select_option('[name="descending"]', "1"))
    values = page_of_runs.collection.values("disagreement@0-1")
    order = np.argsort(-values, kind="stable")
    assert names(tab) == [f"{'ab'[k % 2]}/{k}.png" for k in order[:24]]
    after(tab, lambda: tab.keyboard.press("n"))
    assert names(tab) == [f"{'ab'[k % 2]}/{k}.png" for k in order[24:48]]
    link = tab.url
    after(tab, lambda: (tab.fill('[name="target"]', "1"), tab.keyboard.press("Enter")))
    assert names(tab) == [f"b/{k}.png" for k in order if k % 2][:24]
    after(tab, lambda: tab.select_option('[name="right"]', "wrong"))
    assert names(tab) == [f"b/{k}.png" for k in order if k % 2 and k % 3 == 0]
    shown(tab, link)
    assert names(tab) == [f"{'ab'[k % 2]}/{k}.png" for k in order[24:48]]
    assert tab.input_value('[name="sort"]') == "disagreement@0-1"
    shown(tab, address + "?sort=disagreement")
    assert tab.input_value('[name="sort"]') == "disagreement@0-1"


def test_colours_are_those_of_visualize_on_one_range_for_each_run(tab, address, page_of_runs):
    shown(tab, address + "?rows=3")
    maps = np.stack([[page_of_runs.collection.map_of(run, place) for run in range(2)] for place in range(3)])
    for run in range(2):
        limits = symmetric_limits(maps[:, run])
        for place in range(3):
            pixels = np.array(tab.evaluate(PIXELS, 2 * place + run)).reshape(14, 14, 4)
            difference = np.abs(pixels[..., :3] - colorize(maps[place, run], limits).astype(int))
            assert (
                difference.max(-1) > 6
            ).mean() == 0  # the neighbouring colour at most: limits are rounded to float32
            assert (difference.max(-1) > 0).mean() < 0.02
            assert (pixels[..., 3] == 255).all()


def test_the_slider_covers_all_but_the_largest_numbers(tab, address, page_of_runs):
    shown(tab, address + "?rows=2&keep=20")
    values = page_of_runs.collection.map_of(0, 1)
    pixels = np.array(tab.evaluate(PIXELS, 2)).reshape(14, 14, 4)
    most = int(0.2 * values.size)
    kept = values > np.sort(values.ravel())[values.size - most - 1]
    np.testing.assert_array_equal(pixels[..., 3] == 0, kept)  # the photograph is seen there
    assert "the areas of curves, not the curves" in tab.inner_text("#legend")
    tab.focus("#keep")
    tab.keyboard.press("End")
    assert tab.evaluate(PIXELS, 2)[3] == 255
    tab.wait_for_function("!location.search.includes('keep')")


def test_the_page_of_a_sample_has_curves_and_the_score_of_what_is_kept(tab, tmp_path):
    runs = [small_run(tmp_path / name, seed=seed, curves=seed < 2) for seed, name in enumerate(("ig", "lpi", "none"))]
    page = Page(opened(runs))
    with Serving(page) as serving:
        shown(tab, f"{serving.url}sample/3?keep=50")
        figure = tab.locator("#curves figure")
        assert figure.count() == 1
        assert tab.locator("#curves polyline").count() == 2
        label = tab.locator("#curves svg[role=img]").get_attribute("aria-label")
        assert label == "insertion: ig from 3 to 4, lpi from 3 to 4"
        lines = [text.strip() for text in figure.locator("li").all_inner_texts()]
        assert lines == ["ig: 3.5 at 50 %", "lpi: 3.25 at 50 %"]
        tab.locator("#keep").fill("100")
        assert [text.strip() for text in figure.locator("li").all_inner_texts()] == ["ig", "lpi"]
        tab.screenshot(path=tmp_path / "curves.png")
        found = Axe().run(tab).response["violations"]
        assert [one["id"] for one in found] == []
    export(page, tmp_path / "out", Question(), 2)
    shown(tab, f"file://{tmp_path / 'out' / 'index.html'}#sample=1&keep=50")
    assert figure.locator("li").first.inner_text().strip() == "ig: 1.5 at 50 %"


def test_opacity_and_ranges_are_changed_and_said(tab, address):
    shown(tab, address + "?rows=2")
    assert tab.locator("#legend canvas").count() == 2
    tab.select_option("#scale", "all")
    assert tab.locator("#legend canvas").count() == 1
    tab.select_option("#scale", "map")
    assert "do not compare" in tab.inner_text("#legend")
    tab.focus("#opacity")
    tab.keyboard.press("Home")
    assert tab.evaluate("getComputedStyle(document.querySelector('canvas.map')).opacity") == "0"
    assert "scale=map" in tab.url


def test_the_keyboard_goes_from_tile_to_tile_into_a_sample_and_back(tab, address):
    shown(tab, address + "?target=1&rows=5")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("document.activeElement.textContent") == "b/3.png"
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#main[data-index='3']")
    drawn(tab)
    assert tab.locator("canvas.map").count() == 2
    assert "2 of 30 in this order" in tab.inner_text("#main")
    tab.locator("body").press("ArrowRight")
    tab.wait_for_selector("#main[data-index='5']")
    drawn(tab)
    tab.locator("body").press("Escape")
    tab.wait_for_selector(".grid")
    drawn(tab)
    assert names(tab)[0] == "b/1.png"
    tab.keyboard.press("/")
    assert tab.evaluate("document.activeElement.name") == "name"


def test_without_javascript_there_is_a_table_with_links(chromium, address):
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(address)
    tab.select_option('[name="sort"]', "score@1")
    tab.click("#form button")
    assert "sort=score%401" in tab.url
    assert tab.locator("tbody tr").count() == 24
    tab.click("text=Next page")
    assert "page 2 of 3" in tab.inner_text("#main")
    tab.click("tbody a >> nth=0")
    assert tab.locator("h2").inner_text().startswith("Sample ")
    assert tab.locator("noscript img, img").count() == 1
    context.close()


def test_a_file_opens_from_disk_without_a_server(tab, page_of_runs, tmp_path):
    written = export(page_of_runs, tmp_path, Question(sort="disagreement", descending=True), 10)
    shown(tab, (tmp_path / "index.html").as_uri())
    assert names(tab) == [f"{'ab'[k % 2]}/{k}.png" for k in written]
    assert tab.locator("img.photograph").count() == 20
    assert tab.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth === 56)")
    tab.locator(".tile a").nth(1).click()
    tab.wait_for_selector(".figures.large")
    drawn(tab)
    assert f"#sample={written[1]}" in tab.url.replace("&", "#")
    tab.locator("body").press("ArrowRight")
    tab.wait_for_function(f"location.hash.includes('sample={written[2]}')")
    tab.locator("body").press("Escape")
    tab.wait_for_selector(".grid")


def test_a_file_shows_the_number_that_it_is_sorted_by_and_says_how_its_samples_were_chosen(tab, page_of_runs, tmp_path):
    export(page_of_runs, tmp_path, Question(sort="score@1", descending=True), 3)
    shown(tab, (tmp_path / "index.html").as_uri())
    assert tab.inner_text("[role=status]") == "3 samples; the first of 60, by score of lpi, largest first"
    assert "score of lpi" in tab.locator(".tile").first.inner_text()
    assert "score of ig" not in tab.locator(".tile").first.inner_text()


def test_the_print_of_a_dark_page_is_dark_on_white_and_nothing_is_cut_off(chromium, address):
    for script in (True, False):
        context = chromium.new_context(color_scheme="dark", java_script_enabled=script, bypass_csp=True)
        tab = context.new_page()
        tab.goto(address)
        link = "#main a >> nth=0"
        tab.wait_for_selector("#main[data-ready]" if script else link)
        assert tab.locator(link).evaluate("(one) => getComputedStyle(one).color") == "rgb(156, 194, 255)"
        tab.emulate_media(media="print", color_scheme="dark")
        assert tab.locator(link).evaluate("(one) => getComputedStyle(one).color") == "rgb(11, 79, 184)"
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        if not script:
            assert tab.locator(".wide").evaluate("(one) => getComputedStyle(one).overflowX") == "visible"
        context.close()


def test_names_are_shown_as_they_are_and_nothing_of_them_runs(tab, tmp_path):
    from captum_ext.core.text import shown as escaped

    page = Page(opened([small_run(tmp_path / "<img src=x onerror=alert(1)>", n=8, names=HOSTILE)]))
    with Serving(page) as serving:
        shown(tab, serving.url)
        assert names(tab) == [escaped(one) for one in HOSTILE]
        assert tab.title() == "captum-ext view"
        assert tab.locator("#main img, #main script").count() == 0
        shown(tab, serving.url + "sample/0")
        assert escaped(HOSTILE[0]) in tab.inner_text("h2")
    export(page, tmp_path / "out", Question(), 8)
    shown(tab, (tmp_path / "out" / "index.html").as_uri())
    assert names(tab) == [escaped(one) for one in HOSTILE]


def test_photographs_that_moved_leave_maps_and_a_reason(chromium, folder, tmp_path):
    collection = opened([folder / "ig"])
    (tmp_path / "photos").mkdir()
    context = chromium.new_context()
    tab = context.new_page()
    with Serving(Page(collection, photographs_of(collection, tmp_path / "photos", Fit(64, 56)))) as serving:
        shown(tab, serving.url + "?rows=2")
        tab.wait_for_selector(".why")
        assert "The photograph could not be read: No such file or directory" in tab.inner_text(".tile >> nth=0")
        assert tab.locator("img").count() == 0
    context.close()


def test_a_run_that_is_still_written_is_read_on_by_a_button(tab, tmp_path):
    run = small_run(tmp_path / "ig")
    later = sorted(run.glob("rows-*.parquet"))[1:]
    contents = {path: path.read_bytes() for path in later}
    for path in later:
        path.unlink()
    with Serving(Page(opened([run]))) as serving:
        shown(tab, serving.url)
        assert len(names(tab)) == 4
        assert "ig has 4 of 12 samples: it is still written, or was stopped." in tab.inner_text("#notices")
        for path, content in contents.items():
            path.write_bytes(content)
        after(tab, lambda: tab.click("text=Read the runs again"))
        assert len(names(tab)) == 12
        assert "it is still written" not in tab.inner_text("#notices")


def test_the_page_of_one_photograph_has_its_map_and_sliders(tab, tmp_path):
    values = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    one = Explained(
        "<b>cat.png", np.full((8, 8, 3), 0.5), values, "ig", "net", "cat", "in units", 0, {"score": 2.0}, []
    )
    (tmp_path / "map.html").write_bytes(of_explained(one))
    shown(tab, (tmp_path / "map.html").as_uri())
    pixels = np.array(tab.evaluate(PIXELS, 0)).reshape(8, 8, 4)
    assert np.abs(pixels[..., :3] - colorize(values, symmetric_limits(values)).astype(int)).max() <= 6
    assert "In units" in tab.inner_text("#legend")
    assert tab.inner_text("h2 >> nth=0") == "<b>cat.png"
    tab.focus("#keep")
    tab.keyboard.press("Home")
    assert (np.array(tab.evaluate(PIXELS, 0)).reshape(-1, 4)[:, 3] == 255).all()  # of 64 pixels less than one is kept


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["?rows=6", "?rows=6&keep=30&scale=all", "sample/3", "file"])
def test_axe_finds_nothing(chromium, address, page_of_runs, tmp_path, scheme, path):
    context = chromium.new_context(color_scheme=scheme, viewport={"width": 1000, "height": 800}, bypass_csp=True)
    tab = context.new_page()
    if path == "file":
        export(page_of_runs, tmp_path, Question(), 4)
    shown(tab, (tmp_path / "index.html").as_uri() if path == "file" else address + path)
    found = Axe().run(tab)
    assert found.response["violations"] == [], found.generate_report()
    context.close()


@pytest.mark.parametrize("width", [360, 1600])
def test_nothing_is_wider_than_the_window(chromium, address, width):
    context = chromium.new_context(viewport={"width": width, "height": 800})
    tab = context.new_page()
    for path in ("", "sample/3"):
        shown(tab, address + path)
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
