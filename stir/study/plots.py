"""The figures of studies: the same colour means the same thing on every page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from stir.style import BASELINE_COLOUR, CKA_COLOUR, STIR_COLOUR, draw_images, log_axis

LOSS_NAMES = {
    "adversarial-l2": "adversarial (L2)",
    "adversarial-linf": "adversarial (L∞)",
    "trades": "TRADES (L∞)",
    "trades-l2": "TRADES (L2)",
    "mart": "MART (L∞)",
    "mart-l2": "MART (L2)",
}


def loss_name(loss: str) -> str:
    """How the book writes the loss called `loss`."""
    return LOSS_NAMES.get(loss, loss)


def measure_name(table: pd.DataFrame) -> str:
    """How the book writes the plain similarity in `table`: CKA, for linear CKA, or the measure's own name."""
    names = set(table.get("measure", ["linear-cka"]))
    return names.pop().removeprefix("linear-").replace("cka", "CKA")


def use_style() -> None:
    """Set matplotlib up as the book has it."""
    sns.set_theme(context="notebook", style="ticks", font_scale=0.9)
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 160,
            "savefig.bbox": "tight",
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )


def image_rows(rows: Mapping[str, Tensor], columns: int = 8) -> Figure:
    """A grid of images, one labelled row for each entry.

    Args:
        rows: label -> images [N, C, H, W], shown clamped to [0, 1].
        columns: how many of each are shown.
    """
    columns = min(columns, *(len(images) for images in rows.values()))
    figure = plt.figure(figsize=(1 + 0.8 * columns, 0.85 * len(rows)))
    draw_images(figure, rows, columns)
    figure.subplots_adjust(wspace=0.06, hspace=0.06)
    return figure


