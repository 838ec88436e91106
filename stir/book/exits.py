"""Sphinx extension: links out of a page to its notebook and tables, to services that run it, and to its citation."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from sphinx.application import Sphinx
from sphinx.config import Config

from stir.book import places, slides
from stir.book.address import ADDRESS, GITHUB
from stir.book.parameters import declared
from stir.book.staging import made_from
from stir.book.takeaways import STUDENT, alone, installing, with_parameters

NOTEBOOKS, TABLES, SLIDES = "notebooks", "tables", "slides"  # folders of a built book
MATHJAX = "../_static/mathjax"  # as seen from the slides
COURSE = "runs/course/"  # begins the names of the sessions' pages
CLASS = "course/index"  # the course's own page, which offers the notebooks of all sessions
COLAB = "colab"  # the branch that CI pushes a built book's notebooks to, from where Colab opens them
PRINT = "book.pdf"  # beside the pages, if `make pdf` has printed them
PAPER = "https://arxiv.org/abs/2206.11939"
AUTHORS_CODE = "https://github.com/nvedant07/STIR"


@dataclass(frozen=True)
class Exit:
    """A link out of a page.

    Attributes:
        words: of the link.
        address: a URL, or a path in the built book.
        icon: Font Awesome's name of its picture.
    """

    words: str
    address: str
    icon: str

    @property
    def is_here(self) -> bool:
        """True if it leads to a file of the book."""
        return "://" not in self.address


def tables(page: str, book: Path) -> list[Path]:
    """Return the tables beside an executed page, `runs/<scale>/<name>`, from which its figures are drawn."""
    path = book / page
    return [path.with_suffix(".csv"), *sorted(path.parent.glob(f"{path.name}-*.csv"))] if _is_run(page) else []


def downloads(page: str, book: Path) -> list[Exit]:
    """Return the links to a page's downloads: notebook, tables, slides, or all notebooks of the course."""
    name = page.rpartition("/")[2]
    links = []
    if page == CLASS and sessions(book):
        links.append(Exit("all sessions, as one ZIP file", f"{NOTEBOOKS}/sessions.zip", "fas fa-file-zipper"))
    if page.startswith("runs/") and _notebook(page, book).exists():
        links.append(Exit(f"{name}.ipynb", f"{NOTEBOOKS}/{_place(page)}.ipynb", "fas fa-file-code"))
    if page in sessions(book):
        links.append(Exit("slides", f"{SLIDES}/{name}.html", "fas fa-person-chalkboard"))
    scale = page.rpartition("/")[0].rpartition("/")[2]
    files = [file for file in tables(page, book) if file.exists()]
    return links + [Exit(file.name, f"{TABLES}/{scale}/{file.name}.zip", "fas fa-table") for file in files]


def launches(page: str, address: str, branch: str) -> list[Exit]:
    """Return the links that open the notebook of a page elsewhere; none without a public address."""
    if not address or not (_is_run(page) or page.startswith(COURSE)):
        return []
    project, file = address.removeprefix(GITHUB), quote(f"{page.rpartition('/')[2]}.ipynb")
    colab = f"https://colab.research.google.com/github/{project}/blob/{COLAB}/{quote(_place(page))}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{project}/{quote(branch, '')}?labpath={NOTEBOOKS}%2F{file}"
    # A session's notebook is written by the build, and so in no folder of the repository that Binder opens.
    binders = [Exit("Binder", binder, "fas fa-rocket")] if _is_run(page) else []
    return [Exit("Colab", colab, "fas fa-rocket"), *binders]


def prints(book: Path) -> list[Exit]:
    """Return the link to the book as one PDF, if there is one."""
    return [Exit("The book as PDF", PRINT, "fas fa-file-pdf")] if (book / PRINT).exists() else []


def sources(page: str, address: str, book: Path) -> list[Exit]:
    """Return the links that stand on every page; those to the repository only if that has a public address."""
    links = [
        *prints(book),
        Exit("Cite", "bibliography.html#cite", "fas fa-quote-right"),
        Exit("The paper", PAPER, "fas fa-file-lines"),
        Exit("The authors' code", AUTHORS_CODE, "fab fa-github"),
    ]
    if address:
        problem = f"{address}/issues/new?title={quote(f'{page}.html', '')}"
        links.append(Exit("This repository", address, "fab fa-github"))
        links.append(Exit("Report a problem", problem, "fas fa-circle-exclamation"))
    return [*links, Exit("MIT licence", "bibliography.html#licence", "fas fa-scale-balanced")]


def takeaway(page: str, book: Path, address: str) -> str:
    """Return the text of the notebook that a page offers: a session for students, or a finding's source, which gets
    the parameters that the page was executed with.

    Raises:
        ValueError: a picture of a session is not there.
    """
    path = _notebook(page, book)
    content = nbformat.read(path, as_version=4)
    if path.name.endswith(STUDENT):
        content = alone(content, path.parent)
    else:
        values = made_from(book / f"{page}.json").get("parameters", {})
        content = with_parameters(content, declared(path), places.differences(path, {}, values))
    return nbformat.writes(installing(content, address))


