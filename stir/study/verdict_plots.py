"""Figures of verdicts: hypotheses with the differences behind them, by one measure or by several."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from stir.style import as_text

# Colours of Okabe & Ito (2008), as in `stir.style`; the markers distinguish verdicts in black and white.
VERDICT_STYLES = {
    "supported": ("#009E73", "o"),
    "not supported": ("0.5", "s"),
    "contradicted": ("#CC79A7", "X"),
    "not judged": ("0.85", "x"),
}


def verdict_rows(judged: pd.DataFrame) -> Figure:
    """The difference behind each verdict with its 95% interval, one line for each hypothesis, one panel for each scale.

    Args:
        judged: table that `stir.study.scales.at_scales` returns.
    """
    scales = list(dict.fromkeys(judged.scale))
    lines = list(dict.fromkeys(zip(judged.finding, judged.claim, strict=True)))
    heights = {line: len(lines) - 1 - place for place, line in enumerate(lines)}
    figure, axes = plt.subplots(
        ncols=len(scales), figsize=(4.4 + 3.8 * len(scales), 1.2 + 0.44 * len(lines)), sharey=True, squeeze=False
    )
    styles = {verdict: style for verdict, style in VERDICT_STYLES.items() if verdict in set(judged.verdict)}
    for axis, scale in zip(axes[0], scales, strict=True):
        for verdict, (colour, marker) in styles.items():
            rows = judged[(judged.scale == scale) & (judged.verdict == verdict)]
            at = [heights[line] for line in zip(rows.finding, rows.claim, strict=True)]
            errors = [rows.difference_value - rows.difference_low, rows.difference_high - rows.difference_value]
            axis.errorbar(
                rows.difference_value, at, xerr=np.stack(errors), fmt=marker, ms=6, lw=1.6, color=colour, label=verdict
            )
        axis.axvline(0, color="0.4", lw=1)
        axis.set(title=as_text(scale), xlabel="difference that the\nhypothesis says is above 0")
    claims = [as_text(textwrap.fill(claim, 50)) for _, claim in lines]
    axes[0, 0].set(yticks=list(heights.values()), yticklabels=claims, ylim=(-0.6, len(lines) - 0.4))
    axes[0, 0].tick_params(axis="y", labelsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="upper left", ncols=2, fontsize=9)
    sns.despine(figure)
    figure.tight_layout()
    return figure


def verdict_grid(judged: pd.DataFrame, rows: Sequence[str], columns: Sequence[str], by: str = "measure") -> Figure:
    """The verdict on each hypothesis by each measure or solver; the number in a cell is the difference behind it.

    Args:
        judged: tables of `stir.study.verdict.judge` by several measures, with the column `row`, which names the
            hypothesis.
        rows: the hypotheses, from top to bottom.
        columns: the measures, from left to right.
        by: the column of `judged` with the measures, or solvers.
    """
    figure, axis = plt.subplots(figsize=(3.6 + 0.72 * len(columns), 1.6 + 0.52 * len(rows)))
    for _, cell in judged.iterrows():
        x, y = list(columns).index(cell[by]), list(rows)[::-1].index(cell.row)
        colour, marker = VERDICT_STYLES[cell.verdict]
        axis.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, alpha=0.45, edgecolor="white", lw=2))
        axis.plot(x + 0.2, y + 0.5, marker, ms=5, color="0.2")
        style = dict(ha="center", va="center", fontsize=9)
        axis.annotate(f"{cell.difference_value:+.2f}", (x + 0.62, y + 0.5), **style)
    names = [as_text(textwrap.fill(row, 44)) for row in rows]
    axis.set(xlim=(0, len(columns)), ylim=(0, len(rows)), yticks=np.arange(len(rows))[::-1] + 0.5, yticklabels=names)
    axis.set_xticks(np.arange(len(columns)) + 0.5, [as_text(column) for column in columns], rotation=35, ha="left")
    axis.tick_params(labelsize=9, length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    handles = [
        Line2D([], [], marker=marker, ls="", color=colour, label=verdict)
        for verdict, (colour, marker) in VERDICT_STYLES.items()
        if verdict in set(judged.verdict)
    ]
    axis.legend(handles=handles, frameon=False, loc="upper right", bbox_to_anchor=(1, 0), ncols=len(handles))
    sns.despine(figure, left=True, bottom=True)
    figure.tight_layout()
    return figure
