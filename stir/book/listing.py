"""The notebooks and their parameters as tables for the terminal."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stir.book import parameters
from stir.book.terminal import duration

WIDTH = 100
# Where a parameter's help names a list of the package; the terminal has the names themselves, as allowed values.
POINTER = re.compile(r"(?:^|, )(?:a name|names) from stir\.[\w.]+(?:[,;] )?")


def title(notebook: Path) -> str:
    """The first heading of a notebook."""
    cells = json.loads(notebook.read_text(encoding="utf-8")).get("cells", [])
    lines = [line for cell in cells if cell["cell_type"] == "markdown" for line in "".join(cell["source"]).splitlines()]
    return next((line.lstrip("# ").replace("$", "") for line in lines if line.startswith("#")), notebook.stem)


def last_run(page: Path) -> float | None:
    """Seconds that an executed notebook took; None if it is missing or does not say."""
    try:
        metadata = json.loads(page.read_text(encoding="utf-8"))["metadata"]
        return float(metadata["papermill"]["duration"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def notebooks_table(project: Path, notebooks: Sequence[Path], scale: str) -> str:
    """A line for each notebook: its name, the time that its last run at `scale` took, and its title."""
    rows = [("notebook", "last run", "question")]
    for notebook in notebooks:
        seconds = last_run(project / "book" / "runs" / scale / notebook.name)
        rows.append((notebook.stem, "-" if seconds is None else duration(seconds), title(notebook)))
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(
        f"{name:<{first}}  {took:>{second}}  {textwrap.shorten(text, WIDTH - first - second - 4, placeholder=' ...')}"
        for name, took, text in rows
    )


def parameters_table(notebook: Path, values: Mapping[str, Any] | None = None) -> str:
    """A row for each parameter of a notebook: name, type, default, allowed values and help.

    Args:
        values: of a scale, which take the place of the notebook's defaults.
    """
    from stir.book.checks import ALLOWED  # here, as the names of networks and solvers load PyTorch

    rows = [("parameter", "type", "default", "allowed", "help")]
    for name, parameter in parameters.declared(notebook).items():
        default = json.dumps(values[name]) if values and name in values else parameter.default
        allowed = "true, false" if parameter.type == "bool" else str(ALLOWED.get(name, ""))
        rows.append((name, parameter.type, default, allowed, POINTER.sub("", parameter.help)))
    least = (1, 5, 20, 22)  # more where a word needs it
    widths = [max(least[column], *(len(word) for row in rows for word in row[column].split())) for column in range(4)]
    widths.append(WIDTH - sum(widths) - 2 * len(widths))
    return "\n".join(line for row in rows for line in _wrapped(row, widths))


def _wrapped(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [textwrap.wrap(text, width, break_on_hyphens=False) for text, width in zip(row, widths)]
    height = max(map(len, cells))
    columns = [
        [f"{line:<{width}}" for line in [*cell, *[""] * (height - len(cell))]] for cell, width in zip(cells, widths)
    ]
    return ["  ".join(line).rstrip() for line in zip(*columns)]
