"""The book as one PDF."""

import re

import pytest
from helpers.project import PROJECT
from playwright.sync_api import sync_playwright

from stir.book import build, contents, pdf

STATIC = PROJECT / "book" / "_static"
SINGLE = f"""
<link rel="stylesheet" href="{(STATIC / "book.css").as_uri()}"><script src="{(STATIC / "book.js").as_uri()}"></script>
<div id="jb-print-docs-body"><h1>First</h1></div>
<article class="bd-article">
  <h1>First</h1> <span id="document-a/first"></span>
  <a href="../b/second.html">page</a> <a href="second.html">none</a> <a href="index.html#term">term</a>
  <a href="https://a.org">out</a> <span id="term"></span>
  <span class="bibtex-citation"><a href="index.html#id2">1999</a></span> <figure id="id2"></figure>
  <span id="document-b/second"></span>
  <details class="reasons"><summary>why</summary><p>so</p></details>
  <details><summary>Show code</summary>1 + 1</details>
  <details class="choice"><summary>A. Yes.</summary><p>No.</p></details>
  <div class="explorer"></div> <div style="width: 200px"><table><td style="min-width: 400px"></table></div>
  <div class="citation" id="id2"></div>
</article>"""


@pytest.fixture
def chromium():
    try:
        return pdf.browser()
    except ValueError:
        pytest.skip("no Chromium on this machine")


def test_paper_gets_what_it_can_hold(chromium, tmp_path):
    (tmp_path / "index.html").write_text(SINGLE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto((tmp_path / "index.html").as_uri())
        page.evaluate(pdf.PREPARE.read_text(), ["The book", "Who wrote it", "What paper lacks."])
        assert page.locator("#jb-print-docs-body").inner_text().split("\n\n") == [
            "The book", "Who wrote it", "What paper lacks.",
        ]  # fmt: skip
        links = [link.get_attribute("href") for link in page.locator("article a").all()]
        assert links == ["#document-b/second", None, "#term", "https://a.org", "#cited-id2"]
        assert page.locator("#cited-id2.citation").count() == 1
        assert page.locator("details").count() == 3
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.get_by_text("so", exact=True).is_visible() and page.get_by_text("No.", exact=True).is_visible()
        assert not page.get_by_text("Show code").is_visible()
        assert "on paper there is the picture below" in page.locator("article").inner_text()
        assert page.locator("table").bounding_box()["width"] <= 201
        browser.close()


def test_the_pages_are_printed_in_one_file_and_lead_to_it(chromium, tmp_path, monkeypatch):
    (tmp_path / "_config.yml").write_text(
        "title: T\nonly_build_toc_files: true\nsphinx: {extra_extensions: [stir.book.exits]}\n"
    )
    book = tmp_path / "book"
    book.mkdir()
    (book / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters:\n  - file: page\n")
    (book / "index.md").write_text("# First\n\n[](page.md) and <a href='page.html'>the same</a>\n")
    (book / "page.md").write_text("# Second\n\n$x'$\n")
    content = pdf.print_book(tmp_path).read_bytes()
    assert b"file:" not in content  # links lead to places in it
    assert content.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b", content)) >= 1
    titles = re.findall(rb"/Title \(([^)]*)\)", content)
    assert any(b"First" in title for title in titles) and any(b"Second" in title for title in titles)
    assert {path.name for path in (tmp_path / "_build").iterdir()} == {"book.pdf", "book.pdf.json"}
    monkeypatch.setattr(pdf, "run_jupyter_book", None)  # what is current is not printed again
    pdf.print_book(tmp_path)
    html = build.build_book(tmp_path).parent
    assert (html / "book.pdf").read_bytes() == content and 'href="book.pdf" download' in (
        html / "page.html"
    ).read_text()
    (book / "page.md").write_text("# Changed\n")  # of which it is no print
    build.write_sources(tmp_path, contents.project_book(tmp_path), tmp_path / "staged")
    assert not build.is_printed(tmp_path / "_build", tmp_path / "staged")


def test_without_a_browser_the_remedy_is_told(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ValueError, match="install chromium"):
        pdf.browser()
