"""Charts of tables: STIR and CKA along a variable, with intervals, and against accuracy; training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stir.study.figures import PANEL, panels_for
from stir.study.naming import measure_name
from stir.style import BASELINE_COLOUR, CKA_COLOUR, STIR_COLOUR, WIDTH, as_text, log_axis

LEGEND = {"frameon": False, "loc": "lower center", "bbox_to_anchor": (0.5, 1), "columnspacing": 1.2}


class _Series(NamedTuple):
    """A column of a table of pairs and how it is drawn."""

    column: str
    label: str
    colour: str
    marker: str
    dash: str


CKA, STIR = _Series("cka", "CKA", CKA_COLOUR, "s", "--"), _Series("stir", "STIR", STIR_COLOUR, "o", "-")


def profiles(
    panels: Mapping[str, pd.DataFrame],
    by: str,
    order: Sequence,
    xlabel: str,
    ticks: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """STIR beside CKA along an ordered variable, such as the layer: a panel for each group of pairs.

    Thin marks are single ordered pairs, with their 95% intervals where these are known. The lines join the means over
    pairs, the thin gray one those of the pixels, where they were scored.

    Args:
        panels: title -> rows as `stir.pairwise` makes them, of pairs of different networks.
        by: the column of the variable.
        order: its values, from left to right.
        xlabel: label of the horizontal axis.
        ticks: title -> labels of the values; None for the values themselves.
    """
    figure, axes = panels_for(panels)
    low = min([0.0, *(rows.filter(["stir", "cka", "pixels"]).min().min() - 0.03 for rows in panels.values())])
    for axis, (title, rows) in zip(axes, panels.items(), strict=True):
        groups = [rows[rows[by] == value] for value in order]
        _profile(axis, CKA._replace(label=measure_name(rows)), groups, shift=-0.08)
        _profile(axis, STIR, groups, shift=0.08)
        if "pixels" in rows and rows.pixels.notna().any():
            _baseline(axis, np.arange(len(order)), np.array([group.pixels.mean() for group in groups]))
        axis.set(xlabel=xlabel, ylabel="similarity", ylim=(low, 1.03))
        axis.set_xticks(range(len(order)), [as_text(value) for value in (ticks[title] if ticks else order)])
        axis.legend(**LEGEND, ncols=3)
    return figure


def _profile(axis: Axes, series: _Series, groups: Sequence[pd.DataFrame], shift: float) -> None:
    """Draw the single pairs of each group of rows, and the line through the groups' means."""
    for position, group in enumerate(groups):
        x = position + shift + np.linspace(-0.05, 0.05, len(group))
        errors = np.nan_to_num(_errors(group, series.column))
        style = dict(fmt=series.marker, ms=2.5, lw=0.7, color=series.colour, alpha=0.35)
        axis.errorbar(x, group[series.column], yerr=errors, **style)
    means = [group[series.column].mean() for group in groups]
    style = dict(marker=series.marker, ms=6, color=series.colour, label=series.label)
    axis.plot(np.arange(len(groups)) + shift, means, series.dash, **style)