def profiles(
    panels: Mapping[str, pd.DataFrame],
    by: str,
    order: Sequence,
    xlabel: str,
    ticks: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """STIR beside CKA from step to step of something, such as from layer to layer: a panel for each group of pairs.

    Thin marks are single ordered pairs, with their 95% intervals where these are known; the lines join the means over pairs, the thin gray
    one those of the pixels, where they were scored.

    Args:
        panels: title -> rows as `stir.pairwise` makes them, of pairs of different networks.
        by: the column that holds the steps.
        order: its values, from left to right.
        xlabel: what they are.
        ticks: title -> how they are written; None for as they are.
    """
    columns = len(panels) if len(panels) < 4 else 2
    lines = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(max(4.2 * columns, 5.0), 3.4 * lines), sharey=True, squeeze=False
    )
    low = 0.0
    for axis, (title, rows) in zip(axes.flat, panels.items(), strict=False):
        for name, label, colour, marker, dash, shift in (
            ("cka", "CKA", CKA_COLOUR, "s", "--", -0.08),
            ("stir", "STIR", STIR_COLOUR, "o", "-", 0.08),
        ):
            label = measure_name(rows) if name == "cka" else label
            means = []
            for position, value in enumerate(order):
                at = rows[rows[by] == value]
                spread = position + shift + np.linspace(-0.05, 0.05, len(at))
                errors = np.nan_to_num(np.abs(np.stack([at[name] - at[f"{name}_low"], at[f"{name}_high"] - at[name]])))
                axis.errorbar(spread, at[name], yerr=errors, fmt=marker, ms=2.5, lw=0.7, color=colour, alpha=0.35)
                means.append(at[name].mean())
            axis.plot(np.arange(len(order)) + shift, means, dash, marker=marker, ms=6, color=colour, label=label)
        if "pixels" in rows and rows.pixels.notna().any():
            _baseline(axis, np.arange(len(order)), np.array([rows.pixels[rows[by] == value].mean() for value in order]))
        low = min(low, rows.filter(["stir", "cka", "pixels"]).min().min() - 0.03)
        axis.set(title=title, xlabel=xlabel)
        names = ticks[title] if ticks else [str(value) for value in order]
        axis.set_xticks(range(len(order)), names, rotation=20 if sum(map(len, names)) > 30 and not ticks else 0)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set(ylabel="similarity", ylim=(low, 1.03))
    axes[0][-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    sns.despine(figure)
    figure.tight_layout()
    return figure


def _baseline(axis: Axes, x: np.ndarray, pixels: np.ndarray) -> None:
    axis.plot(x, pixels, ":", marker="D", ms=3.5, lw=1.2, color=BASELINE_COLOUR, label="pixels", zorder=1)


def pair_heatmaps(table: pd.DataFrame, names: Sequence[str], by: str = "", heading: str = "") -> Figure:
    """CKA and STIR of every ordered pair, side by side: row the reference, column the target.

    Args:
        table: rows as `stir.pairwise` makes them, at one layer and by one measure.
        names: the networks, or the kinds of network, in order.
        by: an attribute of `stir.study.verdict.described`, such as "kind": a cell is then the mean over all pairs of different
            networks of these two kinds, less those that share their seed, where the table has the column `same_seed`. Empty for a cell each pair, networks with themselves among them.
        heading: above both.
    """
    rows, columns = (f"{side}_{by}" if by else side for side in ("reference", "target"))
    if by:
        table = table[
            (table.reference != table.target) & ~table.get("same_seed", pd.Series(False, table.index)).astype(bool)
        ]
    size = 2.2 + 0.55 * len(names)
    figure, axes = plt.subplots(1, 2, figsize=(2 * size, size), sharey=True)
    for axis, column, title in ((axes[0], "cka", "CKA"), (axes[1], "stir", "STIR(target | reference)")):
        grid = table.pivot_table(index=rows, columns=columns, values=column).reindex(
            index=list(names), columns=list(names)
        )
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
        figure.suptitle(heading)
    figure.tight_layout()
    return figure


def against(panels: Mapping[str, pd.DataFrame], x: str, xlabel: str, labels: str) -> Figure:
    """STIR and CKA of each network against something else that is known of it: a panel for each way to look at it.

    Args:
        panels: title -> one row a network, with the columns `x`, `labels`, stir and cka, and perhaps pixels, whose means are joined in thin gray.
        x: the column on the horizontal axis, a share in [0, 1].
        xlabel: what it is.
        labels: the column whose values group the networks; each group's mean is marked with it.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(4.8 * len(panels), 4.2), sharey=True, squeeze=False)
    for axis, (title, rows) in zip(axes[0], panels.items(), strict=True):
        for name, label, colour, marker, dash in (
            ("cka", "CKA", CKA_COLOUR, "s", "--"),
            ("stir", "STIR", STIR_COLOUR, "o", "-"),
        ):
            axis.plot(rows[x], rows[name], marker, ms=4, color=colour, alpha=0.4)
            means = rows.groupby(labels, sort=False)[[x, name]].mean()
            axis.plot(means[x], means[name], dash, marker=marker, ms=7, color=colour, label=label)
        if "pixels" in rows:
            _baseline(axis, means[x].to_numpy(), rows.groupby(labels, sort=False).pixels.mean().to_numpy())
        for number, (value, row) in enumerate(means.iterrows()):
            # By turns above and below: neighbours are often close.
            axis.annotate(
                str(value),
                (row[x], row.stir),
                (0, (9, -16)[number % 2]),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=STIR_COLOUR,
            )
        axis.set(title=title, xlabel=xlabel)
        axis.xaxis.set_major_formatter("{x:.0%}")
    axes[0][0].set_ylabel("mean similarity to the other networks")
    axes[0][0].margins(y=0.12)
    axes[0][-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    sns.despine(figure)
    figure.tight_layout()
    return figure


def interval_rows(table: pd.DataFrame, labels: str) -> Figure:
    """STIR beside plain similarity with their 95% intervals, a line for each row; gray ticks are floor and ceiling, gray diamonds the pixels.

    Args:
        table: rows with columns as `stir.pairwise` makes them.
        labels: the column that names a row.
    """
    figure, axis = plt.subplots(figsize=(6.4, 0.8 + 0.42 * len(table)))
    heights = np.arange(len(table))[::-1]
    for name, label, colour, marker, shift in (
        ("cka", "plain similarity", CKA_COLOUR, "s", -0.13),
        ("stir", "STIR", STIR_COLOUR, "o", 0.13),
    ):
        errors = np.abs(np.stack([table[name] - table[f"{name}_low"], table[f"{name}_high"] - table[name]]))
        axis.errorbar(table[name], heights + shift, xerr=errors, fmt=marker, ms=5, lw=1.6, color=colour, label=label)
    for name in ("floor", "ceiling"):
        axis.plot(table[name], heights, "|", ms=16, color="0.6", label="floor and ceiling" if name == "floor" else None)
    if "pixels" in table:
        axis.plot(table.pixels, heights, "D", ms=4, color=BASELINE_COLOUR, label="pixels", zorder=1)
    axis.set(yticks=heights, yticklabels=table[labels], xlabel="similarity", ylim=(-0.6, len(table) - 0.4))
    axis.set_xlim(min(-0.02, table[["stir_low", "cka_low", "floor"]].min().min()), 1.03)
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    sns.despine(figure)
    figure.tight_layout()
    return figure


def convergence(table: pd.DataFrame) -> Figure:
    """STIR and its ceiling against the distance that the inversion reached, which falls with its steps: a line for each solver.

    Args:
        table: rows with columns as `stir.pairwise` makes them, of one pair.
    """
    figure, axis = plt.subplots(figsize=(6.4, 3.6))
    styles = zip(("-", "--", "-.", ":"), ("o", "D", "^", "s"), strict=True)
    for (solver, rows), (dash, marker) in zip(table.groupby("solver", sort=False), styles, strict=False):
        errors = np.abs(np.stack([rows.stir - rows.stir_low, rows.stir_high - rows.stir]))
        axis.errorbar(
            rows.distance_median,
            rows.stir,
            yerr=errors,
            fmt=marker,
            ls=dash,
            lw=1.4,
            capsize=2,
            color=STIR_COLOUR,
            label=f"STIR, {solver}",
        )
        axis.plot(
            rows.distance_median,
            rows.ceiling,
            marker=marker,
            ls=dash,
            lw=1.4,
            mfc="white",
            color="0.45",
            label=f"ceiling, {solver}",
        )
        for _, row in rows.iterrows():
            axis.annotate(
                f"{row.steps}",
                (row.distance_median, row.stir),
                (4, 5),
                textcoords="offset points",
                fontsize=8,
                color="0.3",
            )
    log_axis(axis)
    axis.set(xlabel="median relative distance reached (numbers: steps)", ylabel="similarity", ylim=(0, 1.05))
    axis.invert_xaxis()
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    sns.despine(figure)
    figure.tight_layout()
    return figure


def training_curves(groups: Mapping[str, Mapping[str, Sequence[dict]]]) -> Figure:
    """The loss of each network from epoch to epoch, on a logarithmic axis: a panel for each group.

    Args:
        groups: title -> network -> its `card["curve"]`.
    """
    figure, axes = plt.subplots(1, len(groups), figsize=(5.6 * len(groups), 3.6), squeeze=False)
    for axis, (title, curves) in zip(axes[0], groups.items(), strict=True):
        colours = sns.color_palette("colorblind", len(curves))
        for number, (name, curve) in enumerate(curves.items()):
            losses = [epoch["loss"] for epoch in curve]
            axis.plot(
                range(1, len(losses) + 1),
                losses,
                ls=("-", "--", "-.", ":")[number % 4],
                color=colours[number],
                label=name,
            )
        axis.set(yscale="log", xlabel="epoch", ylabel="loss", title=title)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    sns.despine(figure)
    figure.tight_layout()
    return figure
