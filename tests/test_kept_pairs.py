"""Pairs that were measured once are found again, and only they."""

import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.networks import TINY, lively, same
from helpers.processes import ENVIRONMENT, python
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from safetensors.torch import save_file

from stir.data.balls import Ball
from stir.data.deferred import fingerprint
from stir.files import card_digest, digest, write_card
from stir.inversion.solvers import SOLVERS
from stir.kept import FOLDER, MEASURING_VERSION, Record, read_card
from stir.networks.architectures import build_model
from stir.scoring import evaluation, kept_pairs, schedule
from stir.scoring.kept_pairs import rows_of
from stir.scoring.score import pairwise
from stir.similarity import MEASURES
from stir.training.trained import TrainedModels, trained_models

pytestmark = pytest.mark.filterwarnings("ignore")  # three steps converge to nothing
QUICK = dict(steps=3, device="cpu", progress=False, also=["rsa"])
NETWORKS = {"a": {"seed": 0}, "b": {"seed": 1}, "c": {"seed": 0, "loss": "adversarial-l2"}}


@pytest.fixture(scope="module")
def made(small, tmp_path_factory) -> Path:
    """A store with the networks, and with what `measured` measures of them; each test has copies of it."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STIR_STORE", str(folder))
        measured(trained_models(NETWORKS, architecture="resnet10", dataset=small, **TINY), small)
    return folder


@pytest.fixture
def models(made, small, own_store) -> TrainedModels:
    """The networks, in a store of this test's own, of which nothing is measured."""
    shutil.copytree(made / "models", own_store)
    return trained_models(NETWORKS, architecture="resnet10", dataset=small, **TINY)


@pytest.fixture
def known(made, models, own_store) -> TrainedModels:
    """Networks of which that is known which `measured` measures."""
    shutil.copytree(made / FOLDER, own_store.parent / FOLDER)
    return models


@pytest.fixture
def drawn(monkeypatch) -> list:
    """The references that are inverted, from now on."""
    names = []

    def draw(question, network, target=None, pair=("reference", "target")):
        names.append(pair if question.worst_case else pair[0])
        return original(question, network, target, pair)

    original = schedule.draw
    monkeypatch.setattr(schedule, "draw", draw)
    return names


def measured(models, small, **changed) -> pd.DataFrame:
    return pairwise(models, changed.pop("images", small.test.images[:8]), **QUICK | changed)


def test_the_second_time_nothing_is_measured_and_the_table_is_the_same(models, small, drawn):
    plain = measured({name: models[name] for name in models}, small)  # in one go, and not kept
    assert drawn == ["a", "b", "c"]
    first = measured(models, small)
    assert drawn == 2 * ["a", "b", "c"]
    assert_frame_equal(first, plain, check_exact=True)
    assert_frame_equal(measured(models, small), first, check_exact=True)
    assert len(drawn) == 6


def test_a_reader_is_warned_of_the_same_whether_it_is_measured_or_found(models, small, drawn):
    told = []
    for _ in range(2):
        with pytest.warns(UserWarning, match="^mean-cca is left out for 9 of 9 pairs: .* pass at least 2") as warned:
            table = measured(models, small, also=["rsa", "mean-cca"])
        assert [*table.measure.unique()] == ["linear-cka", "rsa"]
        told.append([str(each.message) for each in warned])
    assert len(drawn) == 3 and told[0] == told[1]


def test_how_long_each_stage_took_is_kept(models, small, own_store):
    start = time.perf_counter()
    measured(models, small)
    passed = time.perf_counter() - start
    cards = [read_card(path) for path in (own_store.parent / FOLDER).glob("*.json")]
    entries = [entry for card in cards if card["made_of"]["kind"] == "pairs" for entry in card["content"].values()]
    stages = pd.DataFrame([entry["how"]["seconds"] for entry in entries])
    assert len(stages) == 9 and (stages > 0).all(axis=None)
    assert stages.sum().sum() < passed


def test_names_and_order_are_the_callers(known, small, drawn):
    first = measured(known, small)
    networks = {"z": NETWORKS["c"], "y": NETWORKS["a"]}
    again = measured(trained_models(networks, architecture="resnet10", dataset=small, **TINY), small)
    assert drawn == []
    assert again.reference.tolist() == ["z"] * 4 + ["y"] * 4
    assert again.stir[2] == first[(first.reference == "c") & (first.target == "a")].stir.iloc[0]


