"""Figures of studies, in which each colour has one meaning on all pages."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from stir.style import BASELINE_COLOUR, CKA_COLOUR, STIR_COLOUR, as_text, draw_images, log_axis, show_image

LOSS_NAMES = {
    "adversarial-l2": "adversarial (L2)",
    "adversarial-linf": "adversarial (L∞)",
    "trades": "TRADES (L∞)",
    "trades-l2": "TRADES (L2)",
    "mart": "MART (L∞)",
    "mart-l2": "MART (L2)",
}
PANEL = (4.2, 3.4)  # inches; a phone shows a panel at nearly its size, a wide page two beside each other
LEGEND = {"frameon": False, "loc": "lower center", "bbox_to_anchor": (0.5, 1), "columnspacing": 1.2}


class _Series(NamedTuple):
    """A column of a table of pairs and how it is drawn."""

    column: str
    label: str
    colour: str
    marker: str
    dash: str


CKA, STIR = _Series("cka", "CKA", CKA_COLOUR, "s", "--"), _Series("stir", "STIR", STIR_COLOUR, "o", "-")


def loss_name(loss: str) -> str:
    """Name of a loss as the book writes it."""
    return LOSS_NAMES.get(loss, loss)


def measure_name(table: pd.DataFrame) -> str:
    """Name of the plain similarity in a table as the book writes it: CKA, for linear CKA, or that of the measure."""
    names = set(table.get("measure", ["linear-cka"]))
    return names.pop().removeprefix("linear-").replace("cka", "CKA")


def use_style() -> None:
    """Apply the book's style to matplotlib, and have pages show what tables hold as text, not as mathematics."""
    pd.set_option("display.html.use_mathjax", False, "styler.html.mathjax", False)
    sns.set_theme(context="notebook", style="ticks", font_scale=0.9)
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 220,
            "savefig.bbox": "tight",
            "svg.hashsalt": "stir",  # the same names inside a picture each time
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )


def publish(figure: Figure, file: str) -> None:
    """Save a figure, and show it: each panel as a picture of its own, so that they stand one below another on a phone.

    Args:
        file: name of a PNG of the whole figure.
    """
    figure.savefig(file)
    panels = list(figure.subfigs)
    for panel in panels or [None]:
        for other in panels:
            other.set_visible(other is panel)
        data = {"image/svg+xml": _drawn(figure, panel, "svg").decode(), "image/png": _drawn(figure, panel, "png")}
        display(data, raw=True)
    plt.close(figure)


def _drawn(figure: Figure, panel: SubFigure | None, kind: str) -> bytes:
    """A picture of one panel, or of the whole figure."""
    inches = panel.bbox.transformed(figure.dpi_scale_trans.inverted()) if panel else "tight"
    file = io.BytesIO()
    figure.savefig(file, format=kind, bbox_inches=inches, metadata={"Date": None} if kind == "svg" else None)
    return file.getvalue()


