"""What is taken away stands without the book."""

import base64

import nbformat
import pytest

from stir.book import takeaways

TEXT = "# T\n\n![A figure.](../a/figure.png) See [a page](../b.md), [the paper](https://a.org/b) and [below](#c)."


def test_pictures_come_along_and_links_to_pages_are_words(tmp_path):
    session = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(TEXT)])
    with pytest.raises(ValueError, match="figure.png is not there yet; run `stir book` first"):
        takeaways.alone(session, tmp_path / "runs")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "figure.png").write_bytes(b"a picture")
    (tmp_path / "runs").mkdir()
    (cell,) = takeaways.alone(session, tmp_path / "runs").cells
    assert cell.source.startswith("# T\n\n![A figure.](attachment:figure.png) See *a page* (in the book), ")
    assert cell.source.endswith("[the paper](https://a.org/b) and [below](#c).")
    assert base64.b64decode(cell.attachments["figure.png"]["image/png"]) == b"a picture"
    nbformat.validate(takeaways.alone(session, tmp_path / "runs"))
    assert session.cells[0].source == TEXT


def test_what_installs_stands_below_the_title():
    session = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# T")])
    assert "git+https://a.org/b" in takeaways.installing(session, "https://a.org/b").cells[1].source
    assert takeaways.installing(session, "") == session
