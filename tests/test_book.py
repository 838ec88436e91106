"""The real book in a real browser, with the network off: each page is opened once, and looked at in all ways.

`STIR_BOOK` names a built book to look at; without it, one is built from a tiny run.
"""

import json
import os
import re
import shutil
from html import unescape
from itertools import product
from pathlib import Path
from urllib.parse import unquote, urlsplit

import axe_playwright_python
import nbformat
import pytest
from helpers.project import PROJECT, TINY
from playwright.sync_api import sync_playwright

from stir.book import build, contents
from stir.book.takeaways import STUDENT
from stir.course import sources
from stir.study.conclusions import ORDER

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
PAGES = contents.pages_of(PROJECT)
WITH_CODE = "runs/digits/initialization"
WIDTHS, THEMES = (1280, 390), ("light", "dark")
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
# What surrounds the text, and code, look alike on all pages; mathematics are pictures with a label.
LOOK = """([include, exclude]) => axe.run(
    {include: [[include]], exclude: exclude.map(each => [each])}, {preload: false, resultTypes: ["violations"]}
).then(({violations}) => violations.map(({id, nodes}) => `${id}: ${nodes.slice(0, 5).map(({target}) => target)}`))"""
FIRST = ["body", ["mjx-container"]]
OTHERS = [".bd-article-container", ["mjx-container", ".highlight"]]
# A moment after a change of the width the theme has what scrolls reached by the keyboard.
SCROLLS_BY_KEYBOARD = """() => [...document.querySelectorAll("pre, .cell_output > .output")].every(
    part => part.scrollWidth <= part.clientWidth || part.tabIndex == 0)"""
# Buttons fade from the colours of one theme to those of the other; halfway, no contrast is a reader's.
FADED = "() => document.getAnimations().every(({playState}) => playState == 'finished')"
MATH_IS_SET = "() => window.MathJax?.startup?.promise?.then(() => true)"
# What a phone shows beyond its edge, or only when one scrolls there.
PARTS = "article :is(table, mjx-container, .drawing, .output)"
BEYOND = """parts => [...document.querySelectorAll(parts)].filter(part => {
    const {right} = part.getBoundingClientRect();
    const scrolls = ["auto", "scroll"].includes(getComputedStyle(part).overflowX);
    return right > innerWidth || (scrolls && part.scrollWidth > part.clientWidth + 1);
}).map(part => `${part.tagName} ${part.textContent.trim().slice(0, 60)}`)"""
# The size in pixels of the smallest letters of each drawing: matplotlib draws a letter as large as its 100 points.
LETTERS = """() => [...document.querySelectorAll("article .drawing")].map(drawing => Math.min(
    ...[...drawing.querySelectorAll("[id*='text_'] g[transform*='scale(']")].map(text =>
        Math.abs([...text.transform.baseVal].at(-1).matrix.d) * 100 * drawing.getScreenCTM().a)))"""
# What stands between a reader and a picture as it is, and what is drawn in ink too like the page's ground.
CHANGED = """() => [...document.querySelectorAll("article :is(img, canvas, .drawing, .drawing image)")].filter(part => {
    const {filter, mixBlendMode, opacity} = getComputedStyle(part);
    return filter != "none" || mixBlendMode != "normal" || opacity != "1";
}).map(part => part.outerHTML.slice(0, 100))"""
INK = """() => [...document.querySelectorAll("article .drawing")].map(
    drawing => getComputedStyle(drawing).fill.match(/\\d+/g).slice(0, 3).map(Number))"""
LEGIBLE = 11  # pixels
MEGABYTE = 10**6
FINDINGS = [page for page in PAGES if page.startswith("runs/") and not page.startswith("runs/course/")]


