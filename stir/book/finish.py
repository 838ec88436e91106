"""Sphinx extension: repairs of a built book that the theme and pandas leave to do.

The theme loads all of Font Awesome, as fonts, which browsers do not let pages fetch from files, and again as a script
of 1.5 MB, for the few icons on its buttons. Here these few come with the style sheet. Tables that scroll are reached
by the keyboard, wide ones can be stacked, and cells without a word head nothing.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx

from stir.book import tables

ICONS = Path("_static", "vendor", "fontawesome")  # in the built book
FACES = {"fas": "solid-900", "far": "regular-400", "fab": "brands-400"}
SYNONYMS = {"fa-solid": "fas", "fa-regular": "far", "fa-brands": "fab"}
# Names under which the theme's own style sheets use the first of `FACES`.
FREE = ("Font Awesome 6 Free", "Font Awesome 5 Free")
SHORTHAND = ':root { --fa-font-solid: normal 900 1em/1 "Font Awesome 6 Free"; }'
PRELOADS = re.compile(r'<link rel="preload" as="font"[^>]*>\n?|<script src="[^"]*/fontawesome/[^"]*"></script>\n?')
VIEWPORT = re.compile(r'<meta name="viewport"[^>]*>\n?')
MATH, SCRIPT = re.compile(r'class="math\b'), re.compile(r"<script [^>]*/mathjax/[^>]*></script>\n?")
EMPTY_HEADER = re.compile(r"<th\b([^>]*)>(?:\s|&nbsp;|&#160;)*</th>")
# HTML that the keyboard does not reach or a screen reader has no name for, and its replacement.
UNNAMED = {
    '<div class="pst-scrollable-table-container">': '<div class="pst-scrollable-table-container" tabindex="0">',
    '<div class="bd-sidebar-primary': '<div role="region" aria-label="Book" class="bd-sidebar-primary',
    '<summary><span class="toctree-toggle"': '<summary aria-label="Pages below"><span class="toctree-toggle"',
    'role="doc-biblioentry"': 'role="listitem"',  # of a list, which ARIA has in place of it since 1.3
}


def mended(page: str) -> str:
    """Return the HTML of a page without needless downloads, with all its parts named and reachable by the keyboard."""
    page = EMPTY_HEADER.sub(r"<td\1></td>", PRELOADS.sub("", page))
    if not MATH.search(page):  # Sphinx has MathJax on the first page if any page has math
        page = SCRIPT.sub("", page)
    if first := VIEWPORT.search(page):  # Sphinx, docutils and the theme have one each
        page = page[: first.end()] + VIEWPORT.sub("", page[first.end() :])
    for part, whole in UNNAMED.items():
        page = page.replace(part, whole)
    return tables.stacked(page)


def icons(page: str) -> set[tuple[str, str]]:
    """Return face and name of each icon on a page: ("fas", "fa-download")."""
    used: set[tuple[str, str]] = set()
    for classes in re.findall(r'<(?:i|span)\b[^>]*\bclass="([^"]*\bfa[^"]*)"', page):
        names = [SYNONYMS.get(name) or name for name in classes.split()]
        faces = [name for name in names if name in FACES]
        used |= {(face, name) for face in faces for name in names if name.startswith("fa-")}
    return used


def codes(style: str) -> dict[str, int]:
    """Return the code points of icons by name, from Font Awesome's own style sheet."""
    points = {}
    for names, code in re.findall(r'((?:\.fa-[\w-]+:before,?)+)\{content:"\\([0-9a-f]+)"', style):
        points.update(dict.fromkeys(re.findall(r"\.(fa-[\w-]+):before", names), int(code, 16)))
    return points


def symbols(style: str) -> set[int]:
    """Return the code points of the icons that a style sheet draws itself, as before the titles of admonitions."""
    escaped = re.findall(r'"\\([ef][0-9a-f]{3})"', style)
    return {ord(symbol) for symbol in re.findall("[\ue000-\uf8ff]", style)} | {int(code, 16) for code in escaped}


def style_of(used: set[tuple[str, str]], fonts: Path, points: dict[str, int], others: Iterable[int] = ()) -> str:
    """Return a style sheet that draws the icons `used`, with their shapes in it.

    Args:
        fonts: folder of Font Awesome's TrueType fonts.
        points: code points of icons, as of `codes`.
        others: code points that other style sheets draw with the solid face.
    """
    rules = [
        SHORTHAND,
        ":is(i, span)[class*='fa-'] { font-style: normal; line-height: 1; display: inline-block; }",
        ".fa-lg { font-size: 1.25em; }",
    ]
    for face, name in FACES.items():
        wanted = {icon: points[icon] for own, icon in sorted(used) if own == face and icon in points}
        shapes = {*wanted.values(), *(others if face == "fas" else ())}
        if not shapes:
            continue
        data, weight = _subset(fonts / f"fa-{name}.ttf", shapes), name.rpartition("-")[2]
        rules += [
            f"@font-face {{ font-family: '{family}'; font-weight: {weight}; src: url(data:font/woff;base64,{data}); }}"
            for family in (face, *(FREE if face == "fas" and others else ()))
        ]
        longer = next(long for long, short in SYNONYMS.items() if short == face)
        rules.append(f".{face}, .{longer} {{ font-family: '{face}'; font-weight: {weight}; }}")
        rules += [f".{icon}::before {{ content: '\\{point:x}'; }}" for icon, point in wanted.items()]
    return "\n".join(rules) + "\n"


def _subset(font: Path, shapes: set[int]) -> str:
    """Subset of a font with the given characters, as WOFF in base 64."""
    whole, content = TTFont(font, recalcTimestamp=False), io.BytesIO()
    subsetter = subset.Subsetter(subset.Options(layout_features=[], notdef_outline=True))
    subsetter.populate(unicodes=sorted(shapes))
    subsetter.subset(whole)
    whole.flavor = "woff"
    whole.save(content)
    return base64.b64encode(content.getvalue()).decode()


def finish(app: Sphinx, error: Exception | None) -> None:
    """Mend the built pages, put the icons that they use in place of Font Awesome, and drop maps of minified files."""
    html = Path(app.outdir)
    if error or not (html / ICONS).exists():
        return
    (folder,) = (html / ICONS).iterdir()
    style = folder / "css" / "all.min.css"
    points, used = codes(style.read_text(encoding="utf-8")), set()
    for path in html.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        used |= icons(page)
        path.write_text(mended(page), encoding="utf-8")
    others = [path.read_text(encoding="utf-8") for path in (html / "_static" / "styles").glob("*.css")]
    drawn = set().union(*map(symbols, others))
    style.write_text(style_of(used, folder / "webfonts", points, drawn), encoding="utf-8")
    for path in [*folder.rglob("*"), *html.glob("_static/**/*.map")]:
        if path.is_file() and path != style and "LICENSE" not in path.name:
            path.unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    """Have a built book finished."""
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
