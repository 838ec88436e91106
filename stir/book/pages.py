"""An executed notebook for readers: with its hardware and parameters, in any viewer or as a page of a book."""

from __future__ import annotations

import ast
import posixpath
import re
import string
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat

from stir.book import links, parameters, roles
from stir.book.contents import Book
from stir.book.freshness import VERSIONS
from stir.book.parameters import Parameter
from stir.computing.devices import hardware, resolve_device
from stir.files import write_atomically

PROVENANCE = "provenance"  # id of the cell at the end
SCALE = "scale"  # id of the cell below the title
IN_BOOK = "in_book"  # metadata of a text that is another in a book: that text
MOST_LINKS = 8  # to other runs of a notebook
# Tags of the cells that a page opens with, in this order, wherever they stand in the notebook.
ANSWER = ("answer", "answer-figure")
# Where that figure was made; in a book a link to the top of the page, by the theme's name of it.
MOVED = "*The resulting figure is at the top of the page.*"
MOVED_IN_BOOK = '<a href="#main-content">The resulting figure is at the top of the page.</a>'


def annotate(executed: Path, source: Path, folder: Path, *about: str) -> None:
    """Put the answer first and the run last, hide the injected parameters, and drop this machine's paths.

    Texts become what `make_readable` makes of them.

    Args:
        source: the notebook that was executed.
        folder: where the executed one goes.
        about: Markdown of the run, at the end; empty texts are left out.
    """
    notebook = nbformat.read(executed, as_version=4)
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("remove-input")
    make_readable(notebook, source, folder)
    notebook.cells = _answer_first(notebook.cells)
    text = "\n\n".join(["## On what this ran", *filter(None, about)])
    notebook.cells.append(nbformat.v4.new_markdown_cell(text, id=PROVENANCE))
    notebook.metadata.papermill.update(input_path=source.name, output_path=executed.name)
    nbformat.write(notebook, executed)


def make_readable(notebook: Any, source: Path, folder: Path) -> None:
    """Turn the texts of a notebook into Markdown that any viewer shows, with links that work there.

    Those that are others in a book are kept in the metadata, where `for_book` finds them.

    Args:
        notebook: executed, as nbformat reads it; changed in place.
        source, folder: as of `annotate`.
    """
    project = source.parents[1]
    references, values = project / "book" / "references.bib", _glued(notebook)
    for holder, key, metadata in _texts(notebook):
        text = roles.plain(links.outside(holder[key], source.stem, folder, project), references, values)
        if text != holder[key]:
            metadata[IN_BOOK], holder[key] = holder[key], text


def for_book(executed: Path, page: str, book: Book) -> Any:
    """Read an executed notebook as a page of a book: with its scale, citations, and links to pages of the book."""
    notebook = nbformat.read(executed, as_version=4)
    notebook.cells = _folded_once(notebook.cells)
    for holder, key, metadata in _texts(notebook):
        holder[key] = links.in_book(metadata.pop(IN_BOOK, holder[key]), page, book.pages, book.elsewhere)
    if about := _about(page, book):
        notebook.cells.insert(1, nbformat.v4.new_markdown_cell(about, id=SCALE))
    if _like(page, book):
        notebook.cells[0].source = _titled(notebook.cells[0].source, book.labels[page])
    return notebook