@pytest.fixture(scope="module")
def site(tmp_path_factory, request):
    if "STIR_BOOK" in os.environ:
        return Path(os.environ["STIR_BOOK"]).resolve()
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "book", project / "book", ignore=shutil.ignore_patterns("runs"))
    shutil.copy(PROJECT / "_config.yml", project)
    shutil.copytree(PROJECT / "notebooks", project / "notebooks")
    executed = request.getfixturevalue("executed")
    for source in sources.paths(PROJECT):  # as pages, not executed
        session, folder = sources.read(source), project / "book" / "runs" / "course"
        sources.write(sources.page(session), folder / f"{source.stem}.ipynb")
        sources.write(sources.student(session), folder / f"{source.stem}{STUDENT}")
    for scale in {page.split("/")[1] for page in FINDINGS}:
        shutil.copytree(executed, project / "book" / "runs" / scale)
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


@pytest.fixture(scope="module", params=PAGES)
def page(request, site, browser):
    tab = browser.new_page(viewport={"width": WIDTHS[0], "height": 900})
    tab.name, tab.requests, tab.problems = request.param, [], []
    tab.on("request", lambda sent: tab.requests.append(sent.url))
    tab.on("pageerror", lambda error: tab.problems.append(str(error)))
    tab.on("console", lambda message: tab.problems.append(message.text) if message.type == "error" else None)
    tab.goto((site / f"{request.param}.html").as_uri())
    tab.evaluate(MATH_IS_SET)
    yield tab
    tab.close()


def test_a_page_needs_no_network_and_has_no_error(page):
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
    assert page.problems == []


def test_anyone_can_read_it_at_each_width_and_in_each_theme(page):
    """Nothing that axe-core finds, contrast included, and no scrolling sideways."""
    page.evaluate(AXE)
    first = page.name in (PAGES[0], WITH_CODE)
    found = {}
    for width, theme in product(WIDTHS, THEMES) if first else zip(WIDTHS, THEMES):
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.wait_for_function(SCROLLS_BY_KEYBOARD)
        page.wait_for_function(FADED)
        found[width, theme] = page.evaluate(LOOK, FIRST if first else OTHERS)
    assert not any(found.values()), found


def test_a_phone_shows_all_of_it_and_figures_have_legible_letters(page):
    page.set_viewport_size({"width": 390, "height": 900})
    assert page.evaluate(BEYOND, PARTS) == []
    assert all(size is None or size >= LEGIBLE for size in page.evaluate(LETTERS))


def test_in_the_dark_pictures_are_as_they_are_and_drawings_light(page):
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(CHANGED) == []
    assert all(min(ink) > 150 for ink in page.evaluate(INK))
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    assert all(max(ink) < 100 for ink in page.evaluate(INK))


def test_figures_are_shown_and_described(page):
    images = page.locator("article img")
    for index in range(images.count()):
        image = images.nth(index)
        size = "image.naturalWidth > (image.closest('figure.descent') ? 0 : 100)"  # frames have the images' own
        assert image.evaluate(f"image => image.complete && {size}")
        assert len(image.get_attribute("alt")) > 20
        assert not image.get_attribute("alt").endswith(".png")
    for drawing in page.locator("article .drawing").all():
        assert drawing.evaluate("drawing => drawing.getBoundingClientRect().width") > 100
        assert len(drawing.get_attribute("aria-label")) > 20


def test_math_is_set_and_nothing_is_left_raw(page):
    text = page.evaluate("""() => {
        const article = document.querySelector("article").cloneNode(true);
        article.querySelectorAll("pre, code").forEach(code => code.remove());
        return article.textContent;
    }""")
    for raw in ("$x", "$X", "\\operatorname", "{cite}", "{glue", "Traceback"):
        assert raw not in text
    formulas = page.locator("article .math").count()
    assert page.locator("article mjx-container").count() >= formulas


def test_every_notebook_has_a_page():
    assert {Path(page).name for page in FINDINGS} == set(TINY)
    assert [page for page in PAGES if page.startswith("runs/course/")] == [
        f"runs/course/{source.stem}" for source in sources.paths(PROJECT)
    ]


