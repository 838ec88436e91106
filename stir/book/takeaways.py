"""Notebooks to take away: they stand without the book, and install this package where it is missing."""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from papermill.translators import PythonTranslator

from stir.book.parameters import Parameter

STUDENT = "-student.ipynb"  # ending of what a session's page hands out, beside the page
PICTURE = re.compile(r"!\[([^\]]*)\]\((?!\w+:)([^)\s]+)\)")
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:|#)[^)\s]+\)")
INSTALL = """\
# Where stir is not installed, as on Colab, this does it.
import importlib.util

if importlib.util.find_spec("stir") is None:
    %pip install --quiet "stir-companion[book] @ git+{address}"
"""


def with_parameters(
    notebook: NotebookNode, declared: Mapping[str, Parameter], values: Mapping[str, Any]
) -> NotebookNode:
    """Return a notebook whose parameters cell has `values` as its defaults; the comments there stay.

    Not a second cell, as papermill adds one: papermill would replace it, and all of `values`, as soon as one is given.

    Args:
        declared: its parameters, as `stir.book.parameters.declared` returns them.
    """
    copy: Any = nbformat.from_dict(notebook)
    cell = next(cell for cell in copy.cells if "parameters" in cell.metadata.get("tags", ()))
    lines = cell.source.splitlines()
    for number, line in enumerate(lines):
        name = line.partition(":")[0]
        if name in values:
            value = PythonTranslator.translate(values[name])
            lines[number] = line.replace(f"= {declared[name].default}", f"= {value}", 1)
    cell.source = "\n".join(lines)
    return copy


def installing(notebook: NotebookNode, address: str) -> NotebookNode:
    """Return a notebook with a first cell of code that installs this package where it is missing.

    Args:
        address: of the repository; without one there is nothing to install from, and no such cell.
    """
    copy: Any = nbformat.from_dict(notebook)
    if address:
        cell = nbformat.v4.new_code_cell(INSTALL.format(address=address), id="install")
        copy.cells.insert(1, cell)  # below the title
    return copy


def alone(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Return a notebook that stands without the book: pictures are attached, links to other pages are words.

    Args:
        folder: of the notebook's page, from where its pictures are found.

    Raises:
        ValueError: a picture is not there.
    """
    copy: Any = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            for name in {match[2] for match in PICTURE.finditer(cell.source)}:
                path = folder / name
                if not path.exists():
                    raise ValueError(
                        f"{path.resolve()} is not there yet; run `stir book` first, which makes the book's figures"
                    )
                kind = mimetypes.guess_type(path.name)[0] or "image/png"
                content = base64.b64encode(path.read_bytes()).decode()
                cell.attachments = {**cell.get("attachments", {}), path.name: {kind: content}}
            cell.source = PICTURE.sub(lambda match: f"![{match[1]}](attachment:{Path(match[2]).name})", cell.source)
            cell.source = LINK.sub(r"*\1* (in the book)", cell.source)
    return copy
