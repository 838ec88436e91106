"""Figures of images show those that they are given."""

import matplotlib

matplotlib.use("Agg")

import torch

from stir.study import image_plots


def test_image_rows_shows_as_many_as_there_are():
    figure = image_plots.image_rows({"gray": torch.rand(3, 1, 8, 8), "colour": torch.rand(5, 3, 8, 8) * 2}, columns=8)
    assert len(figure.axes) == 2 * 3
    assert [text.get_text() for axis in figure.axes for text in axis.texts] == ["gray", "colour"]


def test_a_long_label_leaves_the_images_where_they_are():
    images = torch.rand(4, 3, 8, 8)
    drawn = [
        image_plots.image_rows({"a": images, label: images})
        for label in ("b", "much longer than two of the images are wide")
    ]
    for figure in drawn:
        figure.draw_without_rendering()
    short, long = ([axis.get_position().bounds for axis in figure.axes] for figure in drawn)
    assert short == long


def test_the_idea_shows_both_distances():
    image = torch.rand(3, 8, 8)
    view = image_plots.View(image, image, image, 0.04, 0.8)
    figure = image_plots.idea({"one": view, "two": view._replace(to_target=0.1)})
    bars = figure.axes[3]
    assert [text.get_text() for text in bars.texts] == ["reference: 0.04", "target: 0.80"]
    assert [bar.get_width() for bar in bars.patches] == [0.04, 0.8]
    assert figure.axes[7].get_xlim() == bars.get_xlim() and len(figure.axes) == 8
