"""Verdicts of several solvers are counted against the first one's."""

import math

import pandas as pd
import pytest

from stir.study import agreement

WORDS = {
    "tethered": ["supported", "supported", "not supported", "contradicted"],
    "nearest": ["supported", "contradicted", "not supported", "contradicted"],
    "paper": ["supported", "supported", "contradicted", math.nan],
}


@pytest.fixture
def verdicts():
    rows = [
        {"finding": "loss", "claim": claim, "solver": solver, "verdict": word}
        for solver, words in WORDS.items()
        for claim, word in zip("zyxw", words, strict=True)
    ]
    return agreement.verdicts_by(pd.DataFrame(rows).dropna(), "solver")


def test_hypotheses_and_solvers_keep_their_order(verdicts):
    assert list(verdicts) == list(WORDS) and list(verdicts.index) == [f"loss: {claim}" for claim in "zyxw"]
    assert list(agreement.changed(verdicts).index) == ["loss: y", "loss: x"]


def test_the_same_and_the_opposite_are_counted(verdicts):
    counts = agreement.agreement(verdicts, {"tethered": "the default", "paper": "the paper's"})
    assert list(counts) == ["verdicts", "the same as by the default", "the opposite"]
    assert counts.T.to_dict("list") == {"nearest": [4, 3, 1], "the paper's": [3, 2, 0]}


def test_one_alone_agrees_with_nothing(verdicts):
    counts = agreement.agreement(verdicts[["tethered"]])
    assert counts.empty and len(counts.columns) == 3 and list((counts.iloc[:, 1] / counts.verdicts).index) == []
    assert "changes the verdict on 0 of 4" in agreement.answer(verdicts[["tethered"]], "solver")


def test_the_answer_counts_hypotheses(verdicts):
    answer = agreement.answer(verdicts, "solver", ["Of a few images."])
    assert "Another solver changes the verdict on 2 of 4 hypotheses, and reverses it on 1." in answer
    assert "Of a few images." in answer
    assert "reverses it on none." in agreement.answer(verdicts[["tethered", "paper"]], "solver")
    parted = pd.DataFrame({"tethered": ["not supported"], "nearest": ["supported"], "paper": ["contradicted"]})
    assert "changes the verdict on 1 of 1 hypotheses, and reverses it on none." in agreement.answer(parted, "solver")