def test_a_page_is_what_it_says(page):
    """Neither a notice that the evidence does not make it, nor without a word on what made it."""
    text = page.locator("article").inner_text()
    assert "does not make this page" not in text
    if "/runs/" in page.url and ("/course/" not in page.url or "STIR_BOOK" in os.environ):
        assert text.count("Ran at the scale") == 1


def test_the_executed_finding_is_in_the_book(site, browser):
    tab = browser.new_page()
    tab.goto((site / "runs/digits/initialization.html").as_uri())
    assert tab.locator("article .cell_output .drawing").count() == 4
    assert tab.locator("article table").count() >= 4
    tab.goto((site / "index.html").as_uri())
    found = tab.locator("article p", has_text="What we found").inner_text()
    assert found.count("[") == 3  # each number with its interval
    assert tab.locator("article .drawing").count() == 1


def test_every_hypothesis_is_at_a_glance_and_leads_to_its_page(site, browser):
    tab = browser.new_page()
    glance = next(page for page in PAGES if page.endswith("/glance"))
    tab.goto((site / f"{glance}.html").as_uri())
    lines = tab.locator("article .hypothesis .judged")
    assert lines.count() > 2 * len(ORDER)
    for text in lines.all_inner_texts():
        _, word, *rest = text.split("\n")
        assert word == "not measured" or re.fullmatch(r". (not )?(supported|contradicted|judged)", word)
        assert word == "not measured" or rest[0].count("[") == 1
    links = {link.get_attribute("href") for link in tab.locator("article :is(.question, .judged) a").all()}
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
    counted = re.findall(r"(\d+)(?: hypotheses)?, ✓ (\d+), ○ (\d+), ✗ (\d+)(?:, not judged (\d+))?", text)
    assert len(counted) == 2
    for hypotheses, *parts in counted:
        assert sum(int(part or 0) for part in parts) == int(hypotheses) > 0


def test_the_first_page_has_a_mark_for_each_verdict(site, browser):
    tab = browser.new_page()
    tab.goto((site / "index.html").as_uri())
    cells = tab.locator("article table td:not(:first-child)").all_inner_texts()
    assert len(cells) == 6
    assert all(re.fullmatch(r"[✓○✗?] (not )?(supported|contradicted|judged)", cell.strip()) for cell in cells)


def test_a_session_hands_out_its_notebook(site, browser):
    tab = browser.new_page()
    for page in (page for page in PAGES if page.startswith("runs/course/")):
        tab.goto((site / f"{page}.html").as_uri())
        link = tab.locator('aside.exits a[href$=".ipynb"]').get_attribute("href")
        session = nbformat.read((site / f"{page}.html").parent / link, as_version=4)
        assert not any(cell.get("outputs") for cell in session.cells)
        assert "### Exercise" in "".join(cell.source for cell in session.cells)
        assert tab.locator("article details.hide > summary").first.is_visible()  # the set-up is folded


def test_search_finds(site, browser):
    tab = browser.new_page()
    tab.goto(f"{(site / 'search.html').as_uri()}?q=Barzilai+clamped")
    assert "idea.html" in tab.locator("#search-results li a").first.get_attribute("href")


def test_a_phone_need_not_load_much(site, browser):
    """The whole book, less its print, below 25 MB, and what opening the first page loads below 1.5 MB."""
    assert (
        sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and path.suffix != ".pdf") < 25 * MEGABYTE
    )
    tab, loaded = browser.new_page(), set()
    tab.on("request", lambda sent: loaded.add(sent.url))
    tab.goto((site / "index.html").as_uri())
    paths = {unquote(urlsplit(url).path) for url in loaded if url.startswith("file:")}
    assert sum(Path(path).stat().st_size for path in paths) < 1.5 * MEGABYTE


