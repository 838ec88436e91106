"""Verdicts on tables whose answer is known."""

import math

import pandas as pd
import pytest
from helpers.pair_tables import kinds_of, pairs

from stir.study.hypothesis import Hypothesis, Quantity
from stir.study.verdict import described, judge, pairs_where, shown

STIR, CKA = Quantity("STIR", "stir", {}), Quantity("CKA", "cka", {})
GAP = Hypothesis("CKA is above STIR", CKA, STIR)


def test_a_baseline_that_the_measure_refused_is_not_judged():
    table = pairs({"a": 0.0, "b": 0.0, "c": 0.0}).assign(pixels=math.nan)
    of_a, of_c = (Quantity(name, "stir", {"reference": name}) for name in "ac")
    judged = judge([Hypothesis("", of_a, of_c), Hypothesis("", of_a, of_c).beyond_pixels()], table)
    assert judged.verdict[1] == "not judged" != judged.verdict[0] and judged.p_value[1] == 1


def test_described_tells_both_sides_and_whether_they_agree():
    table = described(pairs({"a0": 0.0, "a1": 0.0, "b0": 0.0}), kinds_of({"a0": 0, "a1": 0, "b0": 0}))
    row = table[(table.reference == "a0") & (table.target == "b0")].iloc[0]
    assert (row.reference_kind, row.target_kind, row.same_kind, row.same_seed) == ("a", "b", False, True)
    assert len(pairs_where(table, {"reference_kind": ["a", "b"], "same_kind": True})) == 2


@pytest.mark.parametrize("standard", [{}, {"epsilon": None}], ids=["left out", "None"])
def test_networks_that_both_lack_an_attribute_are_alike_in_it(standard):
    """As standard networks have no radius of an attack."""
    effects = dict.fromkeys(["a0", "a1", "b0", "b1"], 0.0)
    about = {name: {"kind": name[0], **(standard if name[0] == "a" else {"epsilon": 1.0})} for name in effects}
    table = described(pairs(effects | {"c0": 0.0}), about)
    assert {*pairs_where(table, {"same_epsilon": True}).apply(lambda row: row.reference + row.target, axis=1)} == {
        "a0a1", "a1a0", "b0b1", "b1b0",
    }  # fmt: skip
    assert not table.same_epsilon[table.reference == "c0"].any()  # of which nothing was said


def test_a_judgement_says_it_all_and_can_be_made_again():
    table = pd.concat(
        [
            pairs({"a": 0.0, "b": 0.0, "c": 0.0}),
            pairs({"a": 0.0, "b": 0.0, "c": 0.0}, stir=0.95, measure="rsa", width=math.nan),
        ]
    )
    (row,) = judge([GAP], table).to_dict("records")
    assert (
        row["verdict"] == "supported"
        and row["measure"] == "linear-cka"
        and row["networks"] == 3
        and row["replicates"] == "networks"
        and row["images"] == 100
    )
    assert row["difference_value"] == pytest.approx(0.4)
    assert row["more_low"] < 0.9 < row["more_high"]
    chained = table.assign(reference_unit=table.reference, target_unit=table.target)
    assert judge([GAP], chained).replicates[0] == "chains"
    again = Hypothesis.from_json(row["definition"])
    assert again == GAP
    (other,) = judge([again], table, measure="rsa").to_dict("records")
    assert other["verdict"] == "contradicted"  # of rows without intervals, the networks alone count
    alone = judge([GAP], pairs({"a": 0.0, "b": 0.0}))
    assert (
        not alone.replicated[0]
        and alone.verdict[0] == "not supported"
        and "over images alone" in shown(alone).difference[0]
    )
    text = shown(judge([GAP], table)).iloc[0]
    assert text["is this"].startswith("CKA: 0.90 [0.") and text["verdict"] == "supported"


def test_conditions_may_hold_numpys_numbers():
    """As a column's `unique()` gives them."""
    effects = dict.fromkeys(["a0", "a1", "a2", "b0"], 0.0)
    table = described(pairs(effects), kinds_of(effects))
    kinds, seeds = table.target_kind.unique(), table.target_seed.unique()
    of_seed = Quantity("seed", "stir", {"reference_kind": kinds[0], "target_seed": seeds[0]}, {"target_seed": [*seeds]})
    (row,) = judge([Hypothesis("", of_seed, STIR)], table).to_dict("records")
    plain = Quantity("seed", "stir", {"reference_kind": "a", "target_seed": 0}, {"target_seed": [0, 1, 2]})
    assert Hypothesis.from_json(row["definition"]) == Hypothesis("", plain, STIR)
    assert row["definition"] == Hypothesis("", plain, STIR).to_json()
    with pytest.raises(TypeError, match=r"a condition holds \{0\}, which JSON cannot; use texts, numbers and lists"):
        Hypothesis("", Quantity("", "stir", {"target_seed": {0}}), STIR).to_json()


def test_what_did_not_converge_is_not_judged():
    table = described(
        pairs({"a0": 0.0, "a1": 0.0, "a2": 0.0, "b0": 0.0, "b1": 0.0, "b2": 0.0}),
        kinds_of(dict.fromkeys(["a0", "a1", "a2", "b0", "b1", "b2"])),
    )
    table["converged"] = table.reference_kind.map({"a": 0.9, "b": 0.4})
    a, b = ({"reference_kind": kind} for kind in "ab")
    gaps = [
        Hypothesis("", Quantity("", "cka", one), Quantity("", "stir", other)) for one, other in ((a, a), (b, a), (a, b))
    ]
    judged = judge(gaps, table)
    assert list(judged.verdict) == ["supported", "supported", "not judged"]  # plain similarity does not depend on X'
    assert (
        list(judged.converged) == pytest.approx([0.9, 0.9, 0.4]) and judged.p_value[2] == 1 and judged.p_value[0] < 0.05
    )
    strict = judge(gaps, table.assign(converged_needed=table.reference_kind.map({"a": 0.95, "b": 0.3})))
    assert list(strict.verdict) == ["not judged", "not judged", "supported"]
    mixed = judge([Hypothesis("", Quantity("", "stir", a, minus=b), Quantity("", "stir", a, minus=a))], table)
    assert mixed.verdict[0] == "not judged"
