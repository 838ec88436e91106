"""Links of a page: inside a book to its pages, elsewhere to files of the project."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from stir.book.contents import pages_of

LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:|#|/)([^)\s#]+)\)")
RUNS = "runs/"  # begins the names of a book's executed pages


def in_book(text: str, page: str, pages: Collection[str], elsewhere: Mapping[str, str] | None = None) -> str:
    """Point the links in Markdown to pages of a book: by their name, or else by their notebook.

    Args:
        text: of a page; its links are those of the project's book, `runs/<scale>/<notebook>.ipynb` for an executed one.
        page: the page's name, a path in the book without an ending.
        pages: names of all the book's pages, in their order.
        elsewhere: name of a page that only other books have, or of its notebook -> its title. A link to it is left as
            words. Without a title the link stays as it is, so that the book is not built.
    """
    folder = posixpath.dirname(page)

    def lead(words: str, target: str) -> str | None:
        name, ending = posixpath.splitext(posixpath.normpath(posixpath.join(folder, target)))
        notebook = posixpath.basename(name)
        if name in pages or not ending:
            return None
        like = next((each for each in pages if each.startswith(RUNS) and posixpath.basename(each) == notebook), None)
        if like and name.startswith(RUNS):
            return f"[{words}]({posixpath.relpath(like, folder)}{ending})"
        title = (elsewhere or {}).get(name) or (elsewhere or {}).get(notebook)
        return words or title if title else None

    return _redirected(text, lead)


def outside(text: str, name: str, folder: Path, project: Path) -> str:
    """Rewrite the links in a page's Markdown for a file in another folder.

    Args:
        name: of the notebook.
        folder: of the executed notebook. In one of the book's, links lead to what is, or will be, beside it.
    """
    book = project / "book"
    page = f"{Path(os.path.relpath(folder.resolve(), book.resolve())).as_posix()}/{name}"
    pages = pages_of(project)
    if page in pages:
        text = in_book(text, page, pages)

    def lead(words: str, target: str) -> str | None:
        target = target.removesuffix(".html") + (".ipynb" if target.endswith(".html") else "")
        place = folder / target
        if not place.exists() and page not in pages:
            source = project / "notebooks" / Path(target).name
            place = source if target.endswith(".ipynb") else Path(os.path.normpath(book / RUNS / "scale" / target))
            if not place.exists():
                return None
            target = Path(os.path.relpath(place.resolve(), folder.resolve())).as_posix()
        return f"[{words}]({target})"

    return _redirected(text, lead)


def _redirected(text: str, lead: Callable[[str, str], str | None]) -> str:
    """Markdown with each link replaced by the result of `lead` for its words and target; None leaves it as it is."""

    def link(match: re.Match) -> str:
        replaced = lead(match[1], match[2])
        return match[0] if replaced is None else replaced

    return LINK.sub(link, text)