def test_what_a_page_leads_to_is_there(site):
    """Notebooks, tables and pictures, and each place on a page that a link names."""
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html") if "_static" not in path.parts}
    shown = {str(path.relative_to(site).with_suffix("")) for path in pages if path.parent.name != "slides"}
    assert shown == {*PAGES, "genindex", "search"}
    places = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    for path, text in pages.items():
        if path.stem == "glance" and "STIR_BOOK" not in os.environ:
            continue  # a tiny run has tables of all findings at each scale, and pages of some
        for link in re.findall(r'\b(?:href|src)="(?!\w+:|//)([^"]*)"', text):
            target, _, place = unquote(unescape(link)).partition("#")
            file = Path(os.path.normpath(path.parent / target.partition("?")[0])) if target else path
            assert file.exists(), (path, link)
            assert not place or file.suffix != ".html" or place in places[file], (path, link)
    assert {path.suffix for path in site.rglob("notebooks/**/*") if path.is_file()} == {".ipynb", ".zip"}
    assert list(site.glob("tables/*/*.csv.zip"))
    slides = [pages[path] for path in site.glob("slides/*.html")]
    assert slides and all("/mathjax/" in text for text in slides)


def test_every_slide_fits_a_screen(site, browser):
    tab = browser.new_page(viewport={"width": 1280, "height": 720})
    for path in sorted(site.glob("slides/*.html")):
        tab.goto(path.as_uri())
        tab.wait_for_function("MathJax.startup?.promise !== undefined")
        tab.evaluate("MathJax.startup.promise")
        heights = tab.evaluate("[...document.querySelectorAll('section')].map((slide) => slide.offsetHeight)")
        assert max(heights) <= 721, (path.name, heights)
    tab.close()


def test_each_term_leads_to_its_definition_from_its_first_use(site, browser):
    tab = browser.new_page()
    tab.goto((site / "idea.html").as_uri())
    links = tab.locator("article a.term")
    targets = [links.nth(index).get_attribute("href") for index in range(links.count())]
    assert len(targets) == len(set(targets)) > 10
    assert "glossary.html#term-seed-image" in targets
    tab.goto((site / "glossary.html").as_uri())
    assert tab.locator("article a.term").count() == 0


def test_citations_agree_with_the_list(site):
    def plain(html):
        return unescape(re.sub("<[^>]*>", "", html))

    cited = re.findall(r'<span[^>]*\bid="id\d+"[^>]*>(.*?)</span>', (site / "idea.html").read_text(encoding="utf-8"))
    labels = re.findall(r'<span class="label">(.*?\]</span>)', (site / "bibliography.html").read_text(encoding="utf-8"))
    listed = {plain(label).strip("[]") for label in labels}
    assert len(cited) > 10
    for words in map(plain, cited):  # "[Nanda et al., 2022]", or "Nanda et al. [2022]" in a sentence
        assert words.replace(" [", ", ").strip("[]") in listed


def test_a_descent_moves_in_the_text(site, browser):
    tab = browser.new_page(viewport={"width": 390, "height": 844})
    tab.goto((site / "idea.html").as_uri())
    figure, control = tab.locator("figure.descent"), tab.get_by_label("steps of the descent")
    steps = json.loads(figure.get_attribute("data-steps"))

    def state() -> tuple[list[str], list[str]]:
        pictures = figure.locator("td:nth-child(3) img")
        places = pictures.evaluate_all("all => all.map(each => getComputedStyle(each).objectPosition)")
        return figure.locator(".distance b").all_inner_texts(), places

    end = state()
    control.press("Home")
    begin = state()
    assert begin[1] == ["0px 0%"] * 2 and end[1] == ["0px 100%"] * 2 and begin[0] != end[0]
    values = [json.loads(each.get_attribute("data-values")) for each in figure.locator(".distance").all()]
    assert begin[0] == [f"{each[0]:.2f}" for each in values] and end[0] == [f"{each[-1]:.2f}" for each in values]
    assert control.get_attribute("aria-valuetext").startswith("0 steps; distances from x, standard: reference ")
    control.press("ArrowRight")
    assert figure.locator("label b").inner_text() == str(steps[1])
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert state() == end
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert figure.locator("label b").inner_text() == str(steps[1])
    still = browser.new_page(java_script_enabled=False)
    still.goto((site / "idea.html").as_uri())
    assert still.locator("figure.descent .distance b").all_inner_texts() == end[0]
    assert still.locator("figure.descent input").count() == 0


