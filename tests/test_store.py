"""Networks in the store: stored whole or not at all, listed, removed, and checked for damage."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from filelock import FileLock
from helpers.networks import TINY, names, same
from safetensors.torch import load_file, save_file

import stir.files
import stir.training.request
import stir.training.store
from stir.cli import main
from stir.networks.architectures import ARCHITECTURES, build_model
from stir.training.loop import train
from stir.training.losses import LOSSES
from stir.training.recipe import Recipe
from stir.training.store import TRAINING_VERSION, Entry, remove_models, stored_models
from stir.training.trained import trained_model

pytestmark = pytest.mark.usefixtures("own_store")


def damage_middle(weights, card):
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 0xFF
    weights.write_bytes(content)


def cut(weights, card):
    weights.write_bytes(weights.read_bytes()[:100])


def remove(weights, card):
    weights.unlink()


def garble_card(weights, card):
    card.write_text("{")


def strip_card(weights, card):
    card.write_text("{}")


def garble_card_bytes(weights, card):
    card.write_bytes(b"\xff\xfe\x00")


def list_card(weights, card):
    card.write_text("[]")


@pytest.mark.parametrize("damage", [damage_middle, cut, remove, garble_card, strip_card, garble_card_bytes, list_card])
def test_damage_is_noticed_and_repaired(small, own_store, capsys, damage, no_training):
    first = trained_model("resnet10", dataset=small, **TINY)
    (weights,), (card,) = own_store.glob("*.safetensors"), own_store.glob("*.json")
    damage(weights, card)
    capsys.readouterr()
    second = trained_model("resnet10", dataset=small, **TINY)
    assert f"{weights} is damaged" in capsys.readouterr().out
    assert same(first, second)
    no_training()
    assert same(first, trained_model("resnet10", dataset=small, **TINY))


@pytest.mark.parametrize("failing", [1, 2])
def test_an_interrupted_save_leaves_nothing_half_written(small, own_store, monkeypatch, failing):
    real, calls = stir.files.os.replace, []

    def replace(*arguments):
        calls.append(arguments)
        if len(calls) == failing:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(stir.files.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        trained_model("resnet10", dataset=small, **TINY)
    assert not [name for name in names(own_store) if name.endswith((".json", ".partial"))]
    monkeypatch.undo()
    monkeypatch.setenv("STIR_STORE", str(own_store.parent))
    again = trained_model("resnet10", dataset=small, **TINY)
    assert len(names(own_store)) == 2
    with monkeypatch.context() as patch:
        patch.setattr(stir.training.request, "train", None)
        assert same(again, trained_model("resnet10", dataset=small, **TINY))


def test_a_card_that_cannot_be_written_leaves_no_weights(small, own_store, monkeypatch):
    real = stir.files.write_atomically

    def refuse(path, write):
        if path.suffix == ".json":
            raise OSError("No space left on device")
        real(path, write)

    monkeypatch.setattr(stir.files, "write_atomically", refuse)
    with pytest.warns(UserWarning, match="could not be kept in .*No space left"):
        assert trained_model("resnet10", dataset=small, **TINY).card["curve"]
    assert not [name for name in names(own_store) if name.endswith((".json", ".safetensors"))]


def test_the_list_and_removal(small, own_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # else what killed runs left in this project would count
    run = CliRunner().invoke
    assert "No networks in" in run(main, ["models"]).output
    first = trained_model("resnet10", dataset=small, **TINY)
    trained_model("vgg11", dataset=small, loss="trades", learning_rate=0.05, augmentation="shift", **TINY)
    table = stored_models().set_index("architecture")
    assert set(table.index) == {"resnet10", "vgg11"} and table.loc["resnet10", "accuracy"] == first.card["accuracy"]
    assert table.loc["vgg11", "loss"] == "trades" and table.loc["vgg11", "epsilon"] == pytest.approx(8 / 255)
    assert (
        table.loc["vgg11", "others"] == "learning_rate=0.05 augmentation=shift"
        and table.loc["resnet10", "others"] == ""
    )
    (weights,) = own_store.glob(f"{table.loc['resnet10', 'key']}.safetensors")
    assert table.loc["resnet10", "megabytes"] == weights.stat().st_size / 1e6
    output = run(main, ["models"]).output
    assert "killed" not in output
    assert f"{first.card['accuracy']:.1%}" in output and "2 networks" in output and str(own_store.parent) in output
    result = run(main, ["models", "--remove", table.loc["resnet10", "key"], "--remove", "nothing"])
    assert len(stored_models()) == 2  # all or none
    assert result.exit_code and "key='nothing' is not in" in result.output
    assert run(main, ["models", "--remove", table.loc["resnet10", "key"]]).exit_code == 0
    assert list(stored_models().architecture) == ["vgg11"] and not weights.exists()
    (own_store / f"{stored_models().key[0]}.json").write_text("{")
    (own_store / "0123.checkpoint").write_text("damaged")
    assert list(stored_models().architecture) == ["(damaged)"] * 2
    keys = list(stored_models().key)
    with FileLock(own_store / f"{keys[1]}.lock"), pytest.raises(ValueError, match=f"key='{keys[1]}' is being trained"):
        remove_models(keys)
    assert len(stored_models()) == 2  # all or none
    remove_models(keys)
    assert stored_models().empty and names(own_store) == []


def test_a_key_does_not_depend_on_the_order_of_settings(tmp_path):
    assert Entry({"a": 1, "b": 2}, tmp_path).key == Entry({"b": 2, "a": 1}, tmp_path).key
    assert Recipe() == Recipe(epochs=15)  # defaults and their values are one recipe


# What is believed


@pytest.fixture
def stored(small, own_store, no_training):
    """A stored network's files, and a function that fetches it again."""
    first = trained_model("resnet10", dataset=small, **TINY)
    (weights,), (card,) = own_store.glob("*.safetensors"), own_store.glob("*.json")

    def fetch():
        network = trained_model("resnet10", dataset=small, **TINY)
        assert same(first, network)
        return network

    return weights, card, fetch


