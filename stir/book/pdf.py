"""The book as one PDF: all pages in one, as Sphinx makes them, printed by Chromium."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from stir.book.build import STAGED, run_jupyter_book, write_sources
from stir.book.contents import project_book
from stir.book.staging import staging

MATH_IS_SET = "() => window.MathJax?.startup?.promise?.then(() => true)"
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


def print_book(project: Path) -> Path:
    """Print the Jupyter Book in `project/book`, with warnings as errors, and return the PDF, `_build/book.pdf`.

    Raises:
        ValueError: there is no Chromium.
        RuntimeError: Jupyter Book failed, as in `stir.book.build.build_book`.
    """
    from playwright.sync_api import sync_playwright  # of [test], which few who build a book have

    executable, build = browser(), project / "_build"
    with staging(build, STAGED) as staged:
        write_sources(project, project_book(project), staged)
        run_jupyter_book(staged, "--builder", "singlehtml")
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
            page = chromium.new_page()
            page.set_default_timeout(0)  # a long book on a slow machine
            page.goto((staged / "_build" / "singlehtml" / "index.html").as_uri())
            page.evaluate(MATH_IS_SET)
            page.pdf(  # folded cells and answers stay folded, as on a page
                path=staged / "book.pdf",
                format="A4",
                margin={"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"},
                display_header_footer=True,
                header_template="<span></span>",
                footer_template=FOOTER,
                print_background=True,
                outline=True,
                tagged=True,
            )
            chromium.close()
        os.replace(staged / "book.pdf", build / "book.pdf")
    return build / "book.pdf"


if __name__ == "__main__":
    print(print_book(Path.cwd()))
