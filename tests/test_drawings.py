"""Figures stand in their pages, in the colours of the theme, and pictures in them as they are."""

import io
import re
from types import SimpleNamespace
from unittest.mock import Mock

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sphinx.application import Sphinx

from stir.book import drawings
from stir.study import figures


@pytest.fixture(scope="module")
def svg():
    figures.use_style()
    figure, axes = plt.subplots(figsize=(4, 3))
    axes.plot([0, 1], [0, 1], color="0.6", clip_on=True)
    axes.plot([0, 1], [1, 0], color="#D55E00")
    axes.imshow(np.full((4, 4, 3), 0x26, dtype=np.uint8), interpolation="none")
    axes.set_title("a title")
    file = io.BytesIO()
    figure.savefig(file, format="svg")
    plt.close(figure)
    return file.getvalue().decode()


def test_ink_and_ground_are_those_of_the_page(svg):
    drawn = drawings.drawn(svg, "what it shows", "one")
    assert drawn.startswith('<svg class="drawing" role="img" aria-label="what it shows" ') and drawn.endswith(
        "</svg>\n"
    )
    assert not re.search(r"#(ffffff|262626|999999)", drawn) and "#d55e00" in drawn
    for share in ("100%", "0%", "47%"):  # text, ground, and a gray between them
        assert f"color-mix(in srgb, currentColor {share}, var(--pst-color-background))" in drawn
    picture = re.compile(r"data:image/png;base64,[^\"]*")
    assert picture.findall(drawn) == picture.findall(svg) != []
    assert "<style" not in drawn and "<metadata" not in drawn  # the one would apply to the whole page


def test_names_in_a_drawing_are_its_own(svg):
    one, other = (drawings.drawn(svg, "", name) for name in ("one", "other"))
    names = [set(re.findall(r'\bid="([^"]+)"', drawn)) for drawn in (one, other)]
    assert names[0] and not names[0] & names[1]
    for drawn, own in zip((one, other), names, strict=True):
        referred = set(re.findall(r'href="#([^"]+)"', drawn)) | set(re.findall(r"url\(#([^)]+)\)", drawn))
        assert referred and referred <= own


def test_what_is_no_drawing_is_refused():
    with pytest.raises(ValueError, match="svg holds no drawing"):
        drawings.drawn("<p>", "", "one")


def test_pages_hold_their_drawings(svg, tmp_path):
    folder = tmp_path / "runs"
    (tmp_path / "_images").mkdir()
    folder.mkdir()
    (tmp_path / "_images" / "a.svg").write_text(svg)
    (tmp_path / "_images" / "a.png").write_bytes(b"")
    image = '<img alt="lines &amp; marks" src="../_images/a.svg" />'
    (folder / "page.html").write_text(f'<p>{image}</p>{image}<img alt="photo" src="../_images/a.png" />')
    builder = SimpleNamespace(format="html")
    drawings.draw(Mock(spec=Sphinx, outdir=tmp_path, builder=builder), None)
    page = (folder / "page.html").read_text()
    assert page.count('aria-label="lines &amp; marks"') == 2 and page.count("<img") == 1
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names))
    assert [path.name for path in (tmp_path / "_images").iterdir()] == ["a.png"]
