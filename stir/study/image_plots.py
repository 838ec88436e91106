"""Figures of images: rows of them, and the idea of STIR in one picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from stir.style import BASELINE_COLOUR, STIR_COLOUR, as_text, draw_images, show_image


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
