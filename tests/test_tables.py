"""Cells of wide tables tell what stands above them."""

import re
from html import unescape

import pandas as pd
import pytest

from stir.book import tables

WIDE = ["accuracy", "under attack", "distance", "ceiling", "pixels"]


def words(html):
    return unescape(re.sub("<[^>]*>", " ", html)).split()


def heads(html):
    return re.findall(r'data-head="([^"]*)"', html)


def names(html):
    """What the rows of a stacked table begin with."""
    found = []
    for tag, own in re.findall(r"<(t[hd][^>]*row-head[^>]*)>([^<]*)<", html):
        before, after = (re.search(f'data-{side}="([^"]*)"', tag) for side in ("before", "after"))
        found.append(unescape((before[1] if before else "") + own + (after[1] if after else "")))
    return found


def test_a_wide_table_of_pandas_has_its_heads_in_its_cells():
    table = pd.DataFrame([[1, 2, 3, 4, 5]] * 2, index=["a", "b"], columns=WIDE)
    for html in (table.rename_axis("name").to_html(), table.style.to_html()):
        stacked = tables.stacked(f"<p>before</p>{html}<p>after</p>")
        assert heads(stacked) == WIDE * 2
        assert "stacked" in re.search("<table[^>]*>", stacked)[0]
        assert stacked.startswith("<p>before</p>") and stacked.endswith("<p>after</p>")
        assert words(stacked) == words(f"<p>before</p>{html}<p>after</p>")


def test_heads_of_several_rows_are_joined_and_spanning_ones_counted():
    columns = pd.MultiIndex.from_tuples([("", "steps"), ("distance", "as the authors'"), ("distance", "at the end")])
    index = pd.MultiIndex.from_product(
        [["initialization", "loss"], ["tethered", "nearest"]], names=["finding", "solver of it"]
    )
    table = pd.DataFrame([[1, 2, 3]] * 4, index=index, columns=columns)
    stacked = tables.stacked(table.style.to_html())
    assert heads(stacked) == ["steps", "distance, as the authors'", "distance, at the end"] * 4
    assert names(stacked) == [
        f"{finding}, solver of it {solver}"
        for finding in ("initialization", "loss")
        for solver in ("tethered", "nearest")
    ]
    assert stacked.count("in-head") == 2  # of which the rows' names have the words


def test_a_row_is_named_by_all_heads_that_span_it():
    levels = [["average", "worst"], ["a", "b"], ["a", "b"]]
    index = pd.MultiIndex.from_product(levels, names=["case", "reference", "target"])
    stacked = tables.stacked(pd.DataFrame([range(5)] * 8, index=index, columns=WIDE).style.to_html())
    assert names(stacked) == [
        f"{case}, reference {one}, target {other}" for case in levels[0] for one in levels[1] for other in levels[2]
    ]


def test_a_row_without_a_head_begins_with_its_first_cell():
    table = pd.DataFrame([["a", 2, 3, 4, 5], [1, 2, 3, 4, 5]], columns=WIDE).style.hide(axis="index")
    stacked = tables.stacked(table.to_html())
    assert heads(stacked) == WIDE * 2
    assert names(stacked) == ["a"]  # a number needs its head


def test_the_first_words_of_a_row_name_it():
    rows = [["resnet10", "standard", "all", *"1234"], ["vgg11", "", "all", *"1234"]]
    table = pd.DataFrame(rows, columns=["network", "loss", "images", *WIDE[:4]])
    stacked = tables.stacked(table.style.hide(axis="index").to_html())
    assert names(stacked) == ["resnet10, loss standard, images all", "vgg11, images all"]
    verdict = '<span class="verdict supported">supported</span>'
    table.loc[1, "loss"] = verdict  # what is said of a network is not its name
    assert names(tables.stacked(table.style.hide(axis="index").to_html())) == ["resnet10", "vgg11"]
    table.loc[1, "loss"] = "5"
    assert names(tables.stacked(table.style.hide(axis="index").to_html())) == ["resnet10", "vgg11"]


def test_a_sentence_has_a_line_of_its_own():
    rows = [["MART", "boosted cross-entropy of f(x), plus 5 KL", *"abcd"]]
    stacked = tables.stacked(pd.DataFrame(rows, columns=["loss", *WIDE]).to_html())
    assert re.findall(r"<td class=\"prose\"[^>]*>([^<]*)<", stacked) == [rows[0][1]]


@pytest.mark.parametrize(
    "html",
    [
        pd.DataFrame([[0.12, 0.34, 0.56, 0.78]] * 2).to_html(),  # narrow
        pd.DataFrame([["a sentence that goes on below " * 9] * 2], columns=["one", "other"]).to_html(),
        '<table class="strips"><thead>' + "<th>a</th>" * 9 + "</thead><tbody></tbody></table>",
        '<table class="table parameters"><tr>' + "<td>a</td>" * 9 + "</tr></table>",
    ],
)
def test_other_tables_stay_as_they_are(html):
    assert tables.stacked(html) == html


def test_a_table_of_verdicts_is_stacked_though_it_is_narrow():
    cell = '<td><span class="verdict supported">supported</span></td>'
    row = f"<tr><td>a claim</td>{cell}</tr>"
    html = f'<table class="table"><thead><tr><th>at</th><th>digits</th></tr></thead><tbody>{row}</tbody></table>'
    assert 'data-head="digits"' in tables.stacked(html)


def test_a_wide_table_without_rows_does_not_push_a_phone_sideways():
    html = f'<table class="dataframe"><thead><tr>{"<th>measured</th>" * 6}</tr></thead><tbody></tbody></table>'
    assert 'class="dataframe stacked"' in tables.stacked(html)
