"""Figure of a sweep: a column of its table against a parameter."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stir.style import STIR_COLOUR, as_text

ASIDE = 0.07  # of the least gap between two values, by which lines stand beside each other
MOST_GAPS = 12  # least gaps from the first value to the last, with which a tick at each value has room
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
COLOURS = (STIR_COLOUR, "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "0.3")


def column_against(table: pd.DataFrame, column: str, against: str, *, lines: pd.Series, xlabel: str) -> Figure:
    """Means of a column at each value of a parameter, joined by a line for each group of rows; thin marks are the rows.

    Groups stand a little beside each other, so that their intervals can be told apart.
    Where there is one row at each value, and the table has its interval, that is drawn too.

    Args:
        table: with the columns `column`, of numbers, and `against`.
        lines: the name of each row's group.
        xlabel: label of the horizontal axis.
    """
    values = table[against]
    # Numbers, and numbers in quotes, stand where they are; all else stands in the order of the grid.
    positions = pd.to_numeric(values, errors="coerce")
    names: list[str] = []
    if positions.isna().any() or values.dtype == bool:
        names = [str(value) for value in values.drop_duplicates()]
        positions = values.astype(str).map({name: number for number, name in enumerate(names)})
    groups = [*lines.drop_duplicates()]
    places = sorted(positions.unique())
    gap = float(np.diff(places).min()) if len(places) > 1 else 1.0
    figure, axis = plt.subplots(figsize=(6.4, 4.0))
    for number, group in enumerate(groups):
        aside = (number - (len(groups) - 1) / 2) * ASIDE * gap
        rows: Any = table.loc[lines == group].assign(_x=positions + aside if aside else positions)
        means = rows.groupby("_x")[column].mean()
        style: dict[str, Any] = dict(color=COLOURS[number % len(COLOURS)], marker=MARKERS[number % len(MARKERS)])
        if len(rows) == len(means):
            low, high = (rows.get(f"{column.removesuffix('_value')}_{end}", rows[column]) for end in ("low", "high"))
            errors = np.nan_to_num(np.abs(np.stack([rows[column] - low, high - rows[column]])))
            axis.errorbar(rows["_x"], rows[column], yerr=errors, fmt="none", ecolor=style["color"], lw=0.9, alpha=0.6)
        else:
            axis.plot(rows["_x"], rows[column], ls="", ms=2.5, alpha=0.25, **style)
        axis.plot(means.index, means, STYLES[number % 4], ms=6, label=as_text(textwrap.fill(group, 48)), **style)
    if not names and places[-1] - places[0] <= MOST_GAPS * gap:
        axis.set_xticks(places, [f"{place:g}" for place in places])
    elif not names and positions.mod(1).eq(0).all():
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if names:
        axis.set_xticks(range(len(names)), [as_text(name) for name in names], rotation=20 if len(names) > 4 else 0)
    axis.set(xlabel=as_text(xlabel), ylabel=as_text(column))
    if groups != [""]:
        axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
    axis.spines[["top", "right"]].set_visible(False)
    return figure