def _answer_first(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The cells reordered: the answer after the title, and a note at the place where its figure was made."""
    title, *rest = cells
    first = [[cell for cell in rest if tag in cell.metadata.get("tags", [])] for tag in ANSWER]
    moved = [cell for cells_of_tag in first for cell in cells_of_tag]
    figure = [cell.id for cell in first[1][:1]]
    note = nbformat.v4.new_markdown_cell(MOVED, id="moved", metadata={IN_BOOK: MOVED_IN_BOOK})
    others = [note if cell.id in figure else cell for cell in rest if cell not in moved or cell.id in figure]
    return [title, *moved, *others]


def _folded_once(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Merge each cell of folded code that shows no output into the folded cell after it, or else before it."""
    merged: list[nbformat.NotebookNode] = []
    for number, cell in enumerate(cells):
        last = merged[-1] if merged else None
        if last is not None and _is_folded(last) and _is_folded(cell):
            leads_on = number + 1 < len(cells) and _is_folded(cells[number + 1])
            if not _shows(last) or (not _shows(cell) and not leads_on):
                joined = last if _shows(last) else cell  # with what is said of its outputs, such as of a figure
                joined.source = f"{last.source}\n\n\n{cell.source}"
                joined.outputs = [*last.outputs, *cell.outputs]
                merged[-1] = joined
                continue
        merged.append(cell)
    return merged


def _shows(cell: nbformat.NotebookNode) -> bool:
    """True if a page shows an output of a cell."""
    return any(map(_is_shown, cell.outputs))


def _is_shown(output: nbformat.NotebookNode) -> bool:
    """True if a page shows an output: not a warning, nor a value that texts refer to by name."""
    named = [kind for kind in output.get("data", {}) if kind.startswith("application/papermill.record/")]
    return output.get("name") != "stderr" and not named


def _is_folded(cell: nbformat.NotebookNode) -> bool:
    return cell.cell_type == "code" and "hide-input" in cell.metadata.get("tags", [])


def _texts(notebook: Any) -> Iterator[tuple[Any, str, Any]]:
    """Yield each Markdown text of a notebook: the object that holds it, its key there, and its metadata."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            yield cell, "source", cell.metadata
        for output in cell.get("outputs", []):
            if "text/markdown" in output.get("data", {}):
                yield output.data, "text/markdown", output.metadata


def _glued(notebook: Any) -> dict[str, str]:
    """The texts that a notebook has glued, by their names."""
    texts = {}
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        text = output.get("data", {}).get("application/papermill.record/text/plain", "")
        if text.startswith(("'", '"')):
            texts[output.metadata.scrapbook.name] = ast.literal_eval(text)
    return texts


def _about(page: str, book: Book) -> str:
    """Line with a page's label, its scale or parameters, and links to the other pages of its notebook."""
    if page not in book.labels:
        return ""
    like, folder = _like(page, book), posixpath.dirname(page)
    others = [f"[{book.labels[each]}]({posixpath.relpath(each, folder)}.ipynb)" for each in like[:MOST_LINKS]]
    more = f" and {len(like) - MOST_LINKS} more" if len(like) > MOST_LINKS else ""
    return f"**{book.labels[page]}.**" + (f" The same with: {', '.join(others)}{more}." if others else "")


def _like(page: str, book: Book) -> list[str]:
    """The other pages of a page's notebook."""
    name = posixpath.basename(page)
    return [each for each in book.labels if page in book.labels and each != page and posixpath.basename(each) == name]


def _titled(text: str, label: str) -> str:
    """Markdown of a title with the scale in it, as other pages have the same: "Loss, CIFAR-10: what is ignored?"."""
    heading, line, rest = text.partition("\n")
    name, colon, question = heading.partition(":")
    scale = label.partition(", networks of")[0]
    scale = scale[:1].lower() + scale[1:] if scale[1:2].islower() else scale
    return f"{name}, {scale}{colon}{question}{line}{rest}"


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
    ]
    home = str(Path.home())
    shown = {name: str(values.get(name, parameter.default)).replace(home, "~") for name, parameter in declared.items()}
    return "\n".join([*lines, _table("value", shown, declared), "</details>"])


def with_tables(text: str, project: Path) -> str:
    """Markdown with the parameters of a notebook after each comment `<!-- parameters: NOTEBOOK -->`."""

    def table(match: re.Match) -> str:
        declared = parameters.declared(project / "notebooks" / f"{match[1]}.ipynb")
        defaults = {name: parameter.default for name, parameter in declared.items()}
        return f"{match[0]}\n{_table('default', defaults, declared)}"

    return re.sub(r"<!-- parameters: (\w+) -->", table, text)


def _table(head: str, values: Mapping[str, str], declared: Mapping[str, Parameter]) -> str:
    """HTML table of parameters: name, value under the heading `head`, and description."""
    lines = [
        '<div class="pst-scrollable-table-container"><table class="table parameters">',
        f"<tr><th>parameter</th><th>{head}</th><th>what it is</th></tr>",
    ]
    for name, parameter in declared.items():
        cells = f"<code>{name}</code>", _code(values[name]), _text(parameter.help)
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return "\n".join([*lines, "</table></div>"])


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
