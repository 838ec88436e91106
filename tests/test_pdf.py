"""The book as one PDF."""

import re

import pytest

from stir.book import pdf


def test_the_pages_are_printed_in_one_file(tmp_path):
    try:
        pdf.browser()
    except ValueError:
        pytest.skip("no Chromium on this machine")
    (tmp_path / "_config.yml").write_text("title: T\nonly_build_toc_files: true\n")
    book = tmp_path / "book"
    book.mkdir()
    (book / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters:\n  - file: page\n")
    (book / "index.md").write_text("# First\n\n[](page.md)\n")
    (book / "page.md").write_text("# Second\n\n$x'$\n")
    content = pdf.print_book(tmp_path).read_bytes()
    assert content.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b", content)) >= 1
    titles = re.findall(rb"/Title \(([^)]*)\)", content)
    assert any(b"First" in title for title in titles) and any(b"Second" in title for title in titles)
    assert [path.name for path in (tmp_path / "_build").iterdir()] == ["book.pdf"]


def test_without_a_browser_the_remedy_is_told(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ValueError, match="install chromium"):
        pdf.browser()
