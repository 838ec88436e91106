"""The book's style of figures, their panels, and their display on a page."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from stir.style import as_text

PANEL = (4.2, 3.4)  # inches; a phone shows a panel at nearly its size, a wide page two beside each other


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


def panels_for(titles: Iterable[str], columns: int = 2, size: tuple[float, float] = PANEL) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each title, in rows."""
    titles = list(titles)
    lines, columns = -(-len(titles) // columns), min(columns, len(titles))
    figure = plt.figure(figsize=(size[0] * columns, size[1] * lines), layout="constrained")
    parts = figure.subfigures(lines, columns, squeeze=False).flat[: len(titles)]
    axes = [part.subplots() for part in parts]
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(as_text(title), pad=27)  # room for a legend below it
    return figure, axes


def publish(figure: Figure, file: str) -> None:
    """Save a figure, and show it: each panel as a picture of its own, so that they stand one below another on a phone.

    Beside the PNG of the whole figure there is an SVG, `NAME.svg`, which other pages of the book show in the colours
    of their theme; of several panels there is one each, `NAME-1.svg` and so on.

    Args:
        file: name of a PNG of the whole figure, `NAME.png`.
    """
    figure.savefig(file)
    for number, pictures in enumerate(_pictures(figure), start=1):
        name = f"{Path(file).stem}-{number}.svg" if figure.subfigs else f"{Path(file).stem}.svg"
        Path(file).with_name(name).write_bytes(pictures["image/svg+xml"].encode())
        display(pictures, raw=True)
    plt.close(figure)


def show(figure: Figure) -> None:
    """Show a figure as `publish` does, and save nothing."""
    for pictures in _pictures(figure):
        display(pictures, raw=True)
    plt.close(figure)


def _pictures(figure: Figure) -> Iterator[dict[str, Any]]:
    """A drawing of each panel, or of the whole figure, and a PNG for what shows no drawings, by their kinds."""
    panels = [panel for panel in figure.subfigs if panel.axes]  # the last row need not be full
    for panel in panels or [None]:
        for other in panels:
            other.set_visible(other is panel)
        yield {"image/svg+xml": _drawn(figure, panel, "svg").decode(), "image/png": _drawn(figure, panel, "png")}


def _drawn(figure: Figure, panel: SubFigure | None, kind: str) -> bytes:
    """A picture of one panel, or of the whole figure."""
    inches = panel.bbox.transformed(figure.dpi_scale_trans.inverted()) if panel else "tight"
    file = io.BytesIO()
    figure.savefig(file, format=kind, bbox_inches=inches, metadata={"Date": None} if kind == "svg" else None)
    return file.getvalue()
