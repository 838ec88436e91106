"""What is mended in a built book: icons, tables, and what was loaded for nothing."""

import base64
import io
import re
from pathlib import Path

import pydata_sphinx_theme
import pytest
from fontTools.ttLib import TTFont

from stir.book import finish

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
PAGE = '<i class="fas fa-download"></i><i class="fa-solid fa-moon fa-lg"></i><i class="fab fa-github"></i><i></i>'
PAGE += '<button><span id="menu" class="fa-solid fa-bars"></span></button>'


@pytest.fixture(scope="module")
def folder():
    (found,) = (THEME / "vendor" / "fontawesome").iterdir()
    return found


def test_the_style_sheet_draws_the_icons_of_the_pages(folder):
    used, points = finish.icons(PAGE), finish.codes((folder / "css" / "all.min.css").read_text())
    assert {("fas", "fa-download"), ("fas", "fa-moon"), ("fas", "fa-bars"), ("fab", "fa-github")} <= used
    style = finish.style_of(used, folder / "webfonts", points)
    assert len(style) < 10_000
    fonts = dict(
        re.findall(r"font-family: '(\w+)'; font-weight: \d+; src: url\(data:font/woff;base64,([^)]*)\)", style)
    )
    assert set(fonts) == {"fas", "fab"}
    shapes = {face: TTFont(io.BytesIO(base64.b64decode(data))).getBestCmap() for face, data in fonts.items()}
    for face, icon in {("fas", "fa-download"), ("fas", "fa-bars"), ("fas", "fa-moon"), ("fab", "fa-github")}:
        assert points[icon] in shapes[face]
        assert f".{icon}::before {{ content: '\\{points[icon]:x}'; }}" in style
    assert style == finish.style_of(used, folder / "webfonts", points)


def test_icons_of_the_themes_own_style_sheets_are_drawn_too(folder):
    theme = (THEME / "styles" / "pydata-sphinx-theme.css").read_text(encoding="utf-8")
    bell = 0xF0F3
    assert bell in finish.symbols(theme) and finish.symbols('content:"\\f107"') == {0xF107}
    style = finish.style_of(set(), folder / "webfonts", {}, finish.symbols(theme))
    families = dict(
        re.findall(r"font-family: '([^']*)'; font-weight: 900; src: url\(data:font/woff;base64,([^)]*)", style)
    )
    assert {*finish.FREE, "fas"} == set(families)
    assert bell in TTFont(io.BytesIO(base64.b64decode(families[finish.FREE[0]]))).getBestCmap()


def test_nothing_is_loaded_for_nothing():
    head = (THEME.parent / "static" / "webpack-macros.html").read_text()
    assert "preload" in head and "fontawesome" in head
    left = finish.mended(head)
    assert 'as="font"' not in left and "all.min.js" not in left and "all.min.css" in left and "bootstrap.js" in left


def test_a_page_has_one_viewport():
    one, other = (
        f'<meta name="viewport" content="width=device-width, initial-scale={scale}" />' for scale in ("1.0", "1")
    )
    assert finish.mended(f"{one}\n{other}\n<title>T</title>{other}") == f"{one}\n<title>T</title>"


def test_a_page_without_math_does_not_load_mathjax():
    script = '<script defer="defer" src="_static/mathjax/tex-svg.mjs?v=5"></script>\n<p>x</p>'
    assert finish.mended(script) == "<p>x</p>"
    assert "tex-svg" in finish.mended(script + '<span class="math notranslate">x</span>')


def test_cells_without_a_word_head_nothing_and_tables_are_reached_by_the_keyboard():
    table = '<div class="pst-scrollable-table-container"><th class="blank">&nbsp;</th><th>a</th><th></th></div>'
    assert finish.mended(table) == (
        '<div class="pst-scrollable-table-container" tabindex="0"><td class="blank"></td><th>a</th><td></td></div>'
    )
