"""Reasons follow from the measured figures."""

import math

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
    assert "not enough room for what the claim says: even if STIR were 1, STIR of a, beyond the pixels, the" in said
    assert "not enough room" not in why(claim, table(a=0.5, b=0.6, pixels=0.4))
    assert "Both means are near 1" in why(STIR, table(a=0.95, b=0.95))
    gap = Hypothesis("narrows", Quantity("gap of a", "gap", OF_A), Quantity("gap of b", "gap", OF_B))
    assert "next to nothing (0.0" in why(gap, table(a=0.85)) and "next to nothing" not in why(gap, table())


def test_the_room_is_told_of_what_failed_beyond_the_pixels():
    rows = table(a=0.95, b=0.6, pixels=0.9)
    judged = judge([STIR.beyond_pixels()], rows)
    assert list(judged.verdict) == ["contradicted"]
    # b exceeds the pixels by 0.62 - 0.3; a could by 0.1.
    room = "the pixels leave room for 0.10 (STIR of a) and 0.70 (STIR of b)"
    told = reasons.with_caveats(judged, rows)
    assert list(told.room) == [f"{room}, too little for the claim: even a STIR of 1 would give −0.22"]
    assert list(told.accuracy) == [""] and told.most_possible[0] == pytest.approx(-0.22)
    assert list(reasons.with_caveats(judged, rows.assign(pixels=0.3)).room) == [room.replace("0.10", "0.70")]
    plain = judge([STIR], table(a=0.2))
    assert list(plain.verdict) == ["contradicted"] and list(reasons.with_caveats(plain, rows).room) == [""]
    assert list(reasons.with_caveats(judged.assign(verdict="supported"), rows).room) == [""]


@pytest.mark.parametrize("stir", [0.5, 0.9])
def test_what_is_possible_at_most_is_what_the_estimate_would_be_with_a_stir_of_1(stir):
    rows = table(a=stir, b=0.6, pixels=0.9)
    in_a = (rows.reference_kind == "a") & (rows.target_kind == "a")
    narrows = Hypothesis("narrows", Quantity("gap of b", "gap", OF_B), Quantity("gap of a", "gap", OF_A))
    for claim in (STIR.beyond_pixels(), narrows.beyond_pixels()):
        (row,) = (each for _, each in judge([claim], rows).iterrows())
        at_best = judge([claim], rows.assign(stir=rows.stir.mask(in_a, 1.0))).difference_value[0]
        assert reasons.most_possible(row, rows) == pytest.approx(at_best)
    (row,) = (each for _, each in judge([STIR], rows).iterrows())
    assert math.isnan(reasons.most_possible(row, rows))


def test_sides_whose_networks_classify_unlike_are_told():
    rows = table()
    accuracy = {name: 0.78 if name[0] == "a" else 0.4 + 0.01 * int(name[1]) for name in EFFECTS}
    rows = rows.assign(**{f"{side}_accuracy": rows[side].map(accuracy) for side in ("reference", "target")})
    both = Quantity("STIR of a given b", "stir", {"reference_kind": "b", "target_kind": "a"})
    back = Quantity("STIR of b given a", "stir", {"reference_kind": "a", "target_kind": "b"})
    claims = [STIR, Hypothesis("directions", both, back)]
    told = reasons.with_caveats(judge(claims, rows), rows)
    assert list(told.accuracy) == ["the networks of its two sides differ in accuracy too: 78% and 40% to 42%", ""]


def test_inversion_and_measures():
    rows = table(a=0.2)
    said = why(STIR, rows, measures="6 of 6")
    assert "6 of 6 other measures of similarity lead to the same verdict. The measure is an unlikely cause." in said
    assert "unlikely cause" not in why(STIR, rows.assign(converged=0.8), measures="2 of 6")
    assert "in one of its means only 30% of the images X′ converged" in why(STIR, rows.assign(converged=0.3))
    (row,) = (each for _, each in judge([STIR], rows).assign(otherwise="not by the solver paper").iterrows())
    said = reasons.why(row, rows)
    assert "The inversion may matter. The verdict with other solvers: not so by the authors’ algorithm." in said
    said = " ".join(reasons.why(row.replace(row.otherwise, "unsettled (supported)"), rows))
    assert "more than the solver: “supported” by all solvers that converged, on the fewer images of the check." in said
    said = " ".join(reasons.why(row.replace(row.otherwise, "unchecked by the solver paper (8% converged)"), rows))
    assert "is open: the verdict could not be checked by the authors’ algorithm (8% converged)." in said
    said = why(STIR, rows, measures="6 of 6", networks_alone="supported")
    assert "without it the verdict is “supported”, and 6 of 6 other measures of similarity lead to the same." in said


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
