"""Heat maps in HTML hold what the table says."""

import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from stir.study.heatmaps import heatmaps


class Cells(HTMLParser):
    """The texts of the cells of each table, the details apart, and their styles."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.details, self.styles = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.styles.append(dict(attributes).get("style"))
        self.inside = dict(attributes).get("class", tag)

    def handle_data(self, data):
        if self.inside == "more":
            self.details.append(data)
        elif self.tables and self.tables[-1] and self.tables[-1][-1]:
            self.tables[-1][-1][-1] += data


@pytest.fixture
def table():
    rows = [
        {"reference": a, "target": b, "stir": stir, "stir_low": stir - 0.1, "stir_high": stir + 0.1, "cka": cka,
         "cka_low": cka - 0.1, "cka_high": cka + 0.1, "pixels": 0.25, "reference_kind": a[0], "target_kind": b[0]}
        for a, b, stir, cka in [("a1", "a1", 0.98, 1.0), ("a1", "b1", 0.3, 0.8), ("b1", "a1", 0.5, 0.8),
                                ("b1", "b1", 0.95, 1.0), ("a1", "a2", 0.6, 0.7), ("a2", "a1", 0.7, 0.7)]
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_each_pair_has_its_cell_with_details(table):
    cells = Cells(heatmaps(table, ["a1", "b1"]))
    cka, stir = cells.tables
    assert [row[1:] for row in stir[1:]] == [["0.98", "0.30"], ["0.50", "0.95"]]
    assert [row[1:] for row in cka[1:]] == [["1.00", "0.80"], ["0.80", "1.00"]]
    assert stir[0][1:] == [row[0] for row in stir[1:]] == ["a1", "b1"]
    details = "reference b1, target a1: STIR 0.500 [0.400, 0.600]; CKA 0.800; pixels 0.250"
    assert cells.details[4 + 2] == details and len(cells.details) == 8


def test_a_kind_has_the_mean_over_pairs_of_different_networks(table):
    cells = Cells(heatmaps(table, ["a", "b"], by="kind", heading="<b>one</b>"))
    _, stir = cells.tables
    assert [row[1:] for row in stir[1:]] == [["0.65", "0.30"], ["0.50", ""]]
    assert "reference a, target a: STIR 0.650, mean of 2 pairs from 0.600 to 0.700; CKA 0.700; pixels 0.250" in (
        cells.details
    )
    assert "<b>" not in heatmaps(table, ["a", "b"], by="kind", heading="<b>one</b>")


def test_networks_that_share_their_seed_are_in_no_kind(table):
    alike = table.assign(same_seed=(table.reference == "a1") & (table.target == "a2"))
    _, stir = Cells(heatmaps(alike, ["a", "b"], by="kind")).tables
    assert stir[1][1:] == ["0.70", "0.30"]


@pytest.mark.parametrize("value", [-0.2, 0.0, 0.3, 0.5, 0.6, 1.0])
def test_values_can_be_read_on_their_ground(table, value):
    def light(colour):
        parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for style in filter(None, Cells(heatmaps(table.assign(stir=value), ["a1", "b1"])).styles):
        ground, ink = re.fullmatch(r"background:(#\w{6});color:(#\w{3})", style).groups()
        lights = sorted([light(ground), light(ink[0] + ink[1:] * 2)])
        assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5
