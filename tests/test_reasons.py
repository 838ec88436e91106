"""Reasons follow from the measured figures."""

import pandas as pd
import pytest
from helpers.pair_tables import kinds_of, pairs

from stir.study import reasons
from stir.study.hypothesis import Hypothesis, Quantity
from stir.study.verdict import described, judge

EFFECTS = {f"{kind}{number}": 0.01 * number for kind in "ab" for number in range(3)}
OF_A, OF_B = ({"reference_kind": kind, "target_kind": kind} for kind in "ab")


def table(a=0.5, b=0.5, pixels=0.3):
    rows = described(pairs(EFFECTS), kinds_of(EFFECTS))
    in_a = rows.reference_kind == "a"
    return rows.assign(
        stir=rows.stir - 0.5 + in_a.map({True: a, False: b}), pixels=in_a.map({True: pixels, False: 0.3})
    )


def why(hypothesis, rows, **known):
    (row,) = (each for _, each in judge([hypothesis], rows).assign(otherwise="", **known).iterrows())
    return " ".join(reasons.why(row, rows))


STIR = Hypothesis("a above b", Quantity("STIR of a", "stir", OF_A), Quantity("STIR of b", "stir", OF_B))


def test_chance_and_the_opposite():
    unsure = why(STIR, table())
    assert "includes zero: with 6 networks a true difference of as much as 0.0" in unsure
    assert "The inversion is an unlikely cause: 100%" in unsure
    assert "The opposite was measured: the whole interval, −0.3" in why(STIR, table(a=0.2))


def test_room():
    claim = STIR.beyond_pixels()
    said = why(claim, table(a=0.95, b=0.6, pixels=0.9))
    assert "raw pixels score 0.90, which leaves room for at most 0.10 beyond them; STIR is 0.97." in said
    assert "there is not enough room for what the claim says" in said
    assert "more than there is room" not in why(claim, table(a=0.5, b=0.6, pixels=0.4))
    assert "Both means are near 1" in why(STIR, table(a=0.95, b=0.95))
    gap = Hypothesis("narrows", Quantity("gap of a", "gap", OF_A), Quantity("gap of b", "gap", OF_B))
    assert "next to nothing (0.0" in why(gap, table(a=0.85)) and "next to nothing" not in why(gap, table())


def test_the_room_is_told_of_what_failed_beyond_the_pixels():
    rows = table(a=0.95, b=0.6, pixels=0.9)
    (beyond,) = (each for _, each in judge([STIR.beyond_pixels()], rows).iterrows())
    assert beyond.verdict == "contradicted"
    assert reasons.room(beyond, rows) == "the pixels leave room for 0.10 (STIR of a) and 0.70 (STIR of b)"
    (plain,) = (each for _, each in judge([STIR], table(a=0.2)).iterrows())
    assert plain.verdict == "contradicted" and reasons.room(plain, rows) == ""
    assert reasons.room(beyond.replace("contradicted", "supported"), rows) == ""


def test_inversion_and_measures():
    rows = table(a=0.2)
    said = why(STIR, rows, measures="6 of 6")
    assert "6 of 6 other measures of similarity lead to the same verdict. The measure is an unlikely cause." in said
    assert "unlikely cause" not in why(STIR, rows.assign(converged=0.8), measures="2 of 6")
    assert "in one of its means only 30% of the images X′ converged" in why(STIR, rows.assign(converged=0.3))
    (row,) = (each for _, each in judge([STIR], rows).assign(otherwise="not by the solver paper").iterrows())
    said = reasons.why(row, rows)
    assert "The inversion may matter. The verdict with other solvers: not so by the authors’ algorithm." in said


def test_only_what_failed_is_told():
    rows = table(a=0.2)
    judged = judge([STIR, Hypothesis("<b>", STIR.less, STIR.more)], rows).assign(otherwise="")
    source = reasons.as_html(judged, rows)
    assert source.count("<details") == 1 and "a above b" in source and "&lt;b&gt;" not in source
    assert "Every hypothesis on this page is supported" in reasons.as_html(judged.iloc[[1]], rows)
    assert list(reasons.failed(pd.concat([judged, judged.assign(verdict="not judged")])).verdict) == [
        "contradicted",
        "not judged",
        "not judged",
    ]


@pytest.mark.parametrize("networks", [["a0", "a1", "b0", "b1"]])
def test_too_few_networks(networks):
    rows = table()
    few = rows[rows.reference.isin(networks) & rows.target.isin(networks)]
    assert "too few networks of a kind" in why(STIR, few)
