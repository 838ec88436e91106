"""Verdicts of several scales stand side by side, each where it belongs."""

import re

import pandas as pd
import pytest
from helpers.pair_tables import kinds_of, pairs

from stir.study import scales
from stir.study.conclusions import conclude
from stir.study.hypothesis import Hypothesis, Quantity
from stir.study.multiplicity import after_holm
from stir.study.verdict import described


def verdicts(finding, **words):
    """A finding's table of verdicts; claim -> its word."""
    rows = [
        {
            "finding": finding, "question": f"{finding}?", "dataset": "one, 20 images", "claim": claim, "verdict": word,
            "difference_value": 0.25, "difference_low": 0.125, "difference_high": 0.5, "p_value": 0.04,
            "otherwise": "", "networks": 6, "images": 20,
        }
        for claim, word in words.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def folders(tmp_path):
    tables = {
        "one": [
            verdicts("loss", a="supported", b="not supported", c="supported"),
            verdicts("initialization", d="not judged"),
        ],
        "two": [
            verdicts("loss", a="supported", b="supported", c="contradicted", e="supported"),
            verdicts("initialization", d="supported"),
        ],
    }
    for name, each in tables.items():
        (tmp_path / name).mkdir()
        for table in each:
            table.to_csv(tmp_path / name / f"{table.finding.iloc[0]}-verdicts.csv", index=False)
    return {name: tmp_path / name for name in tables}


def test_findings_are_in_the_order_of_the_book_and_corrected_by_scale(folders):
    judged = scales.at_scales(folders)
    assert list(judged.finding) == 2 * ["initialization"] + 7 * ["loss"]
    assert list(judged.scale) == ["one", "two"] + 3 * ["one"] + 4 * ["two"]
    for _, rows in judged.groupby("scale"):
        assert list(rows.after_holm) == list(after_holm(rows))
    assert "not supported" in set(judged[judged.verdict == "supported"].after_holm)


def test_agreement_is_of_what_both_judged(folders):
    both = scales.disagreements(scales.at_scales(folders))
    assert list(both.columns) == ["finding", "claim", "one", "two", "agreement"]
    known = {claim: tuple(rest) for claim, *rest in both[["claim", "one", "two", "agreement"]].itertuples(index=False)}
    assert known == {
        "d": ("not judged", "supported", ""),
        "a": ("supported", "supported", "same"),
        "b": ("not supported", "supported", "differs"),
        "c": ("supported", "contradicted", "opposite"),
        "e": ("", "supported", ""),
    }
    text = scales.agreement_summary(both)
    assert "at both scales: 3. The verdicts agree on 1 and differ on 2, with opposite verdicts on 1 of these" in text
    assert re.findall(r"^- (\w):", text, re.MULTILINE) == ["b", "c"]
    assert scales.in_words(both[both.claim == "e"].iloc[0]) == "e: supported with two"


def test_one_scale_agrees_with_nothing(folders):
    both = scales.disagreements(scales.at_scales({"one": folders["one"]}))
    assert set(both.agreement) == {""}
    assert scales.agreement_summary(both) == "No hypothesis was judged at more than one scale."


def test_counts_are_of_verdicts(folders):
    judged = scales.at_scales(folders)
    counted = scales.counts(judged[judged.scale == "two"])
    assert counted["n_hypotheses"] == 5 and counted["n_findings"] == 2
    assert (counted["supported"], counted["not_supported"], counted["contradicted"], counted["not_judged"]) == (
        4,
        0,
        1,
        0,
    )
    assert counted["n_decided"] == 5 and counted["n_after_holm"] == 0  # five p-values of 0.04


def test_scales_of_one_data_set_are_called_by_their_folders(folders):
    assert list(scales.labelled([*folders.values()])) == ["one, one", "one, two"]
    assert list(scales.labelled([folders["two"]])) == ["one"]
    other = folders["one"].with_name("three")
    other.mkdir()
    verdicts("loss", a="supported").assign(dataset="digits").to_csv(other / "loss-verdicts.csv", index=False)
    assert list(scales.labelled([*folders.values(), other])) == ["one, one", "one, two", "digits"]
    with pytest.raises(ValueError, match="is named twice"):
        scales.labelled(2 * [folders["one"]])


def test_failures_are_counted_by_what_may_be_at_fault(folders, monkeypatch):
    def again(folder, by):
        assert by == "measure"
        words = {"a": "supported", "b": "not supported", "c": "contradicted", "e": "supported"}
        rows = [
            dict(finding="loss", claim=claim, measure=name, verdict=word)
            for claim, word in words.items()
            for name in ("linear-cka", "rsa", "svcca")
        ]
        rows[-7]["verdict"] = "supported"  # b by svcca
        return pd.DataFrame(
            [*rows, dict(finding="initialization", claim="d", measure="linear-cka", verdict="supported")]
        )

    monkeypatch.setattr(scales, "judge_again", again)
    judged = scales.at_scales(folders).assign(converged=0.95)
    told = scales.checked_by_measures(judged, folders)
    known = {(row.claim, row.scale): row.measures for row in told.itertuples()}
    assert list(told.index) == list(judged.index)
    assert known["a", "one"] == "2 of 2" and known["b", "one"] == "1 of 2" and known["d", "one"] == ""
    assert known["c", "one"] == known["c", "two"] == "2 of 2"  # of the verdict over networks alone
    alone = {(row.claim, row.scale): row.networks_alone for row in told.itertuples() if row.networks_alone}
    assert alone == {("c", "one"): "contradicted", ("b", "two"): "not supported", ("d", "one"): "supported"}
    told["most_possible"] = told.claim.map({"b": -0.1, "a": -0.1, "c": 0.1})
    text = scales.failure_summary(told)  # b at one, by one measure, and c at two
    assert "1 could not have been supported" in text  # b; a was
    assert (
        "at all scales: 2. For 2, nearly all" in text and "For 1, all other measures" in text and "For 1, both" in text
    )
    told.loc[told.claim == "c", "otherwise"] = "not by the solver paper"
    assert "For 1, nearly all" in scales.failure_summary(told) and "For 0, both" in scales.failure_summary(told)


def test_what_failed_beyond_the_pixels_is_told_with_its_room(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    effects = {f"{kind}{number}": 0.01 * number for kind in "ab" for number in range(3)}
    rows = described(pairs(effects), kinds_of(effects))
    in_a = rows.reference_kind == "a"
    rows = rows.assign(stir=rows.stir.where(in_a, 0.3), pixels=in_a.map({True: 0.9, False: 0.3}))
    rows = pd.concat([rows, rows.assign(measure="rsa", pixels=0.0)])  # the page's own measure comes first
    more, less = (Quantity(name, "stir", {"reference_kind": name, "target_kind": name}) for name in "ab")
    claim = Hypothesis("a above b", more, less)
    own = rows[rows.measure == "linear-cka"]
    conclude("loss", "Why?", [claim, claim.beyond_pixels()], own, own.assign(solver="x"), dataset="digits")
    rows.to_csv("loss.csv", index=False)
    folders = {"one": tmp_path}
    told = scales.with_caveats(scales.at_scales(folders), folders)
    # b has 0.3, and exceeds the pixels by nothing.
    assert list(told.room) == ["", "the pixels leave room for 0.10 (a) and 0.70 (b)"]