def test_a_new_network_costs_its_own_inversion_and_a_second_one_of_the_others(models, small, drawn, monkeypatch):
    made, merge = [], Record.merge

    def counted(record, content):
        made.extend((record.key, place) for place in content)
        merge(record, content)

    monkeypatch.setattr(Record, "merge", counted)
    first = measured(models.only(["a", "b"]), small)
    assert drawn == ["a", "b"]
    whole = measured(models, small)
    assert drawn == ["a", "b", "a", "b", "c"]
    assert len(made) == len(set(made)) == 9  # no pair is scored twice, that of a network with itself neither
    old = whole[whole.reference.isin(["a", "b"]) & whole.target.isin(["a", "b"])]
    assert_frame_equal(old.reset_index(drop=True), first, check_exact=True)
    measured(models.only(["b", "a"]), small)
    assert len(drawn) == 5


@pytest.mark.parametrize(
    "changed",
    [
        {"steps": 4},
        {"seed": 1},
        {"seeds": "uniform"},
        {"layers": ["stage1"]},
        {"measure": "rbf-cka"},
        {"also": []},
        {"tolerance": 0.2},
        {"draws": 2},
        {"solver": "paper"},
        {"pool": "flatten"},
        {"precision": "float32"},
        {"worst_case": True},
    ],
)
def test_another_question_is_measured(changed, known, small, drawn):
    two = known.only(["a", "c"])
    measured(two, small)
    assert drawn == []
    measured(two, small, **changed)
    assert len(drawn) >= 2


def test_other_images_are_measured(known, small, drawn):
    two = known.only(["a", "c"])
    measured(two, small)
    assert drawn == []
    measured(two, small, images=small.test.images[1:9])
    measured(two, small, images=small.test.images[:7])
    assert len(drawn) == 4


def test_the_worst_case_is_kept_by_pair(models, small, drawn):
    first = measured(models, small, worst_case=True)
    assert len(drawn) == 6
    plain = measured({name: models[name] for name in models}, small, worst_case=True)
    assert len(drawn) == 12
    assert_frame_equal(first, plain, check_exact=True)
    assert_frame_equal(measured(models, small, worst_case=True), first, check_exact=True)
    assert len(drawn) == 12


def test_a_measure_of_ones_own_is_measured_each_time(models, small, drawn):
    for _ in range(2):
        measured(models.only(["a", "c"]), small, measure=lambda x, y: 1 - (x.mean() - y.mean()).abs().item())
    assert len(drawn) == 4


def test_a_network_that_was_changed_is_measured_as_it_is(known, small, drawn):
    first = measured(known, small)
    changed = known["a"]
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.add_(0.1 * torch.rand(parameter.shape, generator=torch.Generator().manual_seed(0)))
    assert_frame_equal(measured(known, small), first)  # what was read is the caller's own copy
    other = measured({"a": changed, "b": known["b"]}, small)
    assert other.stir[0] != first.stir[0] and len(drawn) == 2


def test_what_was_measured_before_a_kill_is_there_after_it(models, small, drawn, monkeypatch):
    first = measured({name: models[name] for name in models}, small)
    drawn.clear()
    monkeypatch.setattr("stir.scoring.score.in_groups", lambda tasks, _: [[task] for task in tasks])
    original = evaluation.Evaluation.scores

    def scores(self, draws, *others):
        if draws and draws[0].reference == "c":
            raise KeyboardInterrupt
        return original(self, draws, *others)

    with monkeypatch.context() as patch:
        patch.setattr(evaluation.Evaluation, "scores", scores)
        with pytest.raises(KeyboardInterrupt):
            measured(models, small)
    assert drawn == ["a", "b", "c"]
    assert_frame_equal(measured(models, small), first, check_exact=True)
    assert drawn == ["a", "b", "c", "c"]


def test_a_damaged_record_is_told_and_measured_again(known, small, drawn, own_store):
    first = measured(known, small)
    damaged = next((own_store.parent / "measured").glob("*.json"))
    damaged.write_text(damaged.read_text().replace("0.", "1.", 1))
    with pytest.warns(UserWarning, match=r"is damaged \(its checksum is wrong\); it is left out"):
        again = measured(known, small)
    assert len(drawn) == 1
    assert_frame_equal(again, first, check_exact=True)


def test_fresh_measures_all(known, small, drawn, monkeypatch):
    measured(known, small)
    assert drawn == []
    monkeypatch.setenv("STIR_FRESH", "1")
    measured(known, small)
    assert len(drawn) == 3


def test_a_network_that_was_trained_otherwise_is_another(known, small, drawn, own_store):
    """Its settings are the same, and its weights are not, as on another machine."""
    measured(known, small)
    key = known.key("a").split()[0]
    weights, card = own_store / f"{key}.safetensors", own_store / f"{key}.json"
    weights.unlink(), card.unlink()
    network = build_model("resnet10", 10, width=4, channels=1, seed=5)
    save_file(dict(network.state_dict()), weights)
    content = known.cards["a"] | {"weights_sha256": digest(weights)}
    content["sha256"] = card_digest(content)
    card.write_text(json.dumps(content))
    again = trained_models(NETWORKS, architecture="resnet10", dataset=small, **TINY)
    assert drawn == []
    table = measured(again, small)
    assert drawn == ["a", "b", "c"]  # all of them, as each has "a" for a target
    assert_frame_equal(table, measured({name: again[name] for name in again}, small), check_exact=True)


