"""What all findings do alike."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from stir import findings
from stir.verdict import Hypothesis, Quantity, described, judge, shown, word
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


def by_solver(**stir):
    """The same pairs with other solvers: what each makes of STIR."""
    rows = [described(pairs(EFFECTS, stir=value), kinds_of(EFFECTS)).assign(solver=name) for name, value in stir.items()]
    return pd.concat(rows, ignore_index=True)


def conclude(finding="loss", question="Why?", rows=None, dataset="digits", **stir):
    again = by_solver(**{"adam": 0.5} | stir)
    return findings.conclude(finding, question, HYPOTHESES, table() if rows is None else rows, again, dataset=dataset)


def test_what_is_concluded_can_be_read_again(folder):
    judged = conclude("zebra", "What?", dataset="stripes", paper=0.95)
    conclude()
    assert [path.name for path in findings.tables_in(folder)] == [f"{name}{end}.csv" for name in ("loss", "zebra") for end in ("", "-solvers", "-verdicts")]
    read = findings.read_verdicts(folder)
    assert list(read.finding) == ["loss", "zebra"]  # the book's own come first, in its order
    pd.testing.assert_frame_equal(read[read.finding == "zebra"].reset_index(drop=True), judged)


def test_another_measure_judges_from_the_tables_alone(folder):
    conclude()
    again = findings.judge_again(folder, "measure")
    assert dict(zip(again.measure, again.verdict, strict=True)) == {"linear-cka": "supported", "rsa": "contradicted"}
    # The networks alone: these do not differ, so that nothing is left of the interval.
    first, other = again.to_dict("records")
    assert first["difference_low"] == pytest.approx(first["difference_high"]) == pytest.approx(0.4)
    assert other["finding"] == "loss" and other["question"] == "Why?"


def test_a_measure_that_refused_a_pair_judges_nothing(folder):
    conclude(rows=table().iloc[:-1])
    assert list(findings.judge_again(folder, "measure").measure) == ["linear-cka"]


def test_another_solver_judges_from_the_tables_alone(folder):
    conclude(paper=0.95, nearest=0.4)
    again = findings.judge_again(folder, "solver")
    assert dict(zip(again.solver, again.verdict, strict=True)) == {"adam": "supported", "paper": "contradicted", "nearest": "supported"}
    assert set(again.dataset) == {"digits"}


@pytest.mark.parametrize(
    ("stir", "words"),
    [
        ({"nearest": 0.5, "paper": 0.7}, "supported"),
        ({"paper": 0.95}, "supported, but contradicted by the solver paper"),
        ({"nearest": 0.9, "paper": 0.9}, "supported, but not by the solvers nearest and paper"),
        ({"nearest": 0.95, "paper": 0.9}, "supported, but contradicted by the solver nearest, not by the solver paper"),
        # So few images may lead to another word, whatever the solver.
        ({"adam": 0.9, "paper": 0.9}, "supported"),
        ({"adam": 0.9, "paper": 0.5}, "supported"),
    ],
)
def test_where_solvers_disagree_the_word_says_so(folder, stir, words):
    (row,) = conclude(**stir).iloc
    assert word(row) == words and shown(pd.DataFrame([row])).verdict[0] == words
    assert word(findings.read_verdicts(folder).iloc[0]) == words


def test_a_solver_that_hardly_converged_is_named_with_its_share(folder):
    judged = judge(HYPOTHESES, table())
    for share, words in ((0.95, "not by the solver paper"), (0.62, "not by the solver paper (62% converged)"), (0.3, "")):
        again = [judge(HYPOTHESES, by_solver(x=stir).assign(converged=share)).assign(solver=name) for name, stir in {"adam": 0.5, "paper": 0.9}.items()]
        if share < 0.5:
            again[0] = again[0].assign(verdict="supported")
        assert findings.disagreement(judged, pd.concat(again)) == [words]


def test_the_page_s_solver_and_others_measure_the_same(digits):
    asked = []

    def measured(images, **options):
        asked.append((len(images), options))
        return pairs(EFFECTS)

    measurement = {"layers": ["stage1"], "measure": "rsa", "also": ["mean-cca"], "draws": 1, "steps": 7, "solver": "nearest"}
    made = findings.by_solvers(measured, digits.test.images[:6], measurement, ["nearest", "paper"])
    assert list(made.solver.unique()) == ["nearest", "paper"] and len(made) == 2 * len(pairs(EFFECTS))
    own = measurement | {"also": []}
    assert asked == [(6, own), (6, own | {"solver": "paper", "steps": None})]
    findings.by_solvers(measured, digits.test.images[:6], measurement, ["paper"], steps=2)
    assert asked[-1] == (6, own | {"solver": "paper", "steps": 2})


def test_no_tables(tmp_path):
    with pytest.raises(ValueError, match="holds no .*-verdicts.csv; run the findings first"):
        findings.read_verdicts(tmp_path)


def test_an_interrupted_write_leaves_the_old_table(folder, monkeypatch):
    conclude()
    before = Path("loss.csv").read_bytes()

    def fail(self, path, **_):
        Path(path).write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(KeyboardInterrupt):
        conclude()
    assert Path("loss.csv").read_bytes() == before and not list(folder.glob("*.partial"))


def linear(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10))


def notebook(**changed):
    """What a running notebook holds: its parameters and more."""
    given = dict(width=4, epochs=1, epsilon=0.5, layer="stage1", seed_images="blue-noise", steps=10_000_000, measures=["rsa", "mean-cca"], n_images=5, progress=False)
    given |= changed
    return {"__annotations__": {name: type(value) for name, value in given.items()}, "epsilons": 3, "tolerance": 5} | given


def test_settings_are_the_declared_parameters():
    recipe, inversion, measurement = findings.settings(notebook())
    assert recipe == dict(width=4, epochs=1, epsilon=0.5, progress=False)
    assert inversion == dict(seeds="blue-noise", steps=10_000_000, progress=False)
    assert measurement == inversion | dict(layers=["stage1"], measure="rsa", also=["mean-cca"], draws=1)
    measurement = findings.settings(notebook(layers=["stage1", "stage2"], draws=3))[2]
    assert measurement["layers"] == ["stage1", "stage2"] and measurement["draws"] == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"solvers": ["paper", "sgd"]}, "'sgd' is unknown; use some of .*nearest, paper"),
        ({"solver_images": 4}, "solver_images=4 must lie between 5 and n_images=5"),
        ({"solver_images": 6}, "solver_images=6 must lie"),
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


@pytest.mark.parametrize("seeds", [[0], [], [1, 1, 2]])
def test_seeds_must_be_enough_and_different(seeds):
    findings.check_seeds([4, 2])
    with pytest.raises(ValueError, match="must be at least 2 seeds, none twice"):
        findings.check_seeds(seeds)
    with pytest.raises(ValueError, match="at least 3"):
        findings.check_seeds([0, 1], at_least=3)


@pytest.mark.parametrize("losses", [[], ["standard"], ["trades", "standard"], ["standard", "standard"], ["standard", "trades", "mart"]])
def test_one_standard_loss_and_one_robust(losses):
    findings.check_losses(["standard", "trades"])
    with pytest.raises(ValueError, match="must be 'standard' and then 1 robust loss"):
        findings.check_losses(losses)


@pytest.mark.parametrize("losses", [["standard", "trades"], ["standard", "trades", "trades"], ["mart", "trades", "mart-l2"]])
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
        ({"draws": 0}, "draws=0 must be at least 1"),
        ({"steps": 0}, "steps=0 must be a whole number, at least 1"),
        ({"seeds": "blue"}, "seeds='blue' is unknown"),
        ({"solver": "sgd"}, "solver='sgd' is unknown"),
    ],
)
def test_a_rehearsal_finds_mistakes_before_training(wrong, message, digits, monkeypatch):
    # At once, whatever the steps to come.
    measurement = {"layers": [None, "stage1"], "measure": "rsa", "also": [], "draws": 1, "seeds": "gaussian", "steps": 10_000_000, "device": "cpu", "progress": False}
    trained = []
    monkeypatch.setattr(findings, "trained_models", lambda networks, **recipe: trained.append((networks, recipe)) or {})
    networks, recipe = {"a": {"seed": 0}}, TRAINING | {"dataset": digits}
    with pytest.raises(ValueError, match=message):
        findings.train(networks, recipe, digits.test.images[:6], measurement | wrong)
    assert not trained
    findings.train(networks, recipe, digits.test.images[:6], measurement)
    assert trained == [(networks, recipe | {"device": "cpu"})]


def test_the_table_tells_how_accurate_both_networks_are():
    models = {name: linear(number) for number, name in enumerate(EFFECTS)}
    for number, model in enumerate(models.values()):
        model.card = {"accuracy": 0.9, "robust_accuracy": {"l2": 0.1 * number, "linf": 0.0}}
    made = findings.described([pairs(EFFECTS), pairs(EFFECTS)], kinds_of(EFFECTS), models)
    assert len(made) == 2 * len(pairs(EFFECTS)) and list(made.index) == list(range(len(made)))
    assert (made.reference_accuracy == 0.9).all() and made[made.target == "b0"].target_robust_l2.tolist() == pytest.approx([0.2] * 6)
    assert "reference_kind" in made


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