@pytest.fixture
def explorer(request, site, browser):
    """The page of the explorer, without a network; `request.param` has options of the browser."""
    context = browser.new_context(offline=True, **getattr(request, "param", {}))
    tab = context.new_page()
    tab.problems = []
    tab.on("pageerror", lambda error: tab.problems.append(str(error)))
    tab.goto((site / f"{next(page for page in PAGES if page.endswith('/explorer'))}.html").as_uri())
    yield tab
    assert tab.problems == []
    context.close()


def shown(tab):
    """What the explorer shows: the pixels of each row of pictures, and the texts of each row of numbers."""
    return tab.evaluate("""() => [...document.querySelectorAll(".explorer tbody tr")].map((row) =>
        [...row.querySelectorAll("td")].map((cell) =>
            cell.querySelector("canvas")?.toDataURL() ?? cell.textContent))""")


def choose(tab, **values):
    """Choose in the explorer, and wait until the pictures have followed."""
    selects = dict(
        zip(("training", "seed", "target_training", "target_seed", "layer"), tab.locator(".explorer select").all())
    )
    for name, value in values.items():
        selects[name].select_option(value)
    tab.wait_for_function("""() => {
        const chosen = [...document.querySelectorAll(".explorer select")].map((each) => each.value);
        const name = (training, seed) => `${training}, ${seed}`;
        const wanted = [name(chosen[0], chosen[1]), name(chosen[2], chosen[3]), chosen[4]].join("; ");
        return document.querySelector(".explorer").dataset.shown.startsWith(wanted);
    }""")


def options(tab, number):
    return tab.locator(".explorer select").nth(number).locator("option").all_inner_texts()


def test_the_explorer_changes_pictures_by_keyboard(explorer):
    explorer.wait_for_selector(".explorer[data-shown]")
    x, seed, last, near, far = shown(explorer)
    assert len({*x, *seed, *last}) == 3 * len(x)  # all of them different pictures
    explorer.get_by_label("steps of the descent").focus()
    explorer.keyboard.press("Home")
    explorer.wait_for_function("document.querySelector('.explorer').dataset.shown.endsWith('; 0')")
    first = shown(explorer)
    assert first[:3] == [x, seed, seed] and first[3] != near  # at step 0 x' is the seed image
    explorer.keyboard.press("ArrowRight")
    explorer.wait_for_function("!document.querySelector('.explorer').dataset.shown.endsWith('; 0')")
    assert all(one != other for one, other in zip(shown(explorer)[2], seed, strict=True))
    explorer.keyboard.press("End")
    explorer.wait_for_function("document.querySelector('.explorer output').textContent !== '1'")
    before = explorer.locator(".explorer select").nth(4).input_value()
    explorer.locator(".explorer select").nth(4).focus()
    explorer.keyboard.press("ArrowDown")
    assert explorer.locator(".explorer select").nth(4).input_value() != before
    choose(explorer)
    at_other_layer = shown(explorer)
    assert at_other_layer[:2] == [x, seed] and at_other_layer[2] != last and at_other_layer[3:] != [near, far]
    assert explorer.locator(".explorer [aria-live]").inner_text().startswith("After ")


def test_a_choice_changes_what_depends_on_it(explorer):
    explorer.wait_for_selector(".explorer[data-shown]")
    start = shown(explorer)
    choose(explorer, target_training=options(explorer, 2)[1])
    other_target = shown(explorer)
    assert other_target[:4] == start[:4] and other_target[4] != start[4]  # X' is made for the reference alone
    choose(explorer, training=options(explorer, 0)[1])
    other_reference = shown(explorer)
    assert other_reference[:2] == start[:2] and other_reference[2] != start[2]
    choose(explorer, target_training=options(explorer, 0)[1], target_seed=options(explorer, 1)[0])
    itself = shown(explorer)
    assert itself[3] == itself[4]  # both are the one network