def _panels(titles: Iterable[str], columns: int = 2, size: tuple[float, float] = PANEL) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each title, in rows."""
    titles = list(titles)
    lines, columns = -(-len(titles) // columns), min(columns, len(titles))
    figure = plt.figure(figsize=(size[0] * columns, size[1] * lines), layout="constrained")
    panels = figure.subfigures(lines, columns, squeeze=False).flat[: len(titles)]
    axes = [panel.subplots() for panel in panels]
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(as_text(title), pad=22)  # room for a legend below it
    return figure, axes


def image_rows(rows: Mapping[str, Tensor], columns: int = 8) -> Figure:
    """A grid of images, one labelled row for each entry.

    Args:
        rows: label -> images [N, C, H, W], shown clamped to [0, 1].
        columns: number shown of each.
    """
    columns = min(columns, *(len(images) for images in rows.values()))
    size = 6.2 / max(columns, 6)
    figure = plt.figure(figsize=(size * columns, (size + 0.22) * len(rows)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
    draw_images(figure, rows, columns)
    return figure


class View(NamedTuple):
    """An image, what an inversion made of noise, and how far that is from the image to two networks."""

    image: Tensor  # [C, H, W] in [0, 1], and so the next two
    seed: Tensor
    inverted: Tensor
    to_reference: float  # relative distance
    to_target: float


def idea(views: Mapping[str, View]) -> Figure:
    """The idea of STIR in one picture: x, the seed, x', and its distance from x as reference and target see it.

    Args:
        views: label -> what is shown in its row.
    """
    figure, grid = plt.subplots(
        len(views), 4, figsize=(6.2, 1.32 * len(views) + 0.35), width_ratios=(1, 1, 1, 1.3), layout="constrained"
    )
    farthest = max(view.to_target for view in views.values())
    heads = ("an image $x$", "noise", "changed: $x'$", "from $x'$ to $x$")
    for axes, (label, view) in zip(grid, views.items(), strict=True):
        for axis, image in zip(axes, (view.image, view.seed, view.inverted), strict=False):
            show_image(axis, image)
        axes[0].set_ylabel(as_text(label), fontsize=11)
        bars = axes[3].barh(
            ["to the\nreference", "to the\ntarget"],
            [view.to_reference, view.to_target],
            color=[BASELINE_COLOUR, STIR_COLOUR],
            height=0.55,
        )
        axes[3].bar_label(bars, fmt="%.2f", padding=3, fontsize=11)
        axes[3].set(xlim=(0, 1.25 * farthest), xticks=[])
        axes[3].set_ylim(1.75, -0.75)
        axes[3].tick_params(axis="y", length=0, labelsize=11)
        sns.despine(ax=axes[3], bottom=True)
    for axis, head in zip(grid[0], heads, strict=True):
        axis.set_title(head, fontsize=11)
    return figure


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
    figure, axes = _panels(panels)
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


def pair_heatmaps(table: pd.DataFrame, names: Sequence[str], by: str = "", heading: str = "") -> Figure:
    """CKA and STIR of every ordered pair, side by side; rows are references, columns are targets.

    Args:
        table: rows as `stir.pairwise` makes them, at one layer and by one measure.
        names: the networks, or the kinds of network, in order.
        by: an attribute of `stir.study.verdict.described`, such as "kind". A cell is then the mean over all pairs of
            different networks of the two kinds, except those that share their seed, where the table has the column
            `same_seed`. Empty for one cell for each pair, those of a network with itself included.
        heading: title above both.
    """
    rows, columns = (f"{side}_{by}" if by else side for side in ("reference", "target"))
    table = pairs_shown(table, by)
    size = 2.2 + 0.55 * len(names)
    figure, axes = plt.subplots(1, 2, figsize=(2 * size, size), sharey=True)
    for axis, column, title in ((axes[0], "cka", "CKA"), (axes[1], "stir", "STIR(target | reference)")):
        grid = table.pivot_table(index=rows, columns=columns, values=column).reindex(
            index=list(names), columns=list(names)
        )
        grid = grid.rename(index=as_text, columns=as_text)
        sns.heatmap(grid, ax=axis, vmin=0, vmax=1, cmap="cividis", annot=True, fmt=".2f", square=True, cbar=False)
        axis.set(
            title=measure_name(table) if column == "cka" else title,
            xlabel="target",
            ylabel="reference" if column == "cka" else "",
        )
        axis.tick_params(axis="x", rotation=35)
        plt.setp(axis.get_xticklabels(), ha="right")
        axis.tick_params(axis="y", rotation=0)
    if heading:
        figure.suptitle(as_text(heading))
    figure.tight_layout()
    return figure


def pairs_shown(table: pd.DataFrame, by: str = "") -> pd.DataFrame:
    """The rows of a table that a heat map is of, as `pair_heatmaps` says."""
    if not by:
        return table
    same_seed = table.get("same_seed", pd.Series(False, table.index)).astype(bool)
    return table[(table.reference != table.target) & ~same_seed]


def similarity_against(panels: Mapping[str, pd.DataFrame], x: str, xlabel: str, labels: str) -> Figure:
    """STIR and CKA of groups of networks, in their order, each with the mean of another property, such as accuracy.

    Args:
        panels: title -> one row for each network, with the columns `x`, `labels`, stir and cka, and optionally pixels,
            whose means a thin gray line joins.
        x: the column of the property, a share in [0, 1], which stands below each group.
        xlabel: label of the horizontal axis.
        labels: the column whose values group the networks.
    """
    figure, axes = _panels(panels)
    for axis, (_, rows) in zip(axes, panels.items(), strict=True):
        groups = rows.groupby(labels, sort=False)
        places = np.arange(groups.ngroups)
        for name, label, colour, marker, dash in (CKA, STIR):
            axis.plot(groups.ngroup(), rows[name], marker, ms=4, color=colour, alpha=0.4)
            axis.plot(places, groups[name].mean(), dash, marker=marker, ms=7, color=colour, label=label)
        if "pixels" in rows:
            _baseline(axis, places, groups.pixels.mean().to_numpy())
        axis.set_xticks(places, [f"{as_text(value)}\n{mean:.0%}" for value, mean in groups[x].mean().items()])
        axis.tick_params(axis="x", labelsize=8.5)
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
    figure, axis = plt.subplots(figsize=(5.2, 1.2 + 0.42 * len(table)), layout="constrained")
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
    figure, axes = _panels(groups)
    for axis, rows in zip(axes, groups.values(), strict=True):
        style = dict(fmt="o-", capsize=2, lw=1.4, color=STIR_COLOUR, label="STIR")
        axis.errorbar(rows.distance_median, rows.stir, yerr=_errors(rows, "stir"), **style)
        axis.plot(rows.distance_median, rows.ceiling, "D--", ms=5, lw=1.4, color=BASELINE_COLOUR, label="ceiling")
        for number, (_, row) in enumerate(rows.iterrows()):
            # Along the lower edge, alternately higher and lower, with a line to the mark: neighbours are often close.
            place = (row.distance_median, 0.03 + 0.07 * (number % 3))
            axis.plot([row.distance_median] * 2, [place[1], row.stir], ":", lw=0.7, color="0.6", zorder=0)
            style = dict(fontsize=8.5, ha="center", va="center", backgroundcolor="white")
            axis.annotate(f"{row.steps}", place, **style).get_bbox_patch().set_boxstyle("square", pad=0.1)
        log_axis(axis)
        axis.set(xlabel="median relative distance reached (numbers: steps)", ylabel="similarity", ylim=(-0.03, 1.05))
        axis.set_xlim(table.distance_median.max() * 1.15, table.distance_median.min() / 1.15)
        axis.legend(**LEGEND, ncols=2)
    return figure


def training_curves(groups: Mapping[str, Mapping[str, Sequence[dict]]]) -> Figure:
    """Training loss of each network by epoch, on a logarithmic axis: a panel for each group.

    Args:
        groups: title -> network -> its `card["curve"]`.
    """
    figure, axes = _panels(groups, size=(PANEL[0], PANEL[1] + 0.13 * max(map(len, groups.values()))))
    for axis, curves in zip(axes, groups.values(), strict=True):
        colours = sns.color_palette("colorblind", len(curves))
        for number, (name, curve) in enumerate(curves.items()):
            losses = [epoch["loss"] for epoch in curve]
            style = dict(ls=("-", "--", "-.", ":")[number % 4], color=colours[number], label=as_text(name))
            axis.plot(range(1, len(losses) + 1), losses, **style)
        axis.set(xlabel="epoch", ylabel="loss")
        log_axis(axis, which="y")
        axis.set_title(axis.get_title(), pad=6)
        axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize="small")
    return figure


def stages(table: pd.DataFrame, xlabel: str) -> Figure:
    """A bar for each row, parted into the columns.

    Args:
        table: rows from top to bottom, columns from left to right; not negative.
    """
    figure, axis = plt.subplots(figsize=(5.2, 1.4 + 0.36 * len(table)), layout="constrained")
    left = pd.Series(0.0, index=table.index)
    for column, colour in zip(table.columns, sns.color_palette("colorblind", len(table.columns)), strict=True):
        axis.barh([as_text(str(name)) for name in table.index], table[column], left=left, color=colour, label=column)
        left += table[column]
    axis.invert_yaxis()
    axis.set(xlabel=xlabel)
    axis.legend(**LEGEND, ncols=len(table.columns))
    return figure
