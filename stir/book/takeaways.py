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
from papermill.translators import translate_parameters

STUDENT = "-student.ipynb"  # ending of what a session's page hands out, beside the page
PICTURE = re.compile(r"!\[([^\]]*)\]\((?!\w+:)([^)\s]+)\)")
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:|#)[^)\s]+\)")
COMMENT = "Of the page in the book; without this cell the notebook runs with its own values, on the digits."
INSTALL = """\
# Where stir is not installed, as on Colab, this does it.
import importlib.util

if importlib.util.find_spec("stir") is None:
    %pip install --quiet "stir-companion[book] @ git+{address}"
"""


def with_parameters(notebook: NotebookNode, values: Mapping[str, Any]) -> NotebookNode:
    """Return a notebook with a cell, below that of its own parameters, that sets `values`, as papermill writes it."""
    copy: Any = nbformat.from_dict(notebook)
    if values:
        source = translate_parameters("python3", "python", values, COMMENT).rstrip("\n")
        cell = nbformat.v4.new_code_cell(source, id="of-the-page", metadata={"tags": ["injected-parameters"]})
        tags = [cell.metadata.get("tags", ()) for cell in copy.cells]
        copy.cells.insert(next(place for place, each in enumerate(tags) if "parameters" in each) + 1, cell)
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
