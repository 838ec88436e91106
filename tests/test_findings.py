"""Steps that all findings share."""

import pytest
import torch
from helpers.pair_tables import kinds_of, pairs

from stir.study import findings
from stir.training.trained import TrainedModels

EFFECTS = {"a0": 0.0, "a1": 0.0, "b0": 0.0}


def notebook(**changed):
    """Names in a running notebook: its parameters and more."""
    parameters = dict(
        width=4,
        epochs=1,
        epsilon=0.5,
        layer="stage1",
        seed_images="blue-noise",
        steps=10_000_000,
        measures=["rsa", "mean-cca"],
        n_images=5,
        progress=False,
    )
    parameters |= changed
    annotations = {name: type(value) for name, value in parameters.items()}
    return {"__annotations__": annotations, "epsilons": 3, "tolerance": 5} | parameters


def test_settings_are_the_declared_parameters():
    recipe, inversion, measurement = findings.settings(notebook())
    assert recipe == dict(width=4, epochs=1, epsilon=0.5, progress=False)
    assert inversion == dict(seeds="blue-noise", steps=10_000_000, progress=False)
    assert measurement == inversion | dict(layers=["stage1"], measure="rsa", also=["mean-cca"], draws=1)
    measurement = findings.settings(notebook(layers=["stage1", "stage2"], draws=3))[2]
    assert measurement["layers"] == ["stage1", "stage2"] and measurement["draws"] == 3
    assert "given_layer" not in findings.settings(notebook(given_layer=""))[2]
    assert findings.settings(notebook(given_layer="stage2"))[2]["given_layer"] == "stage2"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"solvers": ["paper", "sgd"]}, "'sgd' is unknown; use some of .*nearest, paper"),
        ({"solver_images": 4}, "solver_images=4 must be at least 5"),
        ({"solver_steps": -1}, "solver_steps=-1 must be at least 1, or 0"),
    ],
)
def test_mistakes_about_other_solvers_show_at_once(wrong, message):
    findings.settings(notebook(solvers=["paper"], solver_images=5, solver_steps=0))
    with pytest.raises(ValueError, match=message):
        findings.settings(notebook(**wrong))


@pytest.mark.parametrize("wrong", [{"measures": []}, {"layers": []}])
def test_settings_need_something_to_measure(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=\\[\\] must hold at least one"):
        findings.settings(notebook(**wrong))


def test_data_sets_are_called_by_what_tells_them_apart():
    assert findings.labels(["digits", "digits"], ["0-4", "5-9"]) == ["digits 0-4", "digits 5-9"]
    assert findings.labels(["digits", "digits"], ["0, 2, 4", "1, 3"]) == ["digits 0, 2, 4", "digits 1, 3"]
    assert findings.labels(["folder:/data/cats/", "folder:dogs"], ["", "0-4"]) == ["cats", "dogs 0-4"]


@pytest.mark.parametrize("seeds", [[0], [], [1, 1, 2]])
def test_seeds_must_be_enough_and_different(seeds):
    findings.check_training_seeds([4, 2])
    with pytest.raises(ValueError, match="must be at least 2 seeds, none twice"):
        findings.check_training_seeds(seeds)
    with pytest.raises(ValueError, match="at least 3"):
        findings.check_training_seeds([0, 1], at_least=3)


@pytest.mark.parametrize(
    "losses", [[], ["standard"], ["trades", "standard"], ["standard", "standard"], ["standard", "trades", "mart"]]
)
def test_one_standard_loss_and_one_robust(losses):
    findings.check_losses(["standard", "trades"])
    with pytest.raises(ValueError, match="must be 'standard' and then 1 robust loss"):
        findings.check_losses(losses)


@pytest.mark.parametrize(
    "losses", [["standard", "trades"], ["standard", "trades", "trades"], ["mart", "trades", "mart-l2"]]
)
def test_one_standard_loss_and_several_robust(losses):
    findings.check_losses(["standard", "trades", "mart"], robust=None)
    with pytest.raises(ValueError, match="two robust losses or more"):
        findings.check_losses(losses, robust=None)


TRAINING = {"architecture": "vgg11", "width": 2, "epochs": 1, "progress": False}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layers": ["9"]}, "layer='9' does not exist"),
        ({"measure": "cca"}, "measure='cca' is unknown"),
        ({"also": ["rsa"]}, "must hold no measure twice"),
        ({"draws": 0}, "draws=0 must be a whole number, at least 1"),
        ({"steps": 0}, "steps=0 must be a whole number, at least 1"),
        ({"seeds": "blue"}, "seeds='blue' is unknown"),
        ({"solver": "sgd"}, "solver='sgd' is unknown"),
    ],
)
def test_a_rehearsal_finds_mistakes_before_training(wrong, message, digits, monkeypatch):
    # At once, whatever the steps to come.
    measurement = {
        "layers": [None, "stage1"],
        "measure": "rsa",
        "also": [],
        "draws": 1,
        "seeds": "gaussian",
        "steps": 10_000_000,
        "device": "cpu",
        "progress": False,
    }
    trained = []

    def train(networks, **recipe):
        trained.append((networks, recipe))
        return TrainedModels({}, torch.device("cpu"), False, {})

    monkeypatch.setattr(findings, "trained_models", train)
    networks, recipe = {"a": {"seed": 20261126}}, TRAINING | {"dataset": digits}
    with pytest.raises(ValueError, match=message):
        findings.rehearse_and_train(networks, recipe, digits.test.images[:6], measurement | wrong)
    assert not trained
    findings.rehearse_and_train(networks, recipe, digits.test.images[:6], measurement)
    assert trained == [(networks, recipe | {"device": "cpu"})]


def test_the_table_tells_how_accurate_both_networks_are():
    cards = {name: {"accuracy": 0.9, "robust_accuracy": {"linf": 0.0}} for name in EFFECTS}
    for number, card in enumerate(cards.values()):
        card["robust_accuracy"]["l2"] = 0.1 * number
        card["made_by"] = {"width": 8, "loss": "standard", "epsilon": [None, 1.0, 0.5][number], "seed": number}
    table = findings.pair_table([pairs(EFFECTS), pairs(EFFECTS)], kinds_of(EFFECTS), cards)
    assert len(table) == 2 * len(pairs(EFFECTS)) and list(table.index) == list(range(len(table)))
    assert (table.reference_accuracy == 0.9).all()
    assert table[table.target == "b0"].target_robust_l2.tolist() == pytest.approx([0.2] * 6)
    assert "reference_kind" in table
    assert set(table.recipe) == {'{"epsilon": [0.5, 1.0], "loss": "standard", "width": 8}'}


def test_accuracies_are_means_over_a_kind():
    cards, about = {}, {}
    for number, (kind, accuracy) in enumerate([("x", 0.8), ("x", 0.6), ("y", 0.5)]):
        name = f"{kind}{number}"
        cards[name] = {"accuracy": accuracy, "robust_accuracy": {"l2": accuracy / 2, "linf": 0.1}, "seconds": 4.0}
        about[name] = {"kind": kind}
    table = findings.accuracies(cards, about)
    html = findings.format_accuracies(table.rename(index={"x": "<b>x"})).to_html()
    assert "&lt;b&gt;x" in html and "<b>x" not in html
    assert list(table.index) == ["x", "y"] and list(table.networks) == [2, 1]
    assert table.loc["x", "accuracy"] == pytest.approx(0.7) and table.loc["x", "under L2 attack"] == pytest.approx(0.35)
