"""Heat maps as tables in HTML: each value is text, and its details show on hover, tap or focus."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.colors import to_hex

from stir.study.naming import decimal, decimals, measure_name

LONG = 8  # characters of a name above which it stands upright over its column


def heatmaps(table: pd.DataFrame, names: Sequence[str], by: str = "", heading: str = "") -> str:
    """CKA and STIR of every ordered pair, side by side; rows are references, columns are targets.

    Args:
        table: rows as `stir.pairwise` makes them, at one layer and by one measure.
        names: the networks, or the kinds of network, in order.
        by: an attribute of `stir.study.verdict.described`, such as "kind". A cell is then the mean over all pairs of
            different networks of the two kinds, except those that share their seed, where the table has the column
            `same_seed`. Empty for one cell for each pair, those of a network with itself included.
        heading: title above both.

    Returns:
        HTML. The details of a cell are hidden unless a style sheet shows those of the one that is pointed at.
    """
    groups: Any = _shown(table, by).groupby([f"{side}_{by}" if by else side for side in ("reference", "target")])
    cells = {pair: rows for pair, rows in groups if set(pair) <= set(names)}
    plain = measure_name(table)
    titles = {"cka": plain, "stir": "STIR(target | reference)"}
    maps = "".join(_map(cells, list(names), column, title, plain) for column, title in titles.items())
    head = f'<p class="heading">{html.escape(heading)}</p>' if heading else ""
    return f'<div class="heatmaps">{head}{maps}</div>'


def _shown(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """The rows of a table that heat maps are of."""
    if not by:
        return table
    shown = table.reference != table.target
    if "same_seed" in table:
        shown &= ~table.same_seed.astype(bool)
    return table.loc[shown]


def _map(cells: Mapping[tuple, pd.DataFrame], names: list[str], column: str, title: str, plain: str) -> str:
    upright = ' class="upright"' if max(map(len, map(str, names))) > LONG else ""
    targets = "".join(f'<th scope="col"><span>{html.escape(str(name))}</span></th>' for name in names)
    lines = [
        f'<tr><th scope="row">{html.escape(str(reference))}</th>'
        + "".join(_cell(cells.get((reference, target)), column, reference, target, plain) for target in names)
        + "</tr>"
        for reference in names
    ]
    corner = "<td>reference \u2193 target \u2192</td>"
    return (
        f"<table{upright}><caption>{html.escape(title)}</caption><thead><tr>{corner}{targets}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _cell(rows: pd.DataFrame | None, column: str, reference: str, target: str, plain: str) -> str:
    if rows is None or rows.loc[:, column].isna().all():
        return "<td></td>"
    values: Any = rows[column]
    value = float(values.mean())
    ground: Any = matplotlib.colormaps["cividis"](min(max(value, 0.0), 1.0))
    light = sum(share * _linear(part) for share, part in zip((0.2126, 0.7152, 0.0722), ground[:3], strict=True))
    ink = "#000" if (light + 0.05) ** 2 > 0.05 * 1.05 else "#fff"  # the one with more contrast, by WCAG 2
    details = html.escape(_details(rows, column, plain, f"reference {reference}, target {target}"))
    return (
        f'<td tabindex="0" style="background:{to_hex(ground)};color:{ink}">{decimal(value)}'
        f'<span class="more" style="display:none">{details}</span></td>'
    )


def _linear(part: float) -> float:
    """A channel of sRGB as a share of light."""
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def _details(rows: pd.DataFrame, column: str, plain: str, pair: str) -> str:
    """Details of a cell in words: its interval, or the spread of several pairs, and the scores to compare it with."""
    name, digits = {"cka": plain, "stir": "STIR"}[column], decimals(3)
    if len(rows) == 1:
        value, low, high = map(float, rows[[column, f"{column}_low", f"{column}_high"]].iloc[0])
        text = f"{name} {digits(value)}" + ("" if math.isnan(low) else f" [{digits(low)}, {digits(high)}]")
    else:
        values: Any = rows[column]
        ends = f"from {digits(values.min())} to {digits(values.max())}"
        text = f"{name} {digits(values.mean())}, mean of {len(rows)} pairs {ends}"
    beside = {"cka": plain, "stir": "STIR", "pixels": "pixels"}
    means: Any = rows.mean(numeric_only=True)
    known = [
        f"{label} {digits(means[other])}"
        for other, label in beside.items()
        if other != column and other in rows and rows.loc[:, other].notna().any()
    ]
    return f"{pair}: " + "; ".join([text, *known])