def test_the_explorers_numbers_are_those_of_the_tables(explorer):
    explorer.wait_for_selector(".explorer[data-shown]")
    tables = {}
    for place, layer in enumerate(explorer.locator(".heatmaps .heading").all_inner_texts()):
        for column, title in enumerate(("cka", "stir")):
            table = explorer.locator(".heatmaps").nth(place).locator("table").nth(column)
            rows = [[cell.strip() for cell in line.split("\t")] for line in table.inner_text().splitlines()]
            rows = [row for row in rows if re.fullmatch(r"[\d.\u2212]+", row[-1])]
            tables[layer, title] = {row[0]: row[1:] for row in rows}
    names = [f"{training}, {seed}" for training in options(explorer, 0) for seed in options(explorer, 1)]
    compared = set()
    for layer in options(explorer, 4):
        for one in names:
            for column, other in enumerate(names):
                (training, _, seed), (target_training, _, target_seed) = one.rpartition(", "), other.rpartition(", ")
                sides = dict(target_training=target_training, target_seed=target_seed, layer=layer)
                choose(explorer, training=training, seed=seed, **sides)
                for title in ("cka", "stir"):
                    value = explorer.locator(f".explorer output.{title}").inner_text()
                    assert value.partition(" ")[0] == tables[layer, title][one][column]
                    compared.add(value)
    assert len(compared) > len(names)


