"""Execution of the sessions, and their pages in the book."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from stir.book import evidence, freshness
from stir.book.kernels import START_TIMEOUT, kernels_that_end
from stir.book.pages import provenance
from stir.book.staging import is_whole, move_files, staging
from stir.book.takeaways import STUDENT
from stir.course import sources
from stir.files import digest

FOLDER = "book/runs/course"  # of the executed sessions, in the project
CELL_TIMEOUT = 3600  # seconds; the first to run may train networks


def pages(project: Path) -> list[Path]:
    """Paths of the sessions' pages, which need not exist."""
    return [project / FOLDER / f"{path.stem}.ipynb" for path in sources.paths(project)]


def is_current(source: Path, page: Path) -> bool:
    """True if a page is up to date with its source and the package."""
    return is_whole(page.with_suffix(".json"), page.parent, _made_of(source))


def make_pages(project: Path, tell: Callable[[str], object] = print) -> None:
    """Execute the sessions whose pages are stale.

    Raises:
        RuntimeError: a cell failed, a check of the solutions included; an earlier page stays.
    """
    for source, page in zip(sources.paths(project), pages(project)):
        if not is_current(source, page):
            tell(f"Executing the session {source.name} ...")
            make_page(source, page)


def make_page(source: Path, page: Path) -> None:
    """Execute a session with its solutions, and keep it as a page of the book.

    Beside it are the list of the files that it has used, and the notebook that students work in.

    Raises:
        RuntimeError: a cell failed, a check of the solutions included; an earlier page stays.
    """
    made_of, session = _made_of(source), sources.read(source)
    with staging(page.parent, ".running-") as staged:
        log, start = staged / ".used", time.perf_counter()
        notebook = execute(sources.page(session), staged, {"STIR_USED": str(log)}, source.name)
        used = evidence.read_log(log)
        log.unlink(missing_ok=True)
        ran = provenance({}, {}, "digits", time.perf_counter() - start).partition("\n")[0]
        notebook.cells.append(nbformat.v4.new_markdown_cell(ran, id="provenance"))
        sources.write(notebook, staged / page.name)
        sources.write(sources.student(session), staged / f"{page.stem}{STUDENT}")
        (staged / f"{page.stem}{evidence.USED}").write_text(json.dumps(used, indent=1), encoding="utf-8")
        move_files(staged, page.with_suffix(".json"), made_of)


def execute(notebook: NotebookNode, folder: Path, environment: dict[str, str], name: str) -> NotebookNode:
    """Execute a notebook in `folder`, in a process of its own with `environment`, which ends with it.

    Raises:
        RuntimeError: a cell failed.
    """
    with kernels_that_end(folder, environment) as kernel_manager_class:
        client = NotebookClient(
            notebook, timeout=CELL_TIMEOUT, startup_timeout=START_TIMEOUT, kernel_manager_class=kernel_manager_class,
            resources={"metadata": {"path": str(folder)}},
        )  # fmt: skip
        try:
            return client.execute()
        except CellExecutionError as error:
            raise RuntimeError(f"{name} failed: {error.ename}: {error.evalue}") from error


def _made_of(source: Path) -> dict[str, Any]:
    return {"source": digest(source), **freshness.of_the_package()}
