"""Contents of a book: its table of contents, and the source of each page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stir.book.staging import made_from


@dataclass(frozen=True)
class Book:
    """The sources of a book.

    Attributes:
        title: above the sidebar; empty for that of `_config.yml`.
        toc: its table of contents, in Jupyter Book's form.
        prose: page -> its Markdown. A page is named by its path in the book without an ending.
        notebooks: page -> the executed notebook.
        labels: page -> what tells it from others of the same notebook.
        elsewhere: page that only other books have, or its notebook -> its title.
    """

    title: str
    toc: dict[str, Any]
    prose: Mapping[str, str]
    notebooks: Mapping[str, Path]
    labels: Mapping[str, str]
    elsewhere: Mapping[str, str]

    @property
    def pages(self) -> list[str]:
        """All pages, in their order."""
        return files_in(self.toc)


def project_book(project: Path) -> Book:
    """The book of a project: its table of contents, its prose, and the executed notebooks in `book/runs/<scale>`."""
    book, toc = project / "book", read_toc(project)
    notebooks = {page: book / f"{page}.ipynb" for page in files_in(toc) if (book / f"{page}.ipynb").exists()}
    parameterized = {path.stem for path in (project / "notebooks").glob("*.ipynb")}
    labels = {page: _label(project, path) for page, path in notebooks.items() if path.stem in parameterized}
    return Book("", toc, read_prose(project), notebooks, labels, {})


def _label(project: Path, executed: Path) -> str:
    """Label of an executed notebook's page: its scale, and the scale shown beside it, if there is one."""
    beside = made_from(executed.with_suffix(".json")).get("parameters", {}).get("beside")
    own = title(project, executed.parent.name)
    return f"{own}; beside it: {title(project, Path(beside).name)}" if beside else own


def read_toc(project: Path) -> dict[str, Any]:
    """The table of contents of a project's book.

    Raises:
        OSError: there is none.
    """
    return yaml.safe_load((project / "book" / "_toc.yml").read_text(encoding="utf-8"))


def read_prose(project: Path) -> dict[str, str]:
    """Page -> Markdown of the files in `book` and its folders."""
    book = project / "book"
    paths = (path.relative_to(book) for path in sorted(book.rglob("*.md")))
    own = [path for path in paths if path.parts[0] not in ("runs", "evidence")]
    return {path.with_suffix("").as_posix(): (book / path).read_text(encoding="utf-8") for path in own}


def pages_of(project: Path) -> list[str]:
    """The pages of a project's book in their order; none without a table of contents."""
    return files_in(read_toc(project)) if (project / "book" / "_toc.yml").exists() else []


def files_in(entry: Any) -> list[str]:
    """The pages that an entry of a table of contents holds, itself and below it, in their order."""
    if isinstance(entry, list):
        return [file for each in entry for file in files_in(each)]
    if not isinstance(entry, dict):
        return []
    own = [entry[name] for name in ("root", "file") if name in entry]
    return own + [file for value in entry.values() for file in files_in(value)]


def title(project: Path, scale: str) -> str:
    """Title of a scale: the first comment of its file, up to a colon; without one, its name."""
    path = project / "notebooks" / "scales" / f"{scale}.yml"
    first = path.read_text(encoding="utf-8").partition("\n")[0] if path.exists() else ""
    return first.removeprefix("#").partition(":")[0].strip() if first.startswith("#") else scale
