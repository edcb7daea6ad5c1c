"""The site that `make docs` builds, opened from disk in a real Chromium without a network, wide and on a phone."""

import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("playwright")
pytest.importorskip("axe_playwright_python")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's chromium is not installed"),
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="make docs has not built the site"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
SIZES = {"wide": (1280, 900), "phone": (390, 800)}
PAGES = [
    "index.html",
    "which-method.html",
    "troubleshooting.html",
    "measured.html",
    "theory/samp.html",
    "shell.html",
    "reference/index.html",
    "reference/captum_ext.attr.LocalPathIntegration.html",
    "reference/captum_ext.metrics.compare.html",
    "gallery/index.html",
    "search.html",
]


def test_no_page_shows_markup_that_was_not_read():
    unread = re.compile(r"<p>\s*\||:(py:\w+|math|doc|ref):<|<p>[^<]*\$\$")
    found = {str(page.relative_to(SITE)): unread.search(page.read_text()) for page in SITE.rglob("*.html")}
    assert len(found) > 200
    assert {name: match[0] for name, match in found.items() if match} == {}


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as host:
        browser = host.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=SIZES)
def tab(request, chromium):
    """A tab without a network, whose pages ask nobody but the disk and say nothing in the console."""
    width, height = SIZES[request.param]
    context = chromium.new_context(viewport={"width": width, "height": height}, offline=True)
    tab = context.new_page()
    said, asked = [], []
    tab.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    yield tab
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file://", "data:", "blob:"))] == []


def shown(tab, page):
    tab.goto((SITE / page).as_uri())
    tab.wait_for_load_state("load")
    if tab.locator(".math").count():
        tab.wait_for_selector("mjx-container")
    return tab


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_accessible_asks_nobody_and_fits(tab, page):
    shown(tab, page)
    width = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1]
    broken = tab.evaluate(
        "[...document.images].filter((one) => !one.complete || !one.naturalWidth).map((one) => one.src)"
    )
    assert broken == []
    found = Axe().run(tab, options={"preload": False})  # which would read styles from disk, as a page may not
    assert found.violations_count == 0, found.generate_report()


def test_formulas_of_docstrings_are_set(tab):
    shown(tab, "reference/captum_ext.attr.LocalPathIntegration.html")
    assert tab.locator("mjx-container").count() >= 3
    assert tab.locator("mjx-merror").count() == 0


def test_search_finds_a_method_by_a_word_of_its_page(tab):
    tab.goto((SITE / "search.html").as_uri() + "?q=neighbourhood")
    tab.wait_for_selector("#search-results li a")
    assert any("Local" in text for text in tab.locator("#search-results li a").all_inner_texts())


def test_there_are_lists_for_machines():
    listed = (SITE / "llms.txt").read_text()
    assert "which-method.html" in listed
    assert "reference/captum_ext.attr.LocalPathIntegration.html" in listed
    assert (SITE / "sitemap.xml").read_text().count("<loc>") > 200
