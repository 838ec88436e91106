"""The sessions' sources, and the versions made of each: with solutions, and with stubs in their place.

A source is a notebook as MyST text, `course/N-name.md`. Cells tagged `solution` hold what a student is to write,
between marks:

    ### BEGIN SOLUTION
    what the teacher's version shows
    ### STUB
    # what the student's version shows; without it, a line of dots
    ### END SOLUTION

Markdown cells tagged `solution` are answers in words, which the student's version lacks. Cells tagged `check` judge the
solution before them. Markdown cells tagged `quiz` are questions with choices, which unfold in all versions
(`stir.course.quiz`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from myst_nb.core.read import read_myst_markdown_notebook
from nbformat import NotebookNode

from stir.course import quiz

BEGIN, STUB, END = "### BEGIN SOLUTION", "### STUB", "### END SOLUTION"
DOTS = "...  # yours"


def paths(project: Path) -> list[Path]:
    """The sessions' sources in a project, in their order."""
    return sorted(path for path in (project / "course").glob("[0-9]-*.md"))


def read(path: Path) -> NotebookNode:
    """Read a source as a notebook, whose cells have the same names each time.

    Raises:
        ValueError: it is no notebook in MyST text, or a solution's lines or a question's choices are not marked as they
            should be.
    """
    notebook = read_myst_markdown_notebook(path.read_text(encoding="utf-8"))
    if notebook.metadata.get("file_format") != "mystnb":
        raise ValueError(f"{path} must begin with `file_format: mystnb` between two lines of ---")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{path.stem}-{number:02}"
        if has_tag(cell, "solution") and cell.cell_type == "code":
            marks = "".join(mark[4] for mark in re.findall(r"^ *(###.*)$", cell.source, re.MULTILINE))
            if not re.fullmatch("(BS?E)+", marks):
                raise ValueError(f"{path}, cell {number}: a solution stands between {BEGIN} and {END}")
        if has_tag(cell, "quiz"):
            try:
                cell.source = quiz.folded(cell.source)
            except ValueError as error:
                raise ValueError(f"{path}, cell {number}: {error}") from None
    del notebook.metadata["file_format"]
    notebook.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return notebook


def has_tag(cell: NotebookNode, tag: str) -> bool:
    """True if a cell has a tag."""
    return tag in cell.metadata.get("tags", [])


def solved(notebook: NotebookNode) -> NotebookNode:
    """The teacher's version."""
    cells = [_with(cell, _solution_lines) if has_tag(cell, "solution") else _with(cell) for cell in notebook.cells]
    return _like(notebook, cells)


def student(notebook: NotebookNode) -> NotebookNode:
    """The version with stubs, and without answers in words."""
    cells = [
        _with(cell, _stub_lines) if has_tag(cell, "solution") else _with(cell)
        for cell in notebook.cells
        if not (cell.cell_type == "markdown" and has_tag(cell, "solution"))
    ]
    return _like(notebook, cells)


def page(notebook: NotebookNode) -> NotebookNode:
    """The version that the book shows: as the teacher's, with solutions folded."""
    notebook = solved(notebook)
    for cell in notebook.cells:
        if has_tag(cell, "solution"):
            if cell.cell_type == "markdown":
                cell.source = f"<details>\n<summary>An answer</summary>\n\n{cell.source}\n\n</details>"
            else:
                cell.metadata.tags.append("hide-cell")
                cell.metadata.mystnb = {"code_prompt_show": "A solution", "code_prompt_hide": "Fold the solution"}
    return notebook


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def _like(notebook: NotebookNode, cells: list[NotebookNode]) -> NotebookNode:
    return nbformat.v4.new_notebook(cells=cells, metadata=nbformat.from_dict(dict(notebook.metadata)))


def _with(cell: NotebookNode, lines=None) -> NotebookNode:
    copy: Any = nbformat.from_dict({**cell, "metadata": {**cell.metadata, "tags": [*cell.metadata.get("tags", [])]}})
    if lines is not None and cell.cell_type == "code":
        copy.source = "\n".join(lines(cell.source.splitlines()))
    return copy


def _solution_lines(lines: list[str]) -> Iterator[str]:
    """The lines between the marks, and those outside."""
    shown = True
    for line in lines:
        mark = line.strip()
        if mark in (BEGIN, STUB, END):
            shown = mark != STUB
        elif shown:
            yield line


def _stub_lines(lines: list[str]) -> Iterator[str]:
    """The stubs between the marks, or dots, and the lines outside."""
    part, stub = END, False
    for line in lines:
        mark = line.strip()
        if mark in (BEGIN, STUB, END):
            if mark == END and not stub:
                yield line.replace(END, DOTS)
            part, stub = mark, mark == STUB
        elif part in (STUB, END):
            yield line
