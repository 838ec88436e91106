"""Results of a sweep: one tidy table of all combinations, and a figure of a column against a parameter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from stir.book.freshness import made_by
from stir.book.staging import folders_of_runs
from stir.files import write_atomically
from stir.names import nearest
from stir.scoring.result import COLUMNS
from stir.study.conclusions import ORDER, VERDICTS
from stir.sweep.combination import Combination
from stir.sweep.sweeping import Sweep

PREFIX = "parameter_"  # of a parameter's column where the table has one of its name
ENDINGS = (VERDICTS, ".csv")  # of the tables that are collected; a column is looked for in the first first
# Columns that the tables of every finding have.
OF_FINDINGS = (
    *(f"{mean}_{end}" for mean in ("more", "less", "difference") for end in ("value", "low", "high")),
    *("p_value", "converged", "networks", "images"),
    *COLUMNS,
)
MOST_LINES = 7  # that other parameters part; beyond it their mean is drawn


def collect(sweep: Sweep, done: Sequence[Combination], ending: str = ".csv") -> pd.DataFrame:
    """The tables of combinations, one below the other, with the grid's parameters as first columns.

    Args:
        done: the combinations.
        ending: of the tables' names, after that of the notebook.

    Returns:
        The table; empty if no combination has such a table. A list is written as JSON. A parameter whose name the
        tables have a column of is called `parameter_<name>`.
    """
    parts = []
    for combination in done:
        path = combination.folder / f"{sweep.notebook}{ending}"
        if path.exists():
            texts = {
                name: json.dumps(each) if isinstance(each, list) else each for name, each in combination.varied.items()
            }
            parts.append(pd.read_csv(path).assign(**{f"{PREFIX}{name}": text for name, text in texts.items()}))
    if not parts:
        return pd.DataFrame()
    table: Any = pd.concat(parts, ignore_index=True)
    first = [f"{PREFIX}{name}" for name in sweep.varied]
    table = table[[*first, *table.columns.drop(first)]]
    return table.rename(columns={f"{PREFIX}{name}": name for name in sweep.varied if name not in table})


def column_of(parameter: str, table: pd.DataFrame) -> str:
    """Name of a parameter's column."""
    return f"{PREFIX}{parameter}" if f"{PREFIX}{parameter}" in table else parameter


def write(sweep: Sweep, done: Sequence[Combination]) -> list[Path]:
    """Write into a sweep's folder the tables of all that was measured, and of the verdicts, where there are any."""
    paths = []
    for ending in reversed(ENDINGS):
        table, path = collect(sweep, done, ending), sweep.folder / f"{sweep.name}{ending}"
        if not table.empty:
            write_atomically(path, lambda partial, table=table: table.to_csv(partial, index=False))
            paths.append(path)
    return paths


def check_column(sweep: Sweep, column: str) -> bool:
    """Check before a sweep that its tables will have a column of numbers, as far as that is known.

    Tables that the notebook, as it is now, left in any run tell it. Without these, only a slip of the pen shows, in a
    name that the tables of all findings have.

    Returns:
        True if the column is known, False if nothing is.

    Raises:
        ValueError: the tables have no such column.
    """
    refusal = f"plot={column!r} is no column of numbers in the tables of {sweep.notebook}"
    known = _columns_before(sweep)
    if known and column not in (*sweep.varied, *chain(*known.values())):
        raise ValueError(f"{refusal}; {_suggest(column, known)}")
    named = OF_FINDINGS if sweep.notebook in ORDER else ()
    near = nearest(column, named, least=0.85)
    if not known and column not in sweep.varied and near and near[0] != column:
        raise ValueError(f"{refusal}; did you mean {near[0]!r}?")
    return bool(known or near or column in sweep.varied)


def _columns_before(sweep: Sweep) -> dict[str, list[str]]:
    """Columns of numbers, by table, that the notebook, as it is now, left in the project or in the sweep."""
    notebook = sweep.combinations[0].notebook
    folders = {*folders_of_runs(notebook.parents[1]), *(each.folder for each in sweep.combinations)}
    executed = [folder for folder in sorted(folders) if made_by(notebook, folder)]
    columns: dict[str, list[str]] = {}
    for name in (f"{sweep.notebook}{ending}" for ending in ENDINGS):
        paths = [folder / name for folder in executed if (folder / name).exists()]
        if paths:
            columns[name] = list(dict.fromkeys(each for path in paths for each in _numbers(pd.read_csv(path))))
    return columns


def _suggest(column: str, known: Mapping[str, Sequence[str]]) -> str:
    """Remedy for a column that no table has: the one that may be meant, or all, with the tables that have them."""
    near = nearest(column, list(dict.fromkeys(chain(*known.values()))))
    if near:
        return f"did you mean {near[0]!r}, of {next(name for name, columns in known.items() if near[0] in columns)}?"
    return "use one of " + "; or ".join(f"{', '.join(columns)} (of {name})" for name, columns in known.items())


def _numbers(table: pd.DataFrame) -> list[str]:
    """The columns that hold numbers."""
    return [str(name) for name in table if pd.api.types.is_numeric_dtype(table[name])]


def draw(sweep: Sweep, done: Sequence[Combination], column: str, against: str) -> Path:
    """Draw a column against a parameter, from the verdicts if they have it, or else from all that was measured.

    Returns:
        The file of the figure.

    Raises:
        ValueError: no table has the column, or it holds no numbers.
    """
    from stir.study import figures
    from stir.sweep.figure import column_against

    numeric: dict[str, list[str]] = {}
    for ending in ENDINGS:
        table = collect(sweep, done, ending)
        columns = _numbers(table)
        if column in columns:
            break
        if columns:
            numeric[f"{sweep.name}{ending}"] = columns
    else:
        raise ValueError(f"plot={column!r} is no column of numbers; {_suggest(column, numeric)}")
    figures.use_style()
    figure = column_against(
        table, column, column_of(against, table), lines=_lines(sweep, table, against), xlabel=against
    )
    path = sweep.folder / f"{sweep.name}-{column}-{against}.png"
    write_atomically(path, lambda partial: figure.savefig(partial, format="png"))
    return path


def _lines(sweep: Sweep, table: Any, against: str) -> pd.Series:
    """Label of each row's line in the figure: its claim, or its other parameters; empty if these make many lines."""
    if "claim" in table:
        return table["claim"].astype(str)
    lines = pd.Series("", index=table.index)
    for name in sweep.varied:
        if name != against:
            lines = lines + ", " * bool(lines.any()) + f"{name} = " + table[column_of(name, table)].astype(str)
    return lines if lines.nunique() <= MOST_LINES else pd.Series("", index=table.index)
