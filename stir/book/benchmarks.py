"""Tables of `book/benchmarks`, as a page shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from stir.study.naming import HEADINGS, decimal

MARK = re.compile(r"<!-- benchmark: ([\w-]+) -->")
CELL = re.compile(r"<!-- of ([\w-]+): ([\w, -]+?) (\d+) (standard|robust|all|converged by both) ([\w ]+) -->")
# Columns of what `tests/benchmarks/solvers.py` writes -> their headings.
HEADS = {
    "given": "reference",
    "distance": HEADINGS["distance_median"],
    "p90": HEADINGS["distance_p90"],
    "share": "share of the images",
    "mean": "mean difference",
    "mean_size": "mean size of it",
    "largest": "largest",
}
WHICH = ("given", "images")  # the column that tells rows of one solver apart
PLACES = {"ceiling": 2, "moved": 1}  # digits after the point; others have 3
SHARES = ("converged", "share")
WHOLE = ("steps", "pairs")


def with_benchmarks(text: str, project: Path) -> str:
    """Markdown with tables `book/benchmarks/NAME.csv`, or numbers from them, in place of the comments that name them.

    `<!-- benchmark: NAME -->` stands for the table, `<!-- of NAME: SOLVER STEPS WHICH COLUMN -->` for one number of it;
    WHICH is the training of the references, or the images that are compared.

    Raises:
        OSError: there is no such table.
        ValueError: it has not one such row, or no such column.
    """

    def read(name: str) -> pd.DataFrame:
        return pd.read_csv(project / "book" / "benchmarks" / f"{name}.csv")

    def cell(match: re.Match) -> str:
        name, solver, steps, which, column = match.groups()
        table = read(name)
        rows = table[(table.solver == solver) & (table.steps == int(steps))]
        rows = rows[rows[next(key for key in WHICH if key in table)] == which]
        if len(rows) != 1 or column not in table:
            raise ValueError(f"{match[0]} names {len(rows)} rows of {name}.csv; name one, and one of {list(table)}")
        return _written(column, rows[column].item())

    return CELL.sub(cell, MARK.sub(lambda match: as_markdown(read(match[1])), text))


def as_markdown(table: pd.DataFrame) -> str:
    """Return a table of solvers in MyST, without the columns that have one value in all rows.

    A row is named by its solver and steps, which come first.
    """
    ways = zip(table.solver, table.steps, strict=True)
    named = table.assign(solver=[f"{solver}, {steps:,} steps" for solver, steps in ways])
    columns = ["solver", *(name for name in table if name not in ("solver", "steps") and len(set(table[name])) > 1)]
    numbers = [pd.api.types.is_numeric_dtype(named[name]) for name in columns]
    lines = [
        [HEADS.get(name, HEADINGS.get(name, name)) for name in columns],
        ["--:" if number else ":--" for number in numbers],
        *([_written(name, row[name]) for name in columns] for _, row in named.iterrows()),
    ]
    rows = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f":::{{table}}\n:class: wide\n{rows}\n:::"


def _written(name: str, value: object) -> str:
    if not isinstance(value, (int, float)):
        return str(value)
    if name in SHARES:
        return f"{value:.0%}"
    return f"{value:,}" if name in WHOLE else decimal(value, PLACES.get(name, 3))
