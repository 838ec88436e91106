"""Slides of a session: its cells tagged `slide`, as one HTML file that asks no other host for anything."""

from __future__ import annotations

import base64
import html
import mimetypes
import re
from collections.abc import Iterator
from pathlib import Path

from nbconvert.filters.markdown_mistune import markdown2html_mistune
from nbformat import NotebookNode

from stir.course import sources

TEMPLATE = Path(__file__).with_name("slides.html")


def write(executed: NotebookNode, folder: Path, path: Path) -> None:
    """Write the slides of an executed session, beside the folder `mathjax`.

    Args:
        folder: of the session's page, from where its pictures are found.

    Raises:
        ValueError: a picture is not there.
    """
    slides = "\n".join(f"<section>{slide}</section>" for slide in _slides(executed, folder))
    page = TEMPLATE.read_text(encoding="utf-8")
    page = page.replace("TITLE", html.escape(sources.title(executed))).replace("SLIDES", slides)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _slides(executed: NotebookNode, folder: Path) -> Iterator[str]:
    for cell in executed.cells:
        if not sources.has_tag(cell, "slide"):
            continue
        if cell.cell_type == "markdown":
            text = re.sub(r"(?<!!)\[([^\]]+)\]\((?!\w+:)[^)\s]+\)", r"\1", cell.source)
            yield re.sub(r'src="(?!data:)([^"]+)"', lambda match: f'src="{_embedded(folder / match[1])}"', _html(text))
        else:
            outputs = [output.data for output in cell.get("outputs", []) if "data" in output]
            alt = html.escape(cell.metadata.get("mystnb", {}).get("image", {}).get("alt", ""))
            panels = [_picture(data["image/png"], alt) for data in outputs if "image/png" in data]
            if panels:
                yield f'<div class="panels">{"".join(panels)}</div>'
            yield from (data["text/html"] for data in outputs if "text/html" in data and "image/png" not in data)


def _picture(png: str, alt: str) -> str:
    """The image of a PNG in base 64, as it is in a notebook."""
    return f'<img src="data:image/png;base64,{"".join(png.split())}" alt="{alt}">'


def _html(text: str) -> str:
    return re.sub(r'<a class="anchor-link".*?</a>', "", markdown2html_mistune(text))


def _embedded(path: Path) -> str:
    if not path.exists():
        raise ValueError(f"{path.resolve()} is not there yet; run `stir book` first, which makes the book's figures")
    kind = mimetypes.guess_type(path.name)[0]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
