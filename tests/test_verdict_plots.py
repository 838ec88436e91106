"""Figures of verdicts show what was judged."""

import matplotlib

matplotlib.use("Agg")

import pandas as pd
import pytest

from stir.study import verdict_plots


@pytest.fixture
def judged():
    values = {"supported": (0.3, 0.2, 0.4), "not supported": (0.1, -0.1, 0.3), "contradicted": (-0.3, -0.5, -0.1)}
    rows = [
        {"scale": "one", "finding": "loss", "claim": f"claim {verdict}", "verdict": verdict}
        | dict(zip(("difference_value", "difference_low", "difference_high"), each, strict=True))
        for verdict, each in values.items()
    ]
    return pd.DataFrame(rows)


def test_a_scale_has_a_panel_and_a_hypothesis_the_same_line_in_each(judged):
    other = judged.iloc[[2]].assign(scale="two", difference_value=-0.2)
    one, two = verdict_plots.verdict_rows(pd.concat([judged, other])).axes
    assert (one.get_title(), two.get_title()) == ("one", "two")

    def place(axis, value):
        return next(
            y for line in axis.lines for x, y in zip(*line.get_data(), strict=True) if round(float(x), 3) == value
        )

    assert place(two, -0.2) == place(one, -0.3)


def test_verdict_rows_draw_differences_from_top_to_bottom(judged):
    (axis,) = verdict_plots.verdict_rows(judged).axes
    labels = dict(zip(axis.get_yticks(), [text.get_text() for text in axis.get_yticklabels()], strict=True))
    assert labels[max(labels)] == "claim supported"
    assert set(axis.get_legend_handles_labels()[1]) == set(judged.verdict)
    drawn = {round(float(x), 3) for line in axis.lines for x in line.get_xdata()}
    assert {0.3, 0.1, -0.3} <= drawn


def test_a_verdict_grid_has_a_cell_each(judged):
    both = pd.concat([judged.assign(measure="rsa"), judged.assign(measure="linear-cka").iloc[:2]]).assign(
        row=lambda rows: rows.claim
    )
    (axis,) = verdict_plots.verdict_grid(both, list(judged.claim), ["linear-cka", "rsa"]).axes
    (same,) = verdict_plots.verdict_grid(
        both.rename(columns={"measure": "solver"}), list(judged.claim), ["linear-cka", "rsa"], by="solver"
    ).axes
    assert len(axis.patches) == len(same.patches) == 5
    assert sorted(text.get_text() for text in axis.texts) == sorted(["+0.30", "+0.10", "-0.30", "+0.30", "+0.10"])
