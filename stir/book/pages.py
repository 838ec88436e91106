"""What the runner adds to an executed notebook: on what it ran, its parameters, and links that lead somewhere."""

from __future__ import annotations

import os
import re
import string
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat

from stir.book import contents
from stir.book.freshness import VERSIONS
from stir.book.parameters import Parameter
from stir.computing.devices import hardware, resolve_device
from stir.files import write_atomically

# Tags of the cells that a page opens with, in this order, wherever they stand in the notebook.
ANSWER = ("answer", "answer-figure")
MOVED = "*What came of this is the figure at the top of the page.*"


def annotate(executed: Path, source: Path, folder: Path, scale: str, *about: str) -> None:
    """Put the answer first and the run last, hide the injected parameters, mend links, and drop this machine's paths.

    Args:
        source: the notebook that was executed.
        folder: where the executed one goes.
        scale: Markdown of what the page's scale is, below the title.
        about: Markdown of the run, at the end. Empty texts are left out.
    """
    notebook = nbformat.read(executed, as_version=4)
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("remove-input")
        elif cell.cell_type == "markdown":
            cell.source = _with_links_from(cell.source, folder, source.parents[1])
    notebook.cells = _answer_first(notebook.cells)
    if scale:
        notebook.cells.insert(1, nbformat.v4.new_markdown_cell(scale, id="scale"))
    text = "\n\n".join(["## On what this ran", *filter(None, about)])
    notebook.cells.append(nbformat.v4.new_markdown_cell(text, id="provenance"))
    notebook.metadata.papermill.update(input_path=source.name, output_path=executed.name)
    nbformat.write(notebook, executed)


def _answer_first(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The cells with those of the answer after the title, and a note where its figure was made."""
    title, *rest = cells
    first = [[cell for cell in rest if tag in cell.metadata.get("tags", [])] for tag in ANSWER]
    moved = [cell for cells_of_tag in first for cell in cells_of_tag]
    figure = [cell.id for cell in first[1][:1]]
    note = nbformat.v4.new_markdown_cell(MOVED, id="moved")
    others = [note if cell.id in figure else cell for cell in rest if cell not in moved or cell.id in figure]
    return [title, *moved, *others]


def _with_links_from(text: str, folder: Path, project: Path) -> str:
    """Have the links in Markdown, which are those of a page of the book, lead to the same from another folder."""
    pages = project / "book" / "runs"
    if contents.is_of_book(project, folder):
        return contents.with_links(text, project, folder)

    def link(match: re.Match) -> str:
        words, target = match[1], match[2]
        if (folder / target).exists():
            return match[0]
        book = pages / "scale" / target
        place = project / "notebooks" / target if target.endswith(".ipynb") else Path(os.path.normpath(book))
        if not place.exists():
            return match[0]
        return f"[{words}]({Path(os.path.relpath(place.resolve(), folder.resolve())).as_posix()})"

    return re.sub(r"\[([^\]]*)\]\((?![a-z]+:|#|/)([^)\s#]+)\)", link, text)


def provenance(declared: Mapping[str, Parameter], values: Mapping[str, Any], scale: str, seconds: float) -> str:
    """Text of the scale, hardware, duration, date, versions and parameters of a run; HTML, which all viewers show."""
    device = resolve_device(values.get("device", "auto"))
    versions = ", ".join(f"{package} {version(package)}" for package in VERSIONS)
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        f"*Ran at the scale `{scale}` on {hardware(device)} in {seconds:.0f} s, {date}, "
        f"Python {sys.version.split()[0]}, {versions}.*",
        "",
        "<details>",
        "<summary>Parameters of this run</summary>",
        '<div class="pst-scrollable-table-container"><table class="table">',
        "<tr><th>parameter</th><th>value</th><th>what it is</th></tr>",
    ]
    for name, parameter in declared.items():
        value = str(values.get(name, parameter.default)).replace(str(Path.home()), "~")
        cells = f"<code>{name}</code>", _code(value), _text(parameter.help)
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return "\n".join([*lines, "</table></div>", "</details>"])


def _text(value: str) -> str:
    """HTML of a text on one line that no viewer takes for Markdown, mathematics or HTML, whatever it holds."""
    return "".join(
        f"&#{ord(each)};" if each in string.punctuation and each not in ",.-()'" else each
        for each in " ".join(value.split())
    )


def _code(value: str) -> str:
    """HTML of a text as code."""
    return f"<code>{_text(value)}</code>"


def write_notice(notebook: Path, folder: Path, scale: str, reason: str) -> None:
    """Write a page that says why the evidence does not make the page of `notebook`, unless an earlier page is there.

    Nothing vouches for it, so that the notebook is tried again.
    """
    page = folder / notebook.name
    if page.exists():
        return
    title = nbformat.read(notebook, as_version=4).cells[0]
    text = f"The evidence at the scale `{scale}` does not make this page: {_code(reason)}"
    notice = nbformat.v4.new_notebook(cells=[title, nbformat.v4.new_markdown_cell(text)])
    write_atomically(page, lambda partial: nbformat.write(notice, partial))
