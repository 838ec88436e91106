"""The book's table of contents: its pages, and the scales that a notebook has a page at."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml


def pages(project: Path) -> list[str]:
    """The pages of `book/_toc.yml` in their order, as paths in `book` without an ending; none without such a file."""
    path = project / "book" / "_toc.yml"
    return _files(yaml.safe_load(path.read_text(encoding="utf-8"))) if path.exists() else []


def _files(entry: Any) -> list[str]:
    if isinstance(entry, list):
        return [file for each in entry for file in _files(each)]
    if not isinstance(entry, dict):
        return []
    own = [entry[name] for name in ("root", "file") if name in entry]
    return own + [file for value in entry.values() for file in _files(value)]


def title(project: Path, scale: str) -> str:
    """What a scale is: its file begins with a comment that says it, up to a colon; else its name."""
    path = project / "notebooks" / "scales" / f"{scale}.yml"
    first = path.read_text(encoding="utf-8").partition("\n")[0] if path.exists() else ""
    return first.removeprefix("#").partition(":")[0].strip() if first.startswith("#") else scale


def about(notebook: Path, folder: Path) -> str:
    """Markdown of what the scale of a page is, with links to the pages of `notebook` at other scales.

    Args:
        folder: of the page; unless it is `book/runs/<scale>`, the text is empty.
    """
    project, scale = notebook.parents[1], folder.name
    if not is_of_book(project, folder):
        return ""
    others = [each for each in _scales_of(project, notebook.stem) if each != scale]
    links = [f"[{title(project, each)}](../{each}/{notebook.name})" for each in others]
    return f"**{title(project, scale)}.**" + (f" The same with: {', '.join(links)}." if links else "")


def with_links(text: str, project: Path, folder: Path) -> str:
    """Lead links to notebooks that the book has no page of at the scale of `folder` to those at another scale.

    Args:
        text: Markdown of a notebook, which links to others by their file's name.
        folder: of the page; unless it is `book/runs/<scale>`, the text stays as it is.
    """

    def link(match: re.Match) -> str:
        scales = _scales_of(project, match[1])
        return match[0] if folder.name in scales or not scales else f"](../{scales[0]}/{match[1]}.ipynb)"

    return re.sub(r"\]\((\w+)\.ipynb\)", link, text) if is_of_book(project, folder) else text


def is_of_book(project: Path, folder: Path) -> bool:
    """Whether `folder` is `book/runs/<scale>`."""
    return folder.resolve().parent == (project / "book" / "runs").resolve()


def _scales_of(project: Path, name: str) -> list[str]:
    """The scales at which the book has a page of a notebook, in their order."""
    parts = [page.split("/") for page in pages(project)]
    return [part[1] for part in parts if part[0] == "runs" and part[-1] == name]
