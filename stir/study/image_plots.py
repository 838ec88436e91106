"""Figures of images: rows of them, and the idea of STIR in one picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from stir.style import BASELINE_COLOUR, LABEL, STIR_COLOUR, WIDTH, as_text, draw_images, label_row, show_image


def image_rows(rows: Mapping[str, Tensor], columns: int = 8) -> Figure:
    """A grid of images, one labelled row for each entry.

    Args:
        rows: label -> images [N, C, H, W], shown clamped to [0, 1].
        columns: number shown of each.
    """
    columns = min(columns, *(len(images) for images in rows.values()))
    size = WIDTH / max(columns, 6)
    figure = plt.figure(figsize=(size * columns, (size + 0.24) * len(rows)), layout="constrained")
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
    """The idea of STIR in one picture: x, the seed, x', and its relative distance from x to reference and target.

    Args:
        views: label -> what is shown in its row.
    """
    size = (WIDTH, 1.15 * len(views) + 0.25)
    figure, grid = plt.subplots(len(views), 4, figsize=size, width_ratios=(1, 1, 1, 1.6), layout="constrained")
    farthest = max(view.to_target for view in views.values())
    for axes, (label, view) in zip(grid, views.items(), strict=True):
        for axis, image in zip(axes, (view.image, view.seed, view.inverted), strict=False):
            show_image(axis, image)
        label_row(axes[0], as_text(label))
        # What a bar says stands above it, as wide as the panel: beside it there is no room on a phone.
        distances = {"reference": (view.to_reference, BASELINE_COLOUR), "target": (view.to_target, STIR_COLOUR)}
        for place, (side, (distance, colour)) in enumerate(distances.items()):
            axes[3].barh(place, distance, color=colour, height=0.3)
            axes[3].text(0, place - 0.25, f"{side}: {distance:.2f}", fontsize=LABEL)
        axes[3].set(xlim=(0, farthest), ylim=(1.2, -0.8), xticks=[], yticks=[])
        axes[3].spines[:].set_visible(False)
        axes[3].set_box_aspect(1 / 1.6)  # as high as the images
    for axis, head in zip(grid[-1], ("image $x$", "noise", "changed: $x'$", "distance to $x$"), strict=True):
        axis.set_xlabel(head, fontsize=LABEL)
    return figure
