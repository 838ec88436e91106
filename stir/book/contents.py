"""The book's table of contents: its pages, and the scales that a notebook has a page at."""

from __future__ import annotations

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
    if folder.resolve().parent != (project / "book" / "runs").resolve():
        return ""
    parts = [page.split("/") for page in pages(project)]
    scales = [part[1] for part in parts if part[0] == "runs" and part[-1] == notebook.stem]
    links = [f"[{title(project, each)}](../{each}/{notebook.name})" for each in scales if each != scale]
    return f"**{title(project, scale)}.**" + (f" The same with: {', '.join(links)}." if links else "")
