"""One style for all figures: colours, grids of images, logarithmic axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, NullFormatter
from torch import Tensor

# From the palette of Okabe & Ito (2008), made for colour-blind readers. Line styles and markers repeat the
# distinction, for black-and-white prints.
STIR_COLOUR = "#D55E00"
CKA_COLOUR = "#0072B2"
BASELINE_COLOUR = "0.45"  # raw pixels and untrained networks
WIDTH = 4.3  # inches of a figure: a phone shows it a little smaller than it is, its labels 11 pixels high
LABEL = 10.5  # points


def draw_images(figure: Figure | SubFigure, rows: Mapping[str, Tensor], columns: int) -> None:
    """Draw a grid of images [N, C, H, W], one labelled row for each entry, into `figure`."""
    columns = min(columns, *(len(images) for images in rows.values()))
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes, (label, images) in zip(grid, rows.items(), strict=True):
        for axis, image in zip(axes, images[:columns], strict=True):
            show_image(axis, image)
        label_row(axes[0], label)


def label_row(first: Axes, label: str) -> None:
    """Write what a row of images shows above the `first` of them; it may be longer than that is wide."""
    # The empty title keeps room for the label, which would push the second image away if it is long.
    first.set_title(" ", loc="left", fontsize=LABEL, pad=3)
    above = first.annotate(label, (0, 1), (0, 3), "axes fraction", "offset points", fontsize=LABEL)
    above.set_in_layout(False)


def show_image(axis: Axes, image: Tensor) -> None:
    """Draw an image [C, H, W], clamped to [0, 1], pixel by pixel, without ticks."""
    pixels = image.detach().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
    axis.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="none")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def as_text(label: object) -> str:
    """A label that matplotlib shows letter for letter: between two dollar signs it would read mathematics."""
    return str(label).replace("$", r"\$")


def log_axis(axes: Axes, marks: Sequence[int] = (1, 2, 5), which: str = "x") -> None:
    """Make an axis, the horizontal or the vertical one, logarithmic, with plain numbers at `marks` in each decade."""
    axes.set(**{f"{which}scale": "log"})
    axis: Axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=marks))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
