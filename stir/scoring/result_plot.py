"""The figure of one score."""

from __future__ import annotations

import math
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from stir.similarity.measures import short_name
from stir.style import BASELINE_COLOUR, CKA_COLOUR, STIR_COLOUR, WIDTH, as_text, draw_images, log_axis


def plot_score(row: Mapping, distances: Tensor, tolerance: float, images: Mapping[str, Tensor]) -> Figure:
    """One score: its place among baselines, floor and ceiling, how far the inversion came, and some images.

    Args:
        row: the score by the names of `stir.scoring.result.COLUMNS`.
        distances: the relative distance that each X' reached, of any shape.
        tolerance: the largest distance that counts as converged.
        images: label -> images [N, C, H, W], the first of which are shown, a row for each label.
    """
    figure = plt.figure(figsize=(2 * WIDTH, 5.4), layout="constrained")
    grid = figure.add_gridspec(2, 2)
    left, below, right = (figure.add_subfigure(grid[place]) for place in ((0, 0), (1, 0), (slice(None), 1)))
    scale, histogram = left.subplots(), below.subplots()
    _draw_scale(scale, row)
    reached = distances.flatten().clamp_min(1e-6).numpy()
    histogram.hist(reached, bins=np.geomspace(reached.min() * 0.9, reached.max() * 1.1, 25), color="0.7")
    histogram.axvline(tolerance, color="0.2", ls="--", lw=1.2)
    log_axis(histogram, marks=(1, 3) if reached.max() < 100 * reached.min() else (1,))
    histogram.set(
        xlabel="relative distance reached", ylabel="images", title=f"{row['converged']:.0%} within {tolerance:g}"
    )
    for axis in (scale, histogram):
        sns.despine(ax=axis)
    draw_images(right, images, columns=3)
    return figure


def _draw_scale(axis: Axes, row: Mapping) -> None:
    """The numbers of one score, a line for each."""
    nan = (math.nan, math.nan)
    points = [
        ("STIR", row["stir"], (row["stir_low"], row["stir_high"]), STIR_COLOUR, "o"),
        (short_name(row["measure"]), row["cka"], (row["cka_low"], row["cka_high"]), CKA_COLOUR, "s"),
        ("untrained", row["untrained"], nan, BASELINE_COLOUR, "d"),
        ("pixels", row["pixels"], nan, BASELINE_COLOUR, "D"),
    ]
    points = [point for point in points if not math.isnan(point[1])]
    heights = range(len(points))[::-1]
    for height, (_, value, (low, high), colour, marker) in zip(heights, points, strict=True):
        axis.plot([low, high], [height, height], color=colour, lw=2)
        axis.plot(value, height, marker, ms=8 if marker in "os" else 6, color=colour)
        text = f"{value:.2f}" if math.isnan(low) else f"{value:.2f} [{low:.2f}, {high:.2f}]"
        # Beside the mark, where there is room: clear of the ceiling, as similarities often lie near 1.
        shift, side = ((-2, "right"), (2, "left"))[value < 0.5]
        axis.annotate(text, (value, height), (shift, 7), textcoords="offset points", ha=side)
    for name in ("floor", "ceiling"):
        axis.axvline(row[name], color="0.6", ls=":", lw=1.2)
        axis.annotate(
            name,
            (row[name], -0.55),
            (-3, 0),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="bottom",
            color="0.4",
        )
    axis.set(
        yticks=heights, yticklabels=[label for label, *_ in points], ylim=(-0.6, len(points) - 0.4), xlabel="similarity"
    )
    axis.set_title(as_text(f"{row['target']} given {row['reference']}"))
    axis.set_xlim(min(-0.02, row["stir_low"], *(value for _, value, *_ in points), row["floor"]), 1.03)