def trains(fetch, monkeypatch):
    """True if `fetch` trains the network."""

    class Training(BaseException):
        pass

    def tell(*_, **__):
        raise Training

    with monkeypatch.context() as patch:
        patch.setattr("stir.training.request.train", tell)
        try:
            fetch()
        except Training:
            return True
        return False


def test_every_field_of_a_card_is_under_its_checksum(stored, monkeypatch, capsys):
    _, path, fetch = stored
    whole = path.read_text()
    card = json.loads(whole)
    for field, value in card.items():
        changed = {"accuracy": 0.99, "seconds": 1e6, "curve": [], "date": "2020-01-01T00:00:00+00:00"}.get(field, "x")
        rest = {name: other for name, other in card.items() if name != field}
        for damaged in (rest, rest | {field: changed}, card | {"more": value}):
            path.write_text(json.dumps(damaged))
            assert trains(fetch, monkeypatch), field
            assert "is damaged" in capsys.readouterr().out
            if field != "weights_sha256":
                assert list(stored_models().architecture) == ["(damaged)"]
    path.write_text(whole)
    assert not trains(fetch, monkeypatch)


@pytest.mark.parametrize(
    ("field", "value"),
    [("accuracy", "x"), ("accuracy", 5), ("robust_accuracy", 5), ("robust_accuracy", {"l2": None}), ("date", 5),
     ("seconds", float("inf")), ("curve", [None]), ("versions", []), ("made_by", [])],
)  # fmt: skip
def test_fields_of_another_kind_are_damage(stored, monkeypatch, field, value):
    """In a card from before cards had a checksum; the list of networks ended in a traceback of some."""
    weights, path, fetch = stored
    card = json.loads(path.read_text()) | {field: value}
    del card["weights_sha256"]
    path.write_text(json.dumps(card | {"sha256": stir.files.digest(weights)}))
    (path.parent / "0123456789abcdef.json").write_text(path.read_text())
    assert list(stored_models().architecture) == ["(damaged)"] * 2
    assert CliRunner().invoke(main, ["models"]).exit_code == 0
    assert trains(fetch, monkeypatch)


def test_a_card_that_is_nested_too_deeply_is_damaged(stored, monkeypatch):
    _, path, fetch = stored
    path.write_text("[" * 100_000)
    assert list(stored_models().architecture) == ["(damaged)"]
    assert trains(fetch, monkeypatch)