@pytest.mark.parametrize("explorer", [{"java_script_enabled": False}], indirect=True)
def test_the_explorers_page_says_the_same_without_javascript(explorer):
    assert explorer.locator(".explorer select").count() == 0
    assert explorer.locator("article .cell_output img").first.is_visible()
    values = explorer.locator(".heatmaps tbody td[tabindex='0']").all_inner_texts()
    assert len(values) >= 2 * 16 and all(re.match(r"\u2212?\d\.\d\d", value) for value in values)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("explorer", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_the_explorer_fits_a_phone_and_a_cell_tells_its_details(explorer, scheme):
    explorer.evaluate(f"document.documentElement.dataset.theme = '{scheme}'")
    explorer.wait_for_selector(".explorer[data-shown]")
    assert explorer.evaluate("document.documentElement.scrollWidth") <= 390
    for element in explorer.locator(".explorer :is(select, input, canvas, output), .heatmaps table").all():
        box = element.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    cell = explorer.locator(".heatmaps").first.locator("table").nth(1).locator("tbody td").nth(1)
    assert not cell.locator(".more").is_visible()
    cell.focus()
    details = cell.locator(".more")
    assert details.is_visible() and "target" in details.inner_text() and details.inner_text().count("[") == 1
    box = details.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390


@pytest.mark.parametrize(
    "explorer",
    [{"viewport": {"width": 1280, "height": 900}}, {"viewport": {"width": 390, "height": 844}}],
    indirect=True,
)
def test_the_explorers_scores_are_in_view_with_its_controls(explorer):
    explorer.wait_for_selector(".explorer[data-shown]")
    boxes = [part.bounding_box() for part in explorer.locator(".explorer :is(select, input, output)").all()]
    span = max(box["y"] + box["height"] for box in boxes) - min(box["y"] for box in boxes)
    header = explorer.locator(".bd-header-article").bounding_box()["height"]
    assert span <= explorer.viewport_size["height"] - header


def test_a_heat_map_is_one_stop_of_the_keyboard(explorer):
    grid = explorer.get_by_role("grid").nth(1)
    names = grid.locator("tbody th").all_inner_texts()
    stop = grid.locator("[tabindex='0']")
    last, details = len(names) - 1, explorer.locator(".heatmaps .more:visible")
    stop.focus()
    for key, reference, target in [
        ("Enter", 0, 0), ("ArrowLeft", 0, 0), ("ArrowRight", 0, 1), ("ArrowDown", 1, 1), ("End", 1, last),
        ("ArrowUp", 0, last), ("Home", 0, 0), ("Control+End", last, last), ("ArrowDown", last, last),
        ("Control+Home", 0, 0), ("ArrowRight", 0, 1),
    ]:  # fmt: skip
        explorer.keyboard.press(key)
        assert details.inner_text().startswith(f"reference {names[reference]}, target {names[target]}: STIR")
        assert stop.count() == 1
    explorer.keyboard.press("Escape")
    assert details.count() == 0
    explorer.keyboard.press("Enter")
    assert details.count() == 1
    explorer.keyboard.press("Tab")
    assert explorer.get_by_role("grid").nth(2).locator(":focus").count() == 1
    explorer.keyboard.press("Shift+Tab")
    assert details.inner_text().startswith(f"reference {names[0]}, target {names[1]}: STIR")  # as it was left


def test_what_a_value_of_a_heat_map_tells_is_not_cut_off(site, browser):
    tab = browser.new_page()
    tab.goto((site / "runs/cifar10-cpu/loss.html").as_uri())
    tab.locator(".heatmaps tr:last-child td[tabindex]").first.hover()
    cut = """box => {
        for (let around = box.parentElement; around; around = around.parentElement)
            if (getComputedStyle(around).overflowY != "visible" && around != document.scrollingElement &&
                around.getBoundingClientRect().bottom < box.getBoundingClientRect().bottom) return around.className;
    }"""
    assert tab.locator(".heatmaps .more:visible").evaluate(cut) is None


def test_a_printed_page_has_its_colours_and_its_reasons(site, browser):
    tab = browser.new_page()
    tab.goto((site / f"{WITH_CODE}.html").as_uri())
    tab.evaluate("""() => {
        document.documentElement.dataset.theme = "dark";
        addEventListener("beforeprint", () => { window.open_ = document.querySelectorAll(".reasons[open]").length; });
    }""")
    assert tab.locator("article .reasons").count() > 0 and tab.locator("article .reasons[open]").count() == 0
    tab.pdf()
    assert tab.evaluate("open_") == tab.locator("article .reasons").count()
    assert (
        tab.locator("article .reasons[open]").count() == 0 and tab.locator("html").get_attribute("data-theme") == "dark"
    )
    tab.emulate_media(media="print")
    for part in (".heatmaps td[tabindex]", ".answer", "span.verdict"):
        style = "part => getComputedStyle(part).getPropertyValue('-webkit-print-color-adjust')"
        assert tab.locator(f"article {part}").first.evaluate(style) == "exact"
    text = "part => part.getBoundingClientRect().left + parseFloat(getComputedStyle(part).paddingLeft)"
    assert tab.locator("#jb-print-docs-body h1").evaluate(text) == tab.locator("article section > p").first.evaluate(
        text
    )
    tab.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_wider_than_its_column_shows_that_there_is_more(site, browser, tmp_path, scheme):
    styles = "".join(f'<link rel="stylesheet" href="{path.as_uri()}">' for path in site.glob("_static/**/*.css"))
    table = '<table class="stacked"><caption>A caption.</caption><tbody><tr><td style="min-width: 2000px"></td></table>'
    (tmp_path / "index.html").write_text(
        f'<html data-theme="{scheme}">{styles}<article class="bd-article"><div class="cell_output">'
        f'<div class="output" style="overflow-x: auto; width: 700px">{table}</div></div></article>'
    )
    tab = browser.new_page(viewport={"width": 900, "height": 300})
    tab.goto((tmp_path / "index.html").as_uri())
    box = tab.locator(".output").bounding_box()
    edge = {"x": box["x"] + box["width"] - 8, "y": box["y"] + 2, "width": 8, "height": 4}
    with_more = tab.screenshot(clip=edge)
    tab.locator(".output").evaluate("part => part.scrollLeft = part.scrollWidth")
    assert tab.screenshot(clip=edge) != with_more
    assert tab.locator("caption").bounding_box()["x"] == pytest.approx(box["x"], abs=1)
    tab.close()
