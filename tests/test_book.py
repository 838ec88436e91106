"""The real book in a real browser, with the network off.

`STIR_BOOK` names a built book to look at; without it, one is built from a tiny run.
"""

import os
import re
import shutil
from pathlib import Path

import pytest
from helpers.project import PROJECT, TINY
from playwright.sync_api import sync_playwright

from stir.book import build, contents
from stir.study.conclusions import ORDER

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
PAGES = contents.pages(PROJECT)


@pytest.fixture(scope="module")
def site(tmp_path_factory, request):
    if "STIR_BOOK" in os.environ:
        return Path(os.environ["STIR_BOOK"]).resolve()
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "book", project / "book", ignore=shutil.ignore_patterns("runs"))
    shutil.copy(PROJECT / "_config.yml", project)
    executed = request.getfixturevalue("executed")
    for scale in {page.split("/")[1] for page in PAGES if page.startswith("runs/")}:
        folder = Path(shutil.copytree(executed, project / "book" / "runs" / scale))
        for path in folder.glob("*.ipynb") if scale != executed.name else ():
            path.write_text(contents.with_links(path.read_text(), project, folder))
    return build.build_book(project).parent


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs a browser; install chromium")
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield instance
        instance.close()


@pytest.fixture(params=PAGES)
def page(request, site, browser):
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.requests, tab.problems = [], []
    tab.on("request", lambda sent: tab.requests.append(sent.url))
    tab.on("pageerror", lambda error: tab.problems.append(str(error)))
    tab.goto((site / f"{request.param}.html").as_uri())
    tab.wait_for_load_state("networkidle")
    yield tab
    tab.close()


def test_a_page_needs_no_network(page):
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
    assert page.problems == []


def test_figures_are_shown_and_described(page):
    images = page.locator("article img")
    for index in range(images.count()):
        image = images.nth(index)
        assert image.evaluate("image => image.complete && image.naturalWidth > 100")
        assert len(image.get_attribute("alt")) > 20
        assert not image.get_attribute("alt").endswith(".png")


def test_math_is_set_and_nothing_is_left_raw(page):
    page.wait_for_timeout(500)
    page.evaluate("document.querySelectorAll('article pre, article code').forEach(code => code.remove())")
    text = page.locator("article").inner_text()
    for raw in ("$x", "\\operatorname", "{cite}", "{glue", "Traceback"):
        assert raw not in text
    formulas = page.locator("article .math").count()
    assert page.locator("article mjx-container").count() >= formulas


def test_every_notebook_has_a_page():
    assert {Path(page).name for page in PAGES if page.startswith("runs/")} == set(TINY)


def test_a_page_is_what_it_says(page):
    """Neither a notice that the evidence does not make it, nor without a word on what made it."""
    text = page.locator("article").inner_text()
    assert "does not make this page" not in text
    if "/runs/" in page.url:
        assert text.count("Ran at the scale") == 1


def test_the_executed_finding_is_in_the_book(site, browser):
    tab = browser.new_page()
    tab.goto((site / "runs/digits/initialization.html").as_uri())
    assert tab.locator("article .cell_output img").count() == 3
    assert tab.locator("article table").count() >= 4
    tab.goto((site / "index.html").as_uri())
    rows = tab.locator("article table").first.locator("tbody tr")
    assert rows.count() == 4
    for index in range(4):
        assert rows.nth(index).inner_text().count("[") == 2  # each number with its interval
    assert tab.locator("article img").count() == 2


def test_every_hypothesis_is_at_a_glance_and_leads_to_its_page(site, browser):
    tab = browser.new_page()
    glance = next(page for page in PAGES if page.endswith("/glance"))
    tab.goto((site / f"{glance}.html").as_uri())
    cells = tab.locator("article table.glance tbody td:not(:first-child)")
    assert cells.count() > 2 * len(ORDER)
    for text in cells.all_inner_texts():
        word, _, numbers = text.partition("\n")
        assert text == "not measured" or re.fullmatch(r"(not )?(supported|contradicted|judged)[†‡]?°?", word)
        assert text == "not measured" or numbers.count("[") == 1
    links = {link.get_attribute("href") for link in tab.locator("article p:has(strong) a[href$='.html']").all()}
    found = {Path(link).stem for link in links}
    assert found == set(ORDER)
    led_to = {os.path.normpath(Path(glance).parent / link).removesuffix(".html") for link in links}
    assert "STIR_BOOK" not in os.environ or led_to <= set(PAGES)  # a tiny run has tables of all findings at each scale
    for page in led_to & set(PAGES):
        tab.goto((site / f"{page}.html").as_uri())
        tab.locator("article h1").wait_for()


def test_the_first_page_counts_the_verdicts(site, browser):
    tab = browser.new_page()
    tab.goto((site / "index.html").as_uri())
    text = tab.locator("article").inner_text()
    words = r"(\d+) (?=questions|hypotheses|are supported|are not|are contradicted|could not be judged)"
    numbers = [int(number) for number in re.findall(words, text)]
    assert len(numbers) == 2 * 6
    for questions, hypotheses, *parts in (numbers[:6], numbers[6:]):
        assert 0 < questions <= len(ORDER) and sum(parts) == hypotheses
    assert numbers[6] == len(ORDER)  # all of them with digits
