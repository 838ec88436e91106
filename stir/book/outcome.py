"""How a run ended, in a few lines for the terminal: verdicts, warnings and files, or what failed."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd

from stir.book.staging import read_manifest
from stir.study.conclusions import VERDICTS

WIDTH, INDENT = 100, 38  # columns of the terminal, and before a claim
MOST_WARNINGS = 5


def summary(page: Path) -> str:
    """The verdicts of an executed notebook, what it warned of, and where its files are."""
    return "\n".join([*_verdicts(page), *_warnings(page), *_files(page)])


def _verdicts(page: Path) -> Iterator[str]:
    path = page.with_name(f"{page.stem}{VERDICTS}")
    if not path.exists():
        return
    table = pd.read_csv(path)
    for row in table.to_dict("records"):
        bounds = [row[f"difference_{end}"] for end in ("value", "low", "high")]
        difference = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*bounds) if pd.notna(bounds[0]) else ""
        claim = textwrap.wrap(str(row["claim"]), WIDTH - INDENT)
        yield f"{row['verdict']:<15}{difference:<23}{claim[0]}"
        yield from (" " * INDENT + line for line in claim[1:])
    yield ""


def _warnings(page: Path) -> Iterator[str]:
    """Warnings of the package in the page's outputs, each once."""
    cells = nbformat.read(page, as_version=4).cells
    streams = [output for cell in cells for output in cell.get("outputs", []) if output.get("name") == "stderr"]
    told = [each for stream in streams for each in re.findall(r"^\S.*?: \w*Warning: (.*)$", stream.text, re.MULTILINE)]
    distinct = list(dict.fromkeys(told))
    for text in distinct[:MOST_WARNINGS]:
        yield textwrap.fill(f"Warning: {text}", WIDTH, subsequent_indent="  ", max_lines=3)
    if len(distinct) > MOST_WARNINGS:
        yield f"{len(distinct) - MOST_WARNINGS} more warnings are in the page."
    if distinct:
        yield ""


def _files(page: Path) -> Iterator[str]:
    names = [name for name in read_manifest(page.with_suffix(".json")).get("files", {}) if name != page.name]
    folder = page.parent.relative_to(Path.cwd()) if page.is_relative_to(Path.cwd()) else page.parent
    yield f"page     {folder / page.name}"
    for word, suffix in {"tables": ".csv", "figures": ".png"}.items():
        files = sorted((name for name in names if name.endswith(suffix)), key=len)
        if files:
            yield f"{word:<9}beside it: {', '.join(files)}"


def what_failed(error: Any) -> str:
    """Describe a cell's exception: the cell, its line, and the exception's own words.

    Args:
        error: papermill's PapermillExecutionError.
    """
    traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    line = re.search(r"^-+> *\d+ (.*)$", traceback, re.MULTILINE)
    place = f"cell {error.exec_count}" + (f", `{line[1].strip()}`" if line else "")
    message = f"{error.ename}: {error.evalue}" if error.evalue.strip() else error.ename
    return f"{place}: {message if len(message) < 2_000 else message[:2_000] + ' ...'}"