def test_a_card_of_another_network_is_not_believed(stored, small, own_store, monkeypatch, capsys):
    """Whole, but under the wrong name."""
    weights, card, fetch = stored
    trained_model("resnet10", dataset=small, seed=1, **TINY)
    (other,) = set(own_store.glob("*.json")) - {card}
    card.write_bytes(other.read_bytes())
    weights.write_bytes(other.with_suffix(".safetensors").read_bytes())
    assert trains(fetch, monkeypatch) and "its card is of another network" in capsys.readouterr().out


def test_networks_stored_before_cards_had_a_checksum_are_found(stored, monkeypatch):
    _, path, fetch = stored
    card = json.loads(path.read_text())
    card["sha256"] = card.pop("weights_sha256")
    path.write_text(json.dumps(card))
    assert not trains(fetch, monkeypatch) and list(stored_models().architecture) == ["resnet10"]
    card["made_by"]["epochs"] = 2
    path.write_text(json.dumps(card))
    assert trains(fetch, monkeypatch)


def test_weights_that_are_not_finite_are_not_served(stored, monkeypatch, capsys):
    weights, path, fetch = stored
    state = load_file(weights)
    state["classifier.bias"][0] = torch.nan
    save_file(state, weights)
    card = json.loads(path.read_text())
    del card["weights_sha256"]
    path.write_text(json.dumps(card | {"sha256": stir.files.digest(weights)}))
    assert trains(fetch, monkeypatch) and "holds NaN" in capsys.readouterr().out


# What killed runs leave


def test_litter_is_counted_and_removed_by_the_next_run(stored, own_store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # else what killed runs left in this project would count
    weights, _, fetch = stored
    before = names(own_store)
    litter = {
        weights.with_suffix(".checkpoint").name,  # of a finished network
        f"{weights.name}.123.partial",
        "0123456789abcdef.safetensors",  # without a card
        "0123456789abcdef.checkpoint.7.partial",
    }
    images = own_store.parent / "images"
    images.mkdir()
    (images / "0123456789abcdef.safetensors").write_bytes(bytes(1_000_000))
    for name in litter:
        (own_store / name).write_bytes(bytes(1_000_000))
    unfinished = own_store / "fedcba9876543210.checkpoint"
    unfinished.write_bytes(b"goes on some time")
    written = own_store / "89abcdef01234567.safetensors.5.partial"
    written.write_bytes(b"being written")
    with FileLock(own_store / "89abcdef01234567.lock"):
        assert "5 files of killed runs or superseded, 5.0 MB: the next run removes" in CliRunner().invoke(
            main, ["models"]
        ).output.replace("\n", " ")
        fetch()
        assert names(own_store) == sorted([*before, unfinished.name, written.name])
    assert not list(images.glob("*.safetensors"))


# Stores that cannot be written, and wrong ones


@pytest.fixture
def read_only(stored):
    """A store that this process cannot write: root, who can write everything, gives up its rights for the while."""
    weights, _, fetch = stored
    places = [weights.parent.parent, weights.parent, *weights.parent.iterdir()]
    with tempfile.TemporaryDirectory() as outside:  # pytest's folders are its user's alone
        store = Path(outside) / "store"
        shutil.copytree(places[0], store)
        user = os.geteuid()
        try:
            os.chmod(outside, 0o755)
            for path in (store, *store.rglob("*")):
                path.chmod(0o555)
            if user == 0:
                os.seteuid(65_534)
            yield store, fetch
        finally:
            if user == 0:
                os.seteuid(0)
            for path in (store, *store.rglob("*")):
                path.chmod(0o755)


def test_a_read_only_store_serves_what_it_holds(read_only, small, monkeypatch, no_training):
    store, fetch = read_only
    monkeypatch.setenv("STIR_STORE", str(store))
    no_training()
    fetch()
    (key,) = stored_models().key
    with pytest.raises(
        ValueError, match="the store .* does not hold this network and cannot be written; set STIR_STORE"
    ):
        trained_model("resnet10", dataset=small, seed=1, **TINY)
    result = CliRunner().invoke(main, ["models", "--remove", key])
    assert result.exit_code == 1 and "Error: the store" in result.output and "cannot be written" in result.output
    assert CliRunner().invoke(main, ["models"]).exit_code == 0


def test_a_store_that_is_no_folder(small, monkeypatch, tmp_path, no_training):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STIR_STORE", str(tmp_path / "file"))
    no_training()
    with pytest.raises(ValueError, match="the store .*file does not hold this network and cannot be written"):
        trained_model("resnet10", dataset=small, **TINY)


def test_a_relative_store_is_refused(small, monkeypatch):
    monkeypatch.setenv("STIR_STORE", "store")
    result = CliRunner().invoke(main, ["models"])
    assert result.exit_code == 1 and "Error: STIR_STORE='store' must be an absolute path" in result.output
    with pytest.raises(ValueError, match="STIR_STORE='store' must be an absolute path"):
        trained_model("resnet10", dataset=small, **TINY)


# The version of the training

# Loss -> mean losses of two epochs of one step, and a sum over the weights, with signs, after them. Where one of these
# changes, networks of older code would be served as if they were new: raise `TRAINING_VERSION`, then change the number.
# The attack of TRADES starts where its gradient vanishes, so that rounding steers it.
MADE_BY_VERSION_6 = {
    "standard": (2.44564, 2.42054, -5.24096),
    "adversarial-l2": (2.51868, 2.42756, -5.13062),
    "adversarial-linf": (2.46459, 2.41114, -5.09909),
    "trades": (2.5280, 2.5067, 2.2614),
    "trades-l2": (2.7135, 2.6277, 2.2439),
    "mart": (2.72868, 2.67748, 2.39466),
    "mart-l2": (2.96032, 2.81885, 2.45553),
}
# Architecture -> the sum over its first weights, and the mean size of its logits.
BUILT_BY_VERSION_6 = {
    "resnet10": (-12.938237, 0.0905005),
    "resnet18": (9.540706, 0.0857603),
    "resnet34": (-7.689758, 0.0787794),
    "resnet50": (-17.052667, 0.0479199),
    "resnet10-noskip": (-2.838064, 0.0848964),
    "resnet18-noskip": (10.632152, 0.1048962),
    "resnet34-noskip": (-1.673685, 0.0901353),
    "resnet50-noskip": (1.070304, 0.0382297),
    "wide-resnet16-4": (2.394273, 0.1160174),
    "wide-resnet28-10": (16.676087, 0.0585144),
    "vgg11": (2.456387, 0.1200060),
    "vgg13": (12.729391, 0.0748920),
    "vgg16": (9.153107, 0.0921738),
    "vgg19": (4.686514, 0.0714544),
    "densenet121": (20.071882, 0.0716990),
    "vit": (17.437134, 0.3791524),
}


def signed_sum(model):
    weights = torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])
    return (weights @ torch.arange(len(weights)).double().cos()).item()


