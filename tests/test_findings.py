"""What all findings do alike."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from stir import findings
from stir.verdict import Hypothesis, Quantity, described
from test_verdict import kinds_of, pairs

HYPOTHESES = [Hypothesis("CKA is above STIR", Quantity("CKA", "cka", {}), Quantity("STIR", "stir", {}))]
EFFECTS = {"a0": 0.0, "a1": 0.0, "b0": 0.0}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table():
    other = pairs(EFFECTS, stir=0.95, measure="rsa", width=math.nan)
    return described(pd.concat([pairs(EFFECTS), other]), kinds_of(EFFECTS))


def test_what_is_concluded_can_be_read_again(folder):
    judged = findings.conclude("zebra", "What?", HYPOTHESES, table())
    findings.conclude("loss", "Why?", HYPOTHESES, table())
    assert [path.name for path in findings.tables_in(folder)] == ["loss.csv", "loss-verdicts.csv", "zebra.csv", "zebra-verdicts.csv"]
    read = findings.read_verdicts(folder)
    assert list(read.finding) == ["loss", "zebra"]  # the book's own come first, in its order
    pd.testing.assert_frame_equal(read[read.finding == "zebra"].reset_index(drop=True), judged)


def test_another_measure_judges_from_the_tables_alone(folder):
    findings.conclude("loss", "Why?", HYPOTHESES, table())
    (first,) = findings.judge_again(folder, "linear-cka").to_dict("records")
    (other,) = findings.judge_again(folder, "rsa").to_dict("records")
    assert (first["verdict"], other["verdict"]) == ("supported", "contradicted")
    # The networks alone: these do not differ, so that nothing is left of the interval.
    assert first["difference_low"] == pytest.approx(first["difference_high"]) == pytest.approx(0.4)
    assert other["finding"] == "loss" and other["question"] == "Why?"


def test_a_measure_that_refused_a_pair_judges_nothing(folder):
    findings.conclude("loss", "Why?", HYPOTHESES, table().iloc[:-1])
    assert findings.judge_again(folder, "rsa").empty and findings.judge_again(folder, "svcca").empty


def test_no_tables(tmp_path):
    with pytest.raises(ValueError, match="holds no .*-verdicts.csv; run the findings first"):
        findings.read_verdicts(tmp_path)


def test_an_interrupted_write_leaves_the_old_table(folder, monkeypatch):
    findings.conclude("loss", "Why?", HYPOTHESES, table())
    before = Path("loss.csv").read_bytes()

    def fail(self, path, **_):
        Path(path).write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(KeyboardInterrupt):
        findings.conclude("loss", "Why?", HYPOTHESES, table())
    assert Path("loss.csv").read_bytes() == before and not list(folder.glob("*.partial"))


def linear(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layers": ["9"]}, "layer='9' does not exist"),
        ({"measures": ["cca"]}, "measure='cca' is unknown"),
        ({"measures": ["rsa", "rsa"]}, "holds one twice"),
        ({"steps": 0}, "steps=0 must be at least 1"),
        ({"seeds": "blue"}, "seeds='blue' is unknown"),
        ({"solver": "sgd"}, "solver='sgd' is unknown"),
    ],
)
def test_a_rehearsal_finds_mistakes(wrong, message):
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    arguments = {"layers": [None, "1"], "measures": ["rsa"], "seeds": "gaussian", "steps": 10_000_000, "progress": False, "device": "cpu"}
    findings.rehearse({"a": linear(0)}, images, **arguments)  # at once, whatever the steps to come
    with pytest.raises(ValueError, match=message):
        findings.rehearse({"a": linear(0)}, images, **{**arguments, **wrong})


def test_accuracies_are_means_over_a_kind():
    models, about = {}, {}
    for number, (kind, accuracy) in enumerate([("x", 0.8), ("x", 0.6), ("y", 0.5)]):
        name = f"{kind}{number}"
        models[name] = linear(number)
        models[name].card = {"accuracy": accuracy, "robust_accuracy": {"l2": accuracy / 2, "linf": 0.1}, "seconds": 4.0}
        about[name] = {"kind": kind}
    found = findings.accuracies(models, about)
    assert list(found.index) == ["x", "y"] and list(found.networks) == [2, 1]
    assert found.loc["x", "accuracy"] == pytest.approx(0.7) and found.loc["x", "under L2 attack"] == pytest.approx(0.35)
