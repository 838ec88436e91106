"""Sphinx extension: figures as parts of their pages, in the colours of the page's theme.

A figure that a page refers to as an SVG is put into the page itself. What is drawn in black, white or gray there takes
the colours of the text and of the page, in the dark theme too; other colours, and the images in it, stay as they are.
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from sphinx.application import Sphinx

IMAGE = re.compile(r'<img (?=[^>]*\bsrc="([^"]*/?_images/[^"/]*\.svg)")[^>]*>')
ALT = re.compile(r'\balt="([^"]*)"')
INK = 0x26  # the gray of text in seaborn's styles, `stir.study.figures.use_style`: as dark as the page's own text
GRAY = re.compile(r"#([0-9a-f]{2})\1\1\b")
OPENING = re.compile(r"<svg [^>]*>")
SIZE = re.compile(r'\b(?:width|height|viewBox)="[^"]*"')
LEFT_OUT = re.compile(r"<metadata>.*?</metadata>|<style\b[^>]*>.*?</style>|<!--.*?-->", re.DOTALL)
NAMED = re.compile(r'(\bid="|\bhref="#|url\(#)')


def drawn(svg: str, alt: str, name: str) -> str:
    """Return the SVG of a figure by matplotlib as a part of an HTML page.

    Args:
        alt: what it shows, as the value of an attribute.
        name: begins the names in it, which no other part of the page may have.
    """
    opening = OPENING.search(svg)
    if not opening:
        raise ValueError("svg holds no drawing, <svg ...>; draw the figure again")
    content = LEFT_OUT.sub("", svg[opening.end() :])
    content = GRAY.sub(_mixed, NAMED.sub(rf"\g<1>{name}-", content))
    size = " ".join(SIZE.findall(opening[0]))
    return f'<svg class="drawing" role="img" aria-label="{alt}" {size} xmlns="http://www.w3.org/2000/svg">{content}'


def _mixed(gray: re.Match) -> str:
    """A gray as a mixture of the colours of a page's text and of its ground."""
    share = min(1.0, (0xFF - int(gray[1], 16)) / (0xFF - INK))
    return f"color-mix(in srgb, currentColor {share:.0%}, var(--pst-color-background))"


def draw(app: Sphinx, error: Exception | None) -> None:
    """Put the SVG of each figure into the built pages, in place of the `<img>` that refers to its file."""
    if error or app.builder.format != "html":
        return
    used: set[Path] = set()
    for path in Path(app.outdir).rglob("*.html"):
        page = path.read_text(encoding="utf-8")

        def inside(image: re.Match, path: Path = path) -> str:
            file = (path.parent / unescape(image[1])).resolve()
            used.add(file)
            alt = ALT.search(image[0])
            return drawn(file.read_text(encoding="utf-8"), alt[1] if alt else "", f"drawing{image.start()}")

        path.write_text(IMAGE.sub(inside, page), encoding="utf-8")
    for file in used:
        file.unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    """Have the figures of a built book drawn into its pages."""
    app.connect("build-finished", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
