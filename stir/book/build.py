"""Build of the book from executed notebooks and prose."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import nbformat
import yaml

from stir.book import links
from stir.book.address import with_address
from stir.book.benchmarks import with_benchmarks
from stir.book.claims import with_claims
from stir.book.contents import Book, project_book
from stir.book.pages import for_book, with_tables
from stir.book.staging import LOCK, is_whole, staging, vouch
from stir.book.takeaways import STUDENT
from stir.computing import processes

PDF = "book.pdf"  # in `_build`, and in a book of which it is the print
STAGED = ".building-"  # begins the name of the folder that a book is built in
VERSIONS = ("jupyter-book", "sphinx", "myst-nb", "sphinx-book-theme")


def build_book(project: Path, book: Book | None = None, place: str = "html") -> Path:
    """Build a Jupyter Book, with warnings as errors, and return its first page.

    The book is built aside, from nothing that an earlier build left, and takes its place when it is whole; one that is
    current is not built again. It leads to its print, if `stir.book.pdf` has made one of the same sources.

    Args:
        project: its folder, with `_config.yml` and what `book` holds beside pages.
        book: what it is made of; None for the project's own.
        place: its folder in `_build`.

    Raises:
        ValueError: an executed notebook holds an error.
        RuntimeError: Jupyter Book failed; the message has its warnings, or the last line of its output.
    """
    book = book or project_book(project)
    for path in book.notebooks.values():
        check_page(path)
    build, html = project / "_build", project / "_build" / place
    with staging(build, STAGED) as staged:
        write_sources(project, book, staged)
        if is_printed(build, staged):
            shutil.copy(build / PDF, staged / "book" / PDF)
        manifest, made_of = build / f"{place}.json", fingerprint(staged)
        if not is_whole(manifest, html, made_of):
            run_jupyter_book(staged)
            manifest.unlink(missing_ok=True)
            if html.exists():
                os.replace(html, staged / "before")
            os.replace(staged / "_build" / "html", html)
            files = [path.relative_to(html) for path in sorted(html.rglob("*")) if path.is_file()]
            vouch(staged, manifest, html, files, made_of)
    return html / "index.html"


def is_printed(build: Path, staged: Path) -> bool:
    """Return whether the PDF in `build` is that of the sources in `staged`, as `write_sources` has written them."""
    return is_whole(print_manifest(build), build, fingerprint(staged))


def print_manifest(build: Path) -> Path:
    """Path of the manifest that vouches for the PDF in `build`."""
    return build / f"{PDF}.json"


def check_page(path: Path) -> None:
    """Raise a ValueError if an executed notebook holds an error."""
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    failed = any(output.output_type == "error" for output in outputs)
    if failed or notebook.metadata.get("papermill", {}).get("exception"):
        raise ValueError(f"{path} ended with an error; run it again before building the book")


def write_sources(project: Path, book: Book, folder: Path) -> None:
    """Write into a folder all that Jupyter Book reads, and the files that pages link to: notebooks and tables."""
    config = with_address(yaml.safe_load((project / "_config.yml").read_text(encoding="utf-8")), project)
    _write(folder / "_config.yml", yaml.safe_dump(config | ({"title": book.title} if book.title else {})))
    # Beside pages: pictures, tables and references.
    other = shutil.ignore_patterns("runs", "evidence", "*.md", "*.ipynb", "_toc.yml", ".*")
    shutil.copytree(project / "book", folder / "book", ignore=other)
    _write(folder / "book" / "_toc.yml", yaml.safe_dump(book.toc, sort_keys=False))
    for source in (project / "notebooks").glob("*.ipynb"):
        _write(folder / "notebooks" / source.name, source.read_text(encoding="utf-8"))
    for page, text in book.prose.items():
        whole = with_claims(with_benchmarks(with_tables(text, project), project), book)
        _write(folder / "book" / f"{page}.md", links.in_book(whole, page, book.pages, book.elsewhere))
    for page, path in book.notebooks.items():
        _write(folder / "book" / f"{page}.ipynb", nbformat.writes(for_book(path, page, book)))
        for beside in path.parent.glob(f"{path.stem}*"):  # figures that prose shows, what the page leads to
            if beside.suffix in (".svg", ".png", ".csv") or beside.name == f"{path.stem}{STUDENT}":
                shutil.copy(beside, (folder / "book" / page).parent)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def fingerprint(folder: Path) -> str:
    """Hash of the book's sources and of the programs that build it."""
    digest = hashlib.sha256(repr([(name, version(name)) for name in VERSIONS]).encode())
    package = sorted(Path(__file__).parents[1].rglob("*.py"))  # its docstrings are pages
    for path in [*package, *sorted(folder.rglob("*"))]:
        if path.is_file() and path.name != LOCK:
            content = path.read_bytes()
            digest.update(f"{os.path.relpath(path, folder)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def run_jupyter_book(folder: Path, *options: str) -> None:
    """Run the command of Jupyter Book in a folder of `write_sources`, with warnings as errors, into its `_build`.

    Raises:
        RuntimeError: it failed.
    """
    # The command of this environment, which need not be on the PATH; it ends with this process. Run by its path, the
    # module comes without all of the package.
    watch = f"import runpy; runpy.run_path({processes.__file__!r})['end_with']({os.getpid()})"
    command = [sys.executable, "-c", f"{watch}; from jupyter_book.cli.main import main; main()"]
    command += ["build", "book", "--config", "_config.yml", "--path-output", str(folder), "-W", "-n", "--keep-going"]
    command += options
    process = subprocess.run(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if process.returncode:
        lines = [line for line in process.stdout.splitlines() if line.strip()]
        # Where it ends by an exception, that is the last line.
        problems = [line for line in lines if re.search("WARNING|ERROR|CRITICAL", line)] or lines[-1:]
        raise RuntimeError("\n".join(["Jupyter Book failed:", *problems]).replace(f"{folder}/", ""))
