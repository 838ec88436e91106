"""The book as one PDF: all pages in one, as Sphinx makes them, printed by Chromium."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from stir.book.build import (
    PDF,
    STAGED,
    build_book,
    fingerprint,
    is_printed,
    print_manifest,
    run_jupyter_book,
    write_sources,
)
from stir.book.contents import project_book
from stir.book.staging import staging, vouch

MATH_IS_SET = "() => window.MathJax?.startup?.promise?.then(() => true)"
PREPARE = Path(__file__).with_name("print.js")
NOTE = (
    "Printed from version {version}. In a browser the book also has what unfolds, the code, the parameters and the "
    "answers of each page, and a page on which networks and steps are chosen. The notebooks in the project make all of "
    "it again."
)
MARGINS: Any = {"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
SCALE = 0.8  # of a screen's sizes on paper
SHEET = (841, 1170)  # pixels between the margins at that scale
FOOTER = '<div style="width: 100%; font-size: 8px; text-align: center"><span class="pageNumber"></span></div>'


def browser() -> str:
    """Return the path of a Chromium.

    Raises:
        ValueError: there is none.
    """
    for name in ("chromium", "google-chrome", "chromium-browser"):
        if path := shutil.which(name):
            return path
    raise ValueError("no Chromium is on the PATH, which prints the book; install chromium")


def front(project: Path) -> list[str]:
    """Return what stands on the first sheet: the book's title, its authors, and what paper lacks."""
    config = yaml.safe_load((project / "_config.yml").read_text(encoding="utf-8"))
    return [config["title"], config.get("author", ""), NOTE.format(version=version("stir-companion"))]


def print_book(project: Path) -> Path:
    """Print the Jupyter Book in `project/book`, with warnings as errors, and return the PDF, `_build/book.pdf`.

    One that is current is not printed again.

    Raises:
        ValueError: there is no Chromium.
        RuntimeError: Jupyter Book failed, as in `stir.book.build.build_book`.
    """
    executable, build = browser(), project / "_build"
    with staging(build, STAGED) as staged:
        write_sources(project, project_book(project), staged)
        if not is_printed(build, staged):
            made_of = fingerprint(staged)
            run_jupyter_book(staged, "--builder", "singlehtml")
            _print(executable, staged / "_build" / "singlehtml" / "index.html", front(project), staged / PDF)
            print_manifest(build).unlink(missing_ok=True)
            os.replace(staged / PDF, build / PDF)
            vouch(staged, print_manifest(build), build, [Path(PDF)], made_of)
    return build / PDF


def _print(executable: str, page: Path, first: list[str], pdf: Path) -> None:
    from playwright.sync_api import sync_playwright  # of [test], which few who build a book have

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        tab = chromium.new_page(viewport={"width": SHEET[0], "height": SHEET[1]}, color_scheme="light")
        tab.set_default_timeout(0)  # a long book on a slow machine
        tab.goto(page.as_uri())
        tab.evaluate(MATH_IS_SET)
        tab.emulate_media(media="print")
        tab.evaluate(PREPARE.read_text(encoding="utf-8"), first)
        tab.pdf(
            path=pdf,
            format="A4",
            scale=SCALE,
            margin=MARGINS,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
            print_background=True,
            outline=True,
            tagged=True,
        )
        chromium.close()


if __name__ == "__main__":
    print(print_book(Path.cwd()))
    print(build_book(Path.cwd()))  # which leads to it now
