"""Slides of a session of the course: its cells tagged `slide`, as one HTML page that needs no other host."""

from __future__ import annotations

import base64
import html
import mimetypes
import re
from collections.abc import Iterator
from pathlib import Path

from nbconvert.filters.markdown_mistune import markdown2html_mistune
from nbformat import NotebookNode

TEMPLATE = Path(__file__).with_name("slides.html")


def page(executed: NotebookNode, folder: Path, mathjax: str, back: str = "") -> str:
    """Return the slides of an executed session, as the text of an HTML page.

    Args:
        folder: of the session's page, from where its pictures are found.
        mathjax: where the slides find the folder of MathJax, as a relative address.
        back: that of the session's page, to which the slides lead; empty where there is none beside them.

    Raises:
        ValueError: a picture is not there.
    """
    slides = "\n".join(f"<section>{slide}</section>" for slide in _slides(executed, folder))
    title = executed.cells[0].source.partition("\n")[0].removeprefix("#").strip()
    text = TEMPLATE.read_text(encoding="utf-8").replace("MATHJAX", html.escape(mathjax))
    link = f'<a class="back" href="{html.escape(back)}">← The session’s page</a>' if back else ""
    return text.replace("TITLE", html.escape(title)).replace("BACK", link).replace("SLIDES", slides)


def _slides(executed: NotebookNode, folder: Path) -> Iterator[str]:
    for cell in executed.cells:
        if "slide" not in cell.metadata.get("tags", []):
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
