"""Charts show what the table says."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.text import Text

from stir.study import charts


@pytest.fixture(autouse=True)
def no_figure_is_left():
    yield
    plt.close("all")


@pytest.fixture
def table():
    rows = []
    for layer, base in (("stage1", 0.8), ("stage2", 0.4)):
        for a, b, shift in (("a", "b", 0.0), ("b", "a", 0.1)):
            value = base + shift
            rows.append({
                "reference": a, "target": b, "reference_layer": layer, "loss": "adversarial-l2",
                "stir": value, "stir_low": value - 0.1, "stir_high": value + 0.05,
                "cka": 0.9, "cka_low": 0.85, "cka_high": 0.95,
            })  # fmt: skip
    return pd.DataFrame(rows)


def test_profiles_draw_the_means(table):
    figure = charts.profiles({"one": table}, by="reference_layer", order=["stage1", "stage2"], xlabel="layer")
    (axis,) = figure.axes
    assert (axis.get_title(), axis.get_xlabel()) == ("one", "layer")
    lines = {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}
    assert list(lines["STIR"].get_ydata()) == pytest.approx([0.85, 0.45])
    assert list(lines["CKA"].get_ydata()) == pytest.approx([0.9, 0.9])
    assert [label.get_text() for label in axis.get_xticklabels()] == ["stage1", "stage2"]


def test_pixels_are_drawn_where_they_were_scored(table):
    table = table.assign(pixels=[0.3, 0.5, 0.1, 0.3])
    figures = {
        "profiles": charts.profiles({"one": table}, by="reference_layer", order=["stage1", "stage2"], xlabel="layer"),
        "against": charts.similarity_against(
            {"one": table.assign(x=[0.1, 0.3, 0.6, 0.8])}, x="x", xlabel="accuracy", labels="reference_layer"
        ),
        "rows": charts.interval_rows(table.assign(floor=0.05, ceiling=0.99), labels="reference_layer"),
    }
    drawn = {
        name: next(line for line in figure.axes[0].lines if line.get_label() == "pixels")
        for name, figure in figures.items()
    }
    assert list(drawn["profiles"].get_ydata()) == pytest.approx([0.4, 0.2])
    assert list(drawn["against"].get_ydata()) == pytest.approx([0.4, 0.2])
    assert list(drawn["against"].get_xdata()) == [0, 1]
    assert list(drawn["rows"].get_xdata()) == pytest.approx([0.3, 0.5, 0.1, 0.3])
    refused = charts.profiles(
        {"one": table.assign(pixels=float("nan"))}, by="reference_layer", order=["stage1", "stage2"], xlabel="layer"
    )
    assert "pixels" not in [line.get_label() for line in refused.axes[0].lines]


def test_against_marks_each_group_once():
    rows = pd.DataFrame(
        {"robust": [0.1, 0.3, 0.8], "stir": [0.4, 0.6, 0.9], "cka": [0.8, 0.8, 0.9], "kind": ["low", "low", "high"]}
    )
    figure = charts.similarity_against({"as the reference": rows}, x="robust", xlabel="accuracy", labels="kind")
    (axis,) = figure.axes
    lines = {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}
    assert list(lines["STIR"].get_xdata()) == [0, 1]
    assert list(lines["STIR"].get_ydata()) == pytest.approx([0.5, 0.9])
    assert [label.get_text() for label in axis.get_xticklabels()] == ["low\n20%", "high\n80%"]


def test_interval_rows_show_every_number(table):
    rows = table.assign(floor=0.1, ceiling=0.99, kind=["a", "b", "c", "d"])
    figure = charts.interval_rows(rows, labels="kind")
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b", "c", "d"]
    drawn = {round(float(x), 3) for line in axis.lines for x in line.get_xdata()}
    assert {0.8, 0.9, 0.4, 0.5, 0.1, 0.99} <= drawn
    heights = axis.get_yticks()
    assert heights[0] > heights[-1]  # the first row on top


def test_convergence_draws_a_panel_for_each_solver(table):
    rows = table.assign(
        solver=["one", "one", "two", "two"], steps=[1, 2, 1, 2], ceiling=0.95, distance_median=[0.3, 0.1, 0.2, 0.05]
    )
    figure = charts.convergence(rows)
    assert [axis.get_title() for axis in figure.axes] == ["one", "two"]
    for axis, steps in zip(figure.axes, (["1", "2"], ["1", "2"]), strict=True):
        assert set(axis.get_legend_handles_labels()[1]) == {"STIR", "ceiling"}
        assert [text.get_text() for text in axis.texts] == steps
        low, high = axis.get_xlim()
        assert low > high  # better to the right
        assert axis.get_xlim() == figure.axes[0].get_xlim()
        places = [text.xy[1] for text in axis.texts]
        assert len(set(places)) == 2  # neighbours at different heights


def test_training_curves():
    curves = {"a": [{"loss": 2.0}, {"loss": 0.5}], "b": [{"loss": 1.0}]}
    figure = charts.training_curves({"first": curves, "second": {"c": [{"loss": 3.0}]}})
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["a", "b"] and left.lines[0].get_ydata().tolist() == [2.0, 0.5]
    assert left.lines[0].get_xdata().tolist() == [1, 2] and left.get_yscale() == "log" and right.get_title() == "second"


@pytest.mark.parametrize("name", ["a $b$ c", r"$\frac{$", "5$", "<b>`x`</b> & _y_"])
def test_names_are_drawn_letter_for_letter(table, name):
    named = table.assign(reference=table.reference.replace("a", name), target=table.target.replace("a", name))
    named = named.assign(reference_layer=name, x=0.5, pixels=0.3, floor=0.1, ceiling=0.9)
    curve = [{"loss": 1.0, "accuracy": 0.5, "seconds": 1.0}]
    figures = [
        charts.profiles({name: named}, by="reference_layer", order=[name], xlabel="layer"),
        charts.similarity_against({name: named}, x="x", xlabel="accuracy", labels="reference_layer"),
        charts.interval_rows(named, labels="reference_layer"),
        charts.training_curves({name: {name: curve}}),
    ]
    for figure in figures:
        figure.canvas.draw()
        drawn = [text for text in figure.findobj(Text) if text.get_text().replace(r"\$", "$") == name]
        assert drawn
        for text in drawn:  # what matplotlib makes of it
            shown, is_math = text._preprocess_math(text.get_text())
            assert shown == name and not is_math
