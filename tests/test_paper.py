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
    inversion = {"solver": "paper", "steps": 7, "seeds": "white"}
    return pd.DataFrame({"recipe": [json.dumps(recipe)], "reference_size": 100} | inversion)


def test_the_claims_are_those_of_the_page_on_the_paper():
    assert "<!-- claims -->" in (PROJECT / "book" / "paper.md").read_text()
    assert set(paper.CLAIMS) < set(ORDER)


def test_a_claim_has_the_hypotheses_that_test_it(judged, table):
    source = paper.beside(judged, table)
    first, second = source.split("<tr><td>")[1:]
    assert "Robust losses share" in first and "different robust losses" in first and "the reverse" not in first
    assert "The two directions differ" in second
    assert "More than the reverse: 0.20 [0.10,\N{NO-BREAK SPACE}0.30]" in second
    assert "<b>" not in source and "the other way" not in source
    other = paper.beside(judged.assign(verdict="contradicted"), table)
    assert (
        other.count("; so they differ, the other way</li>")
        == 1
        == other.partition("two directions")[2].count("other way")
    )
    none = paper.beside(judged.assign(finding="controversial"), table)
    assert "makes no such claim" in none and "differences" not in none and "<li>" not in none


def test_differences_are_those_of_this_run(judged, table):
    said = dict(paper.differences(judged, table))
    assert said["Images"].endswith("here on 20 test images of digits")
    assert "here resnet10 of 8 channels" in said["Networks"] and "here 3 epochs" in said["Training"]
    assert "here adversarial (L2); radius: 0.5; steps of attack: 2" in said["Robust training"]
    linf = table.assign(recipe=table.recipe.str.replace('"epsilon": 0.5', '"epsilon": [1.0, 0.03137]'))
    assert "radius: 1.0, 8/255; steps" in dict(paper.differences(judged, linf))["Robust training"]
    assert (
        "here the authors’ algorithm makes 7 steps" in said["Inversion"]
        and "Updates" not in said
        and "Data sets" not in said
    )
    assert "hold 100 images" in dict(paper.differences(judged.assign(finding="updates"), table))["Updates"]
    assert "Data sets" in dict(paper.differences(judged.assign(finding="dataset"), table))


def test_a_claim_of_others_is_compared_with_their_set_up(judged, table):
    source = paper.beside(judged.assign(finding="robustness", claim="The largest radius shares more"), table)
    assert source.count("<strong>Jones et al. (2022), about another measure</strong>") == 1
    said = dict(paper.differences(judged.assign(finding="robustness"), table))
    assert "Training" not in said and "Error bars" not in said and "Theirs" not in source
    assert said["Networks"].endswith("here all are resnet10 of 8 channels") and "“white”" in said["Seed images"]
    assert "2,000 steps of size 1/8" in said["Inversion"] and "here the authors’ algorithm makes 7" in said["Inversion"]


def test_hypotheses_that_the_paper_does_not_have_are_our_own(judged, table):
    claims = ["Networks trained on the same data share more", "On images of the other data set the same share less"]
    rows = judged.iloc[:2].assign(finding="dataset", claim=claims)
    asked, _, own = paper.beside(rows, table).split("<tr><td>")[1:]
    assert "<strong>The paper</strong>" in asked and claims[0] in asked and claims[1] not in asked
    assert "<strong>Our own</strong>" in own and claims[1] in own and claims[0] not in own
    assert all(claim.source.startswith("Our own") for claim in paper.CLAIMS["updates"])


def test_claims_have_verdicts_at_each_scale(judged):
    one = judged.assign(scale="one", networks=6)
    two = one.iloc[:1].assign(scale="two", verdict="contradicted", images=40)
    source = paper.on_claims(pd.concat([one, two]))
    assert "The paper: Robust losses share" in source and "(one: 20 images; two: 40 images)" in source
    assert source.count("contradicted:") == 1 and source.count("supported:") == 2  # titles of cells
    assert "Networks of different robust losses share more</td>" in source and "<b>" not in source


def test_the_set_up_is_told_finding_by_finding(judged, table):
    recipe = json.loads(table.recipe[0])
    first = judged.iloc[:1].assign(recipe=json.dumps(recipe))
    other = first.assign(finding="dataset", dataset="a and b", images=7, recipe=json.dumps(recipe | {"epochs": 5}))
    told = paper.set_up(pd.concat([first, other]), {"loss": 3, "dataset": 3})
    assert told["images"].startswith("Test images of ") and told["images"].endswith(": 20 (loss); 7 (dataset)")
    assert told["networks"] == "Architectures: resnet10. Channels of the first stage: 8" and told["replicas"] == "3"
    assert told["training"].startswith("Epochs: 3 (loss); 5 (dataset). Images a step: 64.")
    assert told["robust training"] == "Losses: adversarial (L2). Radii: 0.5. Steps of the attack: 2"
    assert told["data sets"] == "a and b"
    none = first.assign(recipe=json.dumps(recipe | {"loss": "standard"}))
    assert paper.set_up(none, {"loss": 3})["robust training"].startswith("Losses: none.")
    assert paper.set_up(first, {"loss": 3})["data sets"] == "not measured"
