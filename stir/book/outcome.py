"""Outcome of a run in a few lines for the terminal: verdicts, warnings and files, or the failure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd

from stir.book.places import shown
from stir.book.staging import read_manifest
from stir.study.conclusions import VERDICTS

WIDTH, INDENT = 100, 38  # columns of the terminal, and before a claim
MOST_WARNINGS, LONG = 5, 3  # kinds of them, and lines of one
MOST_LINES, MOST_CHARACTERS = 4, 600  # of an exception's own words
# Between the tracebacks of exceptions of which one led to the other.
CHAINED = re.compile(
    r"^(?:During handling of the above exception, another exception occurred"
    r"|The above exception was the direct cause of the following exception):$",
    re.MULTILINE,
)


def summary(page: Path) -> str:
    """The verdicts, warnings and files of an executed notebook."""
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
    """Warnings of the package in the page's outputs: the first of each kind, and how many there are."""
    cells = nbformat.read(page, as_version=4).cells
    streams = [output for cell in cells for output in cell.get("outputs", []) if output.get("name") == "stderr"]
    messages = [
        each for stream in streams for each in re.findall(r"^\S.*?: \w*Warning: (.*)$", stream.text, re.MULTILINE)
    ]
    kinds = groupby(sorted(messages, key=_kind), key=_kind)
    alike = sorted(([*some] for _, some in kinds), key=lambda some: messages.index(some[0]))
    for some in alike[:MOST_WARNINGS]:
        count = f" (the first of {len(some)} alike)" if len(some) > 1 else ""
        yield "\n".join(_shortened(f"Warning{count}: {some[0]}", f" [... the rest is in {page.name}]"))
    if len(alike) > MOST_WARNINGS:
        yield f"{len(alike) - MOST_WARNINGS} more kinds of warnings are in {page.name}."
    if alike:
        yield ""


def _shortened(warning: str, rest: str) -> list[str]:
    """The lines of a warning; a long one is cut to its first `LONG` lines and its last clause, the remedy."""
    wrapped = partial(textwrap.wrap, width=WIDTH, subsequent_indent="  ")
    lines = wrapped(warning)
    said, _, advice = warning.rpartition("; ")
    if len(lines) <= LONG or not said:
        return wrapped(warning, max_lines=LONG, placeholder=rest)
    return [*wrapped(said, max_lines=LONG, placeholder=rest), *wrapped(advice, initial_indent="  ")]


def _kind(warning: str) -> str:
    """The beginning of a warning without its numbers and names, to group alike ones."""
    return re.split("[:;,]", re.sub(r"'[^']*'|STIR\([^)]*\)|\d+", "#", warning), maxsplit=1)[0]


def _files(page: Path) -> Iterator[str]:
    names = [name for name in read_manifest(page.with_suffix(".json")).get("files", {}) if name != page.name]
    yield f"page     {shown(page)}"
    for word, suffix in {"tables": ".csv", "figures": ".png"}.items():
        files = sorted((name for name in names if name.endswith(suffix)), key=len)
        if files:
            yield f"{word:<9}beside it: {', '.join(files)}"


def what_failed(error: Any) -> str:
    """Describe a cell's exception: the cell, its line, and the exception's own words, of which only so many.

    Args:
        error: papermill's PapermillExecutionError.
    """
    traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    # Those that the exception came of stand before it, and may begin in a library. Its own frames begin in the cell.
    line = re.search(r"^-+> *\d+ (.*)$", CHAINED.split(traceback)[-1], re.MULTILINE)
    place = f"cell {error.exec_count}" + (f", `{line[1].strip()}`" if line else "")
    message = f"{error.ename}: {error.evalue.strip()}".removesuffix(": ")
    short = "\n".join(message.splitlines()[:MOST_LINES])[:MOST_CHARACTERS]
    return f"{place}: {short}{'' if short == message else ' ...'}"
