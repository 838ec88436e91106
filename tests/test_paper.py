"""What is said of the paper is on its page, and what is said of the measurements follows from their table."""

import json

import pandas as pd
import pytest
from helpers.project import PROJECT

from stir.study import paper
from stir.study.conclusions import ORDER


@pytest.fixture
def judged():
    rows = [
        {"finding": "loss", "claim": f"{claim}", "verdict": "supported", "dataset": "digits, 20 images", "images": 20}
        | {"difference_value": 0.2, "difference_low": 0.1, "difference_high": 0.3}
        for claim in ("Networks of different robust losses share more", "More than the reverse", "<b>")
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def table():
    recipe = {"architecture": "resnet10", "width": 8, "epochs": 3, "learning_rate": 0.1, "weight_decay": 0.001}
    recipe |= {"batch_size": 64, "loss": ["adversarial-l2", "standard"], "epsilon": 0.5, "attack_steps": 2}
    return pd.DataFrame({"recipe": [json.dumps(recipe)], "solver": "paper", "steps": 7, "reference_size": 100})


def test_the_claims_are_those_of_the_page_on_the_paper():
    page = (PROJECT / "book" / "paper.md").read_text()
    words = " ".join(page.split()).lower()
    assert set(paper.CLAIMS) < set(ORDER)
    for claim in (claim for claims in paper.CLAIMS.values() for claim in claims):
        assert claim.says.lower() in words, claim.says


def test_a_claim_has_the_hypotheses_that_test_it(judged, table):
    source = paper.beside(judged, table)
    first, second = source.split("<tr><td>")[1:]
    assert "Robust losses share" in first and "different robust losses" in first and "the reverse" not in first
    assert "The two directions differ" in second and "More than the reverse: 0.20 [0.10, 0.30]" in second
    assert "<b>" not in source
    assert "claims nothing of the kind" in paper.beside(judged.assign(finding="controversial"), table)


def test_differences_are_those_of_this_run(judged, table):
    said = dict(paper.differences(judged, table))
    assert said["Images"].endswith("here on 20 test images of digits")
    assert "here resnet10 of 8" in said["Networks"] and "here 3 epochs" in said["Training"]
    assert "adversarial-l2, standard with radius 0.5, steps: 2" in said["Robust training"]
    assert "solver paper makes 7 steps" in said["Inversion"] and "Updates" not in said and "Data sets" not in said
    assert "hold 100 images" in dict(paper.differences(judged.assign(finding="updates"), table))["Updates"]
    assert "Data sets" in dict(paper.differences(judged.assign(finding="dataset"), table))