def _errors(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Distances [2, n] of a column's values to the ends of their intervals, as `Axes.errorbar` takes them."""
    return np.abs(np.stack([rows[column] - rows[f"{column}_low"], rows[f"{column}_high"] - rows[column]]))


def _baseline(axis: Axes, x: np.ndarray, pixels: np.ndarray) -> None:
    axis.plot(x, pixels, ":", marker="D", ms=3.5, lw=1.2, color=BASELINE_COLOUR, label="pixels", zorder=1)


def similarity_against(panels: Mapping[str, pd.DataFrame], x: str, xlabel: str, labels: str) -> Figure:
    """STIR and CKA of groups of networks, in their order, each with the mean of another property, such as accuracy.

    Args:
        panels: title -> one row for each network, with the columns `x`, `labels`, stir and cka, and optionally pixels,
            whose means a thin gray line joins.
        x: the column of the property, a share in [0, 1], which stands below each group.
        xlabel: label of the horizontal axis.
        labels: the column whose values group the networks.
    """
    figure, axes = panels_for(panels)
    for axis, (_, rows) in zip(axes, panels.items(), strict=True):
        groups = rows.groupby(labels, sort=False)
        places = np.arange(groups.ngroups)
        for name, label, colour, marker, dash in (CKA, STIR):
            axis.plot(groups.ngroup(), rows[name], marker, ms=4, color=colour, alpha=0.4)
            axis.plot(places, groups[name].mean(), dash, marker=marker, ms=7, color=colour, label=label)
        if "pixels" in rows:
            _baseline(axis, places, groups.pixels.mean().to_numpy())
        axis.set_xticks(places, [f"{as_text(value)}\n{mean:.0%}" for value, mean in groups[x].mean().items()])
        axis.tick_params(axis="x", labelsize=9.5)
        axis.set(xlabel=xlabel, ylabel="mean similarity to the others")
        axis.margins(y=0.12)
        axis.legend(**LEGEND, ncols=3)
    low, high = min(axis.get_ylim()[0] for axis in axes), max(axis.get_ylim()[1] for axis in axes)
    for axis in axes:
        axis.set_ylim(low, high)
    return figure


def interval_rows(table: pd.DataFrame, labels: str) -> Figure:
    """STIR beside plain similarity with their 95% intervals, one line for each row of the table.

    Gray ticks are floor and ceiling, gray diamonds the pixels.

    Args:
        table: rows with columns as `stir.pairwise` makes them.
        labels: the column of the lines' labels.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 1.2 + 0.42 * len(table)), layout="constrained")
    heights = np.arange(len(table))[::-1]
    for series, shift in ((CKA._replace(label="plain similarity"), -0.13), (STIR, 0.13)):
        style = dict(fmt=series.marker, ms=5, lw=1.6, color=series.colour, label=series.label)
        axis.errorbar(table[series.column], heights + shift, xerr=_errors(table, series.column), **style)
    for name in ("floor", "ceiling"):
        axis.plot(table[name], heights, "|", ms=16, color="0.6", label="floor and ceiling" if name == "floor" else None)
    if "pixels" in table:
        axis.plot(table.pixels, heights, "D", ms=4, color=BASELINE_COLOUR, label="pixels", zorder=1)
    axis.set(
        yticks=heights,
        yticklabels=[as_text(label) for label in table[labels]],
        xlabel="similarity",
        ylim=(-0.6, len(table) - 0.4),
    )
    axis.set_xlim(min(-0.02, table[["stir_low", "cka_low", "floor"]].min().min()), 1.03)
    axis.legend(**LEGEND, ncols=2)
    return figure


def convergence(table: pd.DataFrame) -> Figure:
    """STIR and its ceiling against the distance that the inversion reached: a panel for each solver, on the same axes.

    Args:
        table: rows with columns as `stir.pairwise` makes them, of one pair, by different numbers of steps.
    """
    groups = dict([*table.groupby("solver", sort=False)])
    figure, axes = panels_for(groups)
    for axis, rows in zip(axes, groups.values(), strict=True):
        style = dict(fmt="o-", capsize=2, lw=1.4, color=STIR_COLOUR, label="STIR")
        axis.errorbar(rows.distance_median, rows.stir, yerr=_errors(rows, "stir"), **style)
        axis.plot(rows.distance_median, rows.ceiling, "D--", ms=5, lw=1.4, color=BASELINE_COLOUR, label="ceiling")
        for number, (_, row) in enumerate(rows.iterrows()):
            # Along the lower edge, alternately higher and lower, with a line to the mark: neighbours are often close.
            place = (row.distance_median, 0.03 + 0.07 * (number % 3))
            axis.plot([row.distance_median] * 2, [place[1], row.stir], ":", lw=0.7, color="0.6", zorder=0)
            style = dict(fontsize=9.5, ha="center", va="center", backgroundcolor="white")
            axis.annotate(f"{row.steps}", place, **style).get_bbox_patch().set_boxstyle("square", pad=0.1)
        log_axis(axis)
        axis.set(xlabel="median distance reached (numbers: steps)", ylabel="similarity", ylim=(-0.03, 1.05))
        axis.set_xlim(table.distance_median.max() * 1.15, table.distance_median.min() / 1.15)
        axis.legend(**LEGEND, ncols=2)
    return figure


def training_curves(groups: Mapping[str, Mapping[str, Sequence[dict]]]) -> Figure:
    """Training loss of each network by epoch, on a logarithmic axis: a panel for each group.

    Args:
        groups: title -> network -> its `card["curve"]`.
    """
    figure, axes = panels_for(groups, size=(PANEL[0], PANEL[1] + 0.13 * max(map(len, groups.values()))))
    for axis, curves in zip(axes, groups.values(), strict=True):
        colours = sns.color_palette("colorblind", len(curves))
        for number, (name, curve) in enumerate(curves.items()):
            losses = [epoch["loss"] for epoch in curve]
            style = dict(ls=("-", "--", "-.", ":")[number % 4], color=colours[number], label=as_text(name))
            axis.plot(range(1, len(losses) + 1), losses, **style)
        axis.set(xlabel="epoch", ylabel="loss")
        log_axis(axis, which="y")
        axis.set_title(axis.get_title(), pad=6)
        axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=9.5)
    return figure


def stages(table: pd.DataFrame, xlabel: str) -> Figure:
    """A bar for each row, parted into the columns.

    Args:
        table: rows from top to bottom, columns from left to right; not negative.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 1.4 + 0.36 * len(table)), layout="constrained")
    left = pd.Series(0.0, index=table.index)
    for column, colour in zip(table.columns, sns.color_palette("colorblind", len(table.columns)), strict=True):
        axis.barh([as_text(str(name)) for name in table.index], table[column], left=left, color=colour, label=column)
        left += table[column]
    axis.invert_yaxis()
    axis.set(xlabel=xlabel)
    axis.legend(**LEGEND, ncols=len(table.columns))
    return figure
