"""A page shows each panel of a figure, and tables as text."""

import io
import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from stir.study import figures


def test_panels_have_titles_and_stand_in_rows():
    figure, axes = figures.panels_for(["a", "$b$", "c"])
    assert [axis.get_title() for axis in axes] == ["a", r"\$b\$", "c"]
    assert tuple(figure.get_size_inches()) == (2 * figures.PANEL[0], 2 * figures.PANEL[1])
    plt.close(figure)


def test_a_published_figure_is_a_picture_for_each_panel(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", lambda data, raw: shown.append(data))
    monkeypatch.chdir(tmp_path)
    figures.use_style()
    figure, axes = figures.panels_for(["a", "b", "c"])
    for axis in axes:
        axis.plot([0, 1], [0.2, 0.4])
    figures.publish(figure, "both.png")
    assert len(shown) == 3 and not plt.fignum_exists(figure.number)
    whole, one = (plt.imread(source) for source in ("both.png", io.BytesIO(shown[0]["image/png"])))
    assert whole.shape[1] > 1.8 * one.shape[1]
    assert one.shape[1] > 2 * 350  # twice the pixels of a phone
    for data in shown:
        width = float(re.search(r'<svg.* width="([\d.]+)pt"', data["image/svg+xml"].replace("\n", " "))[1])
        assert width == pytest.approx(72 * figures.PANEL[0], rel=0.02)
    assert shown[0]["image/svg+xml"] != shown[1]["image/svg+xml"]
    for number, data in enumerate(shown, start=1):  # for other pages
        assert Path(f"both-{number}.svg").read_text() == data["image/svg+xml"]
    figures.publish(plt.figure(), "one.png")
    assert len(shown) == 4 and Path("one.svg").exists()


def test_a_figure_that_is_shown_is_a_drawing_and_a_picture_of_each_panel_in_no_file(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", lambda data, raw: shown.append(data))
    monkeypatch.chdir(tmp_path)
    for figure, panels in ((plt.figure(figsize=(2, 1)), 1), (figures.panels_for(["a", "b"], size=(2.0, 1.0))[0], 2)):
        figures.show(figure)
        assert len(shown) == panels and not plt.fignum_exists(figure.number)
        for data in shown:
            assert "<svg" in data["image/svg+xml"] and plt.imread(io.BytesIO(data["image/png"])).ndim == 3
        shown.clear()
    assert not [*tmp_path.iterdir()]


def test_pages_show_tables_as_text():
    figures.use_style()
    table = pd.DataFrame({"a $b$": ["<b>$x$</b>"]})
    assert "mathjax_ignore" in table.to_html() and "&lt;b&gt;$x$" in table.to_html()
    assert "mathjax_ignore" in table.style.set_table_attributes('class="wide"').to_html()