def test_a_network_that_was_lost_is_trained_from_its_beginning(models, small, own_store):
    first = models["a"]
    for path in own_store.glob(f"{models.key('a').split()[0]}.*"):
        path.unlink()
    assert same(models["a"], first)


def test_pages_that_share_a_reference_keep_all_its_targets(known, small, drawn, monkeypatch):
    monkeypatch.setenv("STIR_FRESH", "1")
    measured(known.only(["a", "b"]), small)
    assert drawn == ["a", "b"]
    monkeypatch.delenv("STIR_FRESH")
    measured(known, small)
    assert drawn == ["a", "b"]


def test_the_store_and_the_evidence_complete_each_other(models, small, drawn, own_store, tmp_path, monkeypatch):
    measured(models.only(["a", "b"]), small)
    (own_store.parent / "measured").rename(tmp_path / "evidence")
    measured(models.only(["a", "c"]), small)
    (tmp_path / "both").mkdir()
    (tmp_path / "evidence").rename(tmp_path / "both" / "measured")
    monkeypatch.setenv("STIR_EVIDENCE", str(tmp_path / "both"))
    before = len(drawn)
    measured(models.only(["a", "b"]), small)
    measured(models.only(["a", "c"]), small)
    assert len(drawn) == before


def test_numbers_of_numpy_and_images_in_bfloat16_can_be_kept(models, small, drawn, unchecked):
    two = models.only(["a", "c"])
    for _ in range(2):
        measured(two, small, steps=np.int64(3), seed=np.int64(0), tolerance=np.float32(0.1))
    assert len(drawn) == 2
    assert fingerprint(small.test.images.bfloat16()) != fingerprint(small.test.images)
    assert fingerprint(small.test.images.clone().requires_grad_()) == fingerprint(small.test.images)


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=True), st.text(max_size=3))


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=4))
def test_rows_are_packed_without_a_loss(values):  # with a measure left out: test_a_reader_is_warned_of_the_same
    rows = [{"measure": f"m{number}", "a": a, "b": b} for number, (a, b) in enumerate(values)]
    entry = json.loads(
        json.dumps({"rows": kept_pairs._packed([{"reference": "r", "target": "t"} | row for row in rows])})
    )
    expected = [{name: math.nan if value is None else value for name, value in row.items()} for row in rows]
    assert repr(rows_of(entry)) == repr(expected)  # repr: NaN is NaN, and 1 is neither 1.0 nor True


def test_rows_kept_one_by_one_are_still_found(models, small, drawn, own_store):
    first = measured(models, small)
    for path in (own_store.parent / FOLDER).glob("*.json"):
        card = read_card(path)
        if card["made_of"]["kind"] == "pairs":
            for entry in card["content"].values():
                entry["rows"] = [
                    {
                        name: None if isinstance(value, float) and math.isnan(value) else value
                        for name, value in row.items()
                    }
                    for row in rows_of(entry)
                ]
            write_card(path, {name: value for name, value in card.items() if name != "sha256"})
    assert_frame_equal(measured(models, small), first, check_exact=True)
    assert len(drawn) == 3


def test_radii_and_seeds_are_told_apart(models, small, drawn):
    two, count = models.only(["a", "c"]), 0
    seeds = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for changed in (
        {"within": Ball("l2", 1.0)},
        {"within": Ball("l2", 1.0 + 1e-9)},
        {"seeds": seeds},
        {"seeds": 1 - seeds},
    ):
        measured(two, small, **changed)
        count += 2
        assert len(drawn) == count


def test_mistakes_are_refused_though_the_rows_are_known(models, small):
    measured(models, small, worst_case=True)
    with pytest.raises(ValueError, match="worst_case=True has a solver of its own"):
        measured(models, small, worst_case=True, solver="nearest")