@pytest.mark.parametrize("loss", MADE_BY_VERSION_6)
def test_training_makes_the_weights_of_its_version(small, loss):
    """In float32 and in one thread; rounding on other processors stays below the tolerance."""
    assert TRAINING_VERSION == 6 and {*MADE_BY_VERSION_6} == {*LOSSES}
    model = build_model("resnet10", 10, width=4, channels=1, seed=0)
    recipe = Recipe(loss=loss, epochs=2, batch_size=64, label_smoothing=0.1, augmentation="shift-flip")
    curve = train(model, small.train, recipe, precision="float32", device="cpu", progress=False)
    numbers = (*(epoch["loss"] for epoch in curve), signed_sum(model))
    tolerance = 5e-3 if loss.startswith("trades") else 1e-3
    assert numbers == pytest.approx(MADE_BY_VERSION_6[loss], rel=tolerance)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_architectures_are_those_of_their_version(small, architecture):
    model = build_model(architecture, 10, width=4, channels=1, seed=0).eval()
    with torch.no_grad():
        numbers = signed_sum(model), model(small.train.images[:4]).abs().mean().item()
    assert numbers == pytest.approx(BUILT_BY_VERSION_6[architecture], rel=1e-3)


def test_keys_stay(tmp_path):
    """Else all that is stored would be trained again; with `TRAINING_VERSION` they change, on purpose."""
    made_by = {"architecture": "resnet10", "seed": 0, "data": "abc", "width": 16, **Recipe(loss="trades").settings}
    assert Entry(made_by, tmp_path).key == "f713d5296c6c2f18"
