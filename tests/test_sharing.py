"""What is shown of a page where it is shared."""

import re

import pytest
from sphinx.testing.util import SphinxTestApp

from stir.book import sharing

BODY = """<h1>The idea</h1><figure><p>A caption.</p></figure>
<p><strong>Digits, networks of 8 channels.</strong> The same with: <a href="b.html">CIFAR-10</a>.</p>
<p>STIR <span class="bibtex-citation">[<a href="#">Nanda et al., 2022</a>]</span> asks, of
<span class="math">\\(m_1\\)</span>, &lt;this&gt; .</p><p>And \\(\\operatorname{STIR}\\).</p>%s"""


def test_a_page_is_described_by_its_first_words_without_citations():
    assert sharing.description(BODY % "") == "STIR asks, of m_1, <this>."
    long = sharing.description(BODY % f"<p>{'word ' * 60}</p>")
    assert long.endswith(" word…") and len(long) <= sharing.LENGTH


def test_a_finding_is_described_by_its_answer():
    mark = '<span class="verdict supported"><span aria-hidden="true">✓</span> supported</span>'
    mark += '<span class="apart">:</span>'
    answer = f'<div class="answer"><p>{mark} <strong>Robust ones share more.</strong> 0.96 [0.94, 0.98].</p></div>'
    assert sharing.description(BODY % answer) == "Supported: Robust ones share more. 0.96 [0.94, 0.98]."
    assert sharing.description(BODY % answer.replace("more", "more " * 60)).startswith("Supported: Robust")


@pytest.mark.parametrize("address", ["", "https://someone.github.io/stir/"])
def test_a_shared_page_has_a_picture_where_it_has_an_address(tmp_path, address):
    """A relative address of a page or a picture is of no use to those who show a shared page."""
    (tmp_path / "conf.py").write_text(
        "extensions = ['sphinxext.opengraph', 'stir.book.sharing']\nhtml_theme = 'sphinx_book_theme'\n"
        f"html_baseurl = {address!r}\nogp_image = 'runs/idea.png'\nogp_social_cards = {{'enable': False}}\n"
    )
    (tmp_path / "index.rst").write_text("The book\n========\n\nA page.\n")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "idea.png").write_bytes(b"a picture")
    app = SphinxTestApp(srcdir=tmp_path)
    app.build()
    tags = dict(
        re.findall(r'<meta property="og:(url|image)" content="([^"]*)"', (app.outdir / "index.html").read_text())
    )
    app.cleanup()
    assert tags == ({"url": f"{address}index.html", "image": f"{address}runs/idea.png"} if address else {})
    assert (app.outdir / "runs" / "idea.png").exists() == bool(address)