def sessions(book: Path) -> list[str]:
    """Return the pages of the course's sessions that offer a notebook, in their order."""
    paths = sorted((book / COURSE).glob(f"*{STUDENT}"))
    return [f"{COURSE}{path.name.removesuffix(STUDENT)}" for path in paths]


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return files as a ZIP archive, equal for equal files; pandas reads that of one table as it is."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def content(page: str, way: Exit, book: Path, address: str) -> bytes:
    """Return the content of a file that a page offers.

    Raises:
        ValueError: as `takeaway`.
    """
    if page == CLASS:
        texts = {each.rpartition("/")[2]: takeaway(each, book, address) for each in sessions(book)}
        return zipped({f"sessions/{name}.ipynb": text.encode() for name, text in texts.items()})
    if way.address.startswith(f"{SLIDES}/"):
        executed = nbformat.read(book / f"{page}.ipynb", as_version=4)
        return slides.page(executed, (book / page).parent, MATHJAX, f"../{page}.html").encode()
    if way.address.endswith(".zip"):
        return zipped({way.words: (book / page).with_name(way.words).read_bytes()})
    return takeaway(page, book, address).encode()


def _notebook(page: str, book: Path) -> Path:
    """Path of the notebook that an executed page offers, whether or not it exists."""
    if page.startswith(COURSE):
        return book / f"{page}{STUDENT}"
    return book.parent / NOTEBOOKS / f"{page.rpartition('/')[2]}.ipynb"


def _place(page: str) -> str:
    """Path of a page's notebook among the downloads: in the folder of its scale, but for a session's."""
    return page.removeprefix(COURSE).removeprefix("runs/")


def _is_run(page: str) -> bool:
    return page.startswith("runs/") and page.count("/") == 2 and not page.startswith(COURSE)


def _check_address(_app: Sphinx, config: Config) -> None:
    address = _address(config)
    if address and not ADDRESS.fullmatch(address):
        raise ValueError(f"repository.url={address!r} in _config.yml is no address like {GITHUB}OWNER/NAME")


def _address(config: Config) -> str:
    return config.html_theme_options.get("repository_url", "")


def _add_exits(app: Sphinx, page: str, _template: str, context: dict[str, Any], doctree: Any) -> None:
    if doctree is None or app.builder.name != "html":
        return
    book, address = Path(app.srcdir), _address(app.config)
    here, elsewhere = (
        downloads(page, book),
        launches(page, address, app.config.html_theme_options.get("repository_branch") or "main"),
    )

    def url(way: Exit) -> str:
        path, hash_, place = way.address.partition("#")
        return context["pathto"](path, 1).rstrip("#") + hash_ + place if way.is_here else way.address

    for words, icon, ways in (
        ("Download", "fas fa-download", [*here, *prints(book)]),
        ("Open in", "fas fa-rocket", elsewhere),
    ):
        if ways:
            buttons = [dict(type="link", url=url(way), text=way.words, icon=way.icon) for way in ways]
            context["header_buttons"].append(
                dict(type="group", tooltip=words, icon=icon, buttons=buttons, label=words.split()[0].lower())
            )

    def links(ways: list[Exit]) -> str:
        return " · ".join(
            f'<a href="{escape(url(way))}"{" download" if way.is_here and ".html" not in way.address else ""}>'
            f"{escape(way.words)}</a>"
            for way in ways
        )

    lines = []
    if here:
        what = "the notebook and the tables behind its figures"
        if page == CLASS or page.startswith(COURSE):
            what = "the notebooks to work in" if page == CLASS else "the notebook to work in and the slides"
        lines.append(f"To take with you, {what}: {links(here)}.")
    if elsewhere:
        lines.append(f"The notebook opens in {links(elsewhere)}.")
    if lines:
        context["body"] += f'<aside class="exits" aria-label="Downloads"><p>{" ".join(lines)}</p></aside>\n'
    context["theme_extra_footer"] = f'<p class="exits">{links(sources(page, address, book))}</p>'


def _write_files(app: Sphinx, error: Exception | None) -> None:
    if error or app.builder.name != "html":
        return
    book, html, address = Path(app.srcdir), Path(app.outdir), _address(app.config)
    if prints(book):
        shutil.copy(book / PRINT, html / PRINT)
    for page in sorted(app.env.found_docs):
        for way in downloads(page, book):
            path = html / way.address
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(page, way, book, address))


def setup(app: Sphinx) -> dict[str, bool]:
    """Have the exits added to the pages, and the files that they lead to written."""
    app.connect("config-inited", _check_address)
    app.connect("html-page-context", _add_exits, priority=600)  # after the theme's own buttons
    app.connect("build-finished", _write_files, priority=950)  # slides are no pages that `stir.book.finish` mends
    return {"parallel_read_safe": True, "parallel_write_safe": True}