# Solver, or the worst case -> means over both ordered pairs of two networks. Where one of these changes, numbers of
# older code would be served as if they were new: raise `MEASURING_VERSION`, then change the numbers.
COLUMNS_MEASURED = [
    "stir",
    "stir_low",
    "cka",
    "ceiling",
    "floor",
    "pixels",
    "untrained",
    "distance_p90",
    "moved",
    "towards",
]
MEASURED_BY_VERSION_1 = {
    "tethered": (0.26483, -0.11044, 0.30857, 0.83749, 0.25897, 0.68686, 0.44423, 0.0022692, 1.5287, 0.94109),
    "nearest": (0.2595, -0.11671, 0.30857, 0.64775, 0.26423, 0.68466, 0.40207, 0.003893, 1.2541, 0.95724),
    "paper": (0.2653, -0.087093, 0.30857, 0.4733, 0.26253, 0.68539, 0.37367, 0.006728, 1.458, 0.9498),
    "worst case": (0.18076, -0.07127, 0.30857, 0.30775, 0.2343, 0.67104, 0.33766, 0.032881, 4.294, 0.97709),
}
# Measure -> STIR and the plain similarity, likewise.
MEASURES_OF_VERSION_1 = {
    "linear-cka": (0.04885, 0.15354),
    "unbiased-cka": (0.011036, 0.13402),
    "rbf-cka": (0.085464, 0.32066),
    "procrustes": (0.226, 0.41556),
    "mean-cca": (0.34152, 0.56562),
    "svcca": (0.30153, 0.50619),
    "rsa": (0.037234, 0.052542),
}


def two_networks():
    return {str(seed): lively(build_model("resnet10", 10, width=4, channels=1, seed=seed)) for seed in (0, 1)}


def pairs_of(digits, count=12, **options) -> pd.DataFrame:
    shared = dict(steps=12, precision="float32", device="cpu", progress=False)
    table = pairwise(two_networks(), digits.test.images[:count], **shared | options)
    return table[table.reference != table.target]


@pytest.mark.parametrize("solver", MEASURED_BY_VERSION_1)
def test_measuring_gives_the_numbers_of_its_version(solver, digits):
    """Rounding on other processors stays below the tolerance."""
    assert MEASURING_VERSION == 1 and {*MEASURED_BY_VERSION_1} == {*SOLVERS, "worst case"}
    options = dict(worst_case=True) if solver == "worst case" else dict(solver=solver)
    means = pairs_of(digits, **options)[COLUMNS_MEASURED].mean()
    assert means.tolist() == pytest.approx(MEASURED_BY_VERSION_1[solver], rel=2e-3)


def test_measures_give_the_numbers_of_their_version(digits):
    assert {*MEASURES_OF_VERSION_1} == {*MEASURES}
    first, *others = MEASURES
    table = pairs_of(digits, 100, measure=first, also=others, steps=3)
    for name, values in MEASURES_OF_VERSION_1.items():
        means = table.loc[table.measure == name, ["stir", "cka"]].mean()
        assert means.tolist() == pytest.approx(values, rel=2e-3), name


def test_rows_of_a_layer_for_each_side_are_kept_by_both(models, small, drawn):
    mixed = measured(models, small, layers=["stage2"], given_layer="stage1")
    assert drawn == ["a", "b", "c"]
    assert_frame_equal(measured(models, small, layers=["stage2"], given_layer="stage1"), mixed, check_exact=True)
    assert drawn == ["a", "b", "c"]
    for layers, given_layer in (("stage1", "stage2"), ("stage2", None), ("stage1", None)):
        other = measured(models, small, layers=[layers], given_layer=given_layer)
        assert set(other.reference_layer) == {given_layer or layers} and set(other.target_layer) == {layers}
    assert drawn == 4 * ["a", "b", "c"]


WANTED_TWICE = """
import time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import stir
from stir.training import request

train = request.train
def counted(*arguments, seed, **more):
    with open("trained", "a") as log:
        log.write(f"{seed}\\n")
    time.sleep(1)
    return train(*arguments, seed=seed, **more)

request.train = counted
Path("ready-NUMBER").touch()
while len(list(Path().glob("ready-*"))) < 2:
    time.sleep(0.01)
options = dict(architecture="resnet10", width=4, epochs=1, device="cpu", progress=False)
models = stir.trained_models({f"{each}": {"seed": each} for each in range(3)}, **options)
table = stir.pairwise(models, stir.load_dataset("digits").test.images[:8], steps=3, device="cpu", progress=False)
table.to_csv("table-NUMBER.csv")
"""


def test_two_processes_that_want_the_same_make_it_once(tmp_path):
    processes = []
    for number in range(2):
        environment = {"STIR_STORE": str(tmp_path / "store"), "STIR_USED": str(tmp_path / f"used-{number}")}
        code = WANTED_TWICE.replace("NUMBER", str(number))
        processes.append(python(code, env=ENVIRONMENT | environment, cwd=tmp_path))
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    assert sorted((tmp_path / "trained").read_text().split()) == ["0", "1", "2"]
    used = "".join((tmp_path / f"used-{number}").read_text() for number in range(2)).splitlines()
    measured_now = [line for line in used if line.startswith("measured\t")]
    assert len(measured_now) == len(set(measured_now)) == 3  # a record for each reference
    first, second = ((tmp_path / f"table-{number}.csv").read_text() for number in range(2))
    assert first == second
