"""Sphinx extension: preview of a shared page, made of its first words and the book's picture."""

from __future__ import annotations

import re
import shutil
from html import escape
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.config import Config

PAGE_ADDRESS = re.compile(r'<meta property="og:url"[^>]*>\n?')  # of a page that has no full one
LENGTH = 200  # of a description, as search engines show it
# Nobody reads these in a description; a page of a scale names it, and the others in links.
LEFT_OUT = '.bibtex-citation, [aria-hidden="true"], a.headerlink, figure, table, .admonition-title'
OTHERS = re.compile(r"The same with: .*")
FORMULA = re.compile(r"\\\((.*?)\\\)", re.DOTALL)


def description(body: str) -> str:
    """Return the first words of a page's HTML, without citations: those of its answer, if it opens with one."""
    soup = BeautifulSoup(body, "html.parser")
    for part in soup.select(LEFT_OUT):
        part.decompose()
    answer = soup.select(".answer")
    text = ""
    for paragraph in answer[0].select("p") if answer else soup.select("p"):
        words = FORMULA.sub(r"\1", OTHERS.sub("", " ".join(paragraph.get_text().split()))).strip()
        if "\\" in words or (paragraph.strong and paragraph.strong.get_text() == words):
            continue  # TeX, or the scale alone, as a page begins with it
        text = re.sub(r" (?=[.,;:])", "", f"{text} {words}".strip())
        text = text[:1].upper() + text[1:]
        if len(text) > LENGTH:
            return text[: LENGTH - 1].rpartition(" ")[0] + "…"
    return text


def _find_picture(app: Sphinx, config: Config) -> None:
    config["ogp_site_url"] = config.html_baseurl  # sphinxext-opengraph has a name of its own for it
    if not config.html_baseurl or not (Path(app.srcdir) / _picture(config)).is_file():
        config["ogp_image"] = ""  # who shows a shared page reads its picture from a full address


def _picture(config: Config) -> str:
    return config.ogp_image if "ogp_image" in config else ""


def _describe(app: Sphinx, _page: str, _template: str, context: dict[str, Any], doctree: Any) -> None:
    """Give a page its description before sphinxext-opengraph does, which would take text that is not HTML yet."""
    if doctree is None or app.builder.name != "html":
        return
    if text := description(context.get("body", "")):
        context["meta"] = {**(context.get("meta") or {}), "og:description": escape(text)}
        context["metatags"] = f'{context.get("metatags", "")}<meta name="description" content="{escape(text)}" />\n'


def _drop_address(app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    if not app.config.html_baseurl:
        context["metatags"] = PAGE_ADDRESS.sub("", context.get("metatags", ""))


def _copy_picture(app: Sphinx, error: Exception | None) -> None:
    if not error and app.builder.name == "html" and (picture := _picture(app.config)):
        place = Path(app.outdir, picture)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(app.srcdir, picture), place)


def setup(app: Sphinx) -> dict[str, bool]:
    """Have the pages described, and their picture found where they have an address."""
    app.connect("config-inited", _find_picture)
    app.connect("html-page-context", _describe, priority=400)  # before sphinxext-opengraph
    app.connect("html-page-context", _drop_address, priority=600)  # after it
    app.connect("build-finished", _copy_picture)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
