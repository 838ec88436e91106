"""Trained once, then read: keys, damage, interruption."""

import json

import pytest
import torch

import stir.files
import stir.store
from stir.data import Dataset, Split
from stir.files import store_folder
from stir.store import Entry, trained_model
from stir.training import Recipe

TINY = {"width": 4, "epochs": 1, "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def small(digits):
    train = Split(digits.train.images[:64, :, ::2, ::2].clone(), digits.train.labels[:64])
    test = Split(digits.test.images[:32, :, ::2, ::2].clone(), digits.test.labels[:32])
    return Dataset("small", train, test, digits.classes)


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("STIR_STORE", str(tmp_path / "store"))
    return tmp_path / "store" / "models"


@pytest.fixture
def no_training(monkeypatch):
    """From the call on, training raises."""

    def refuse(*_, **__):
        raise AssertionError("trained, though nothing had to be")

    return lambda: monkeypatch.setattr(stir.store, "train", refuse)


def same(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_the_second_call_trains_nothing(small, no_training, own_store):
    first = trained_model("resnet10", dataset=small, **TINY)
    assert len(names(own_store)) == 2
    no_training()
    second = trained_model("resnet10", dataset=small, **TINY)
    assert same(first, second)
    assert first.card["curve"] == second.card["curve"] and second.card["sha256"]
    assert not first.training and not second.training
    # The card is what the file says and what is true.
    (card,) = own_store.glob("*.json")
    assert json.loads(card.read_text()) == second.card
    with torch.no_grad():
        right = (second(small.test.images).argmax(dim=1) == small.test.labels).float().mean().item()
    assert second.card["accuracy"] == pytest.approx(right)
    assert second.card["made_by"]["seed"] == 0 and second.card["dataset"] == "small"


def test_the_card_is_the_same_on_both_calls(small):
    first = trained_model("resnet10", dataset=small, **TINY)
    assert first.card == trained_model("resnet10", dataset=small, **TINY).card


def test_the_weights_of_two_stores_are_the_same(small, monkeypatch, tmp_path):
    first = trained_model("vgg11", dataset=small, **TINY)
    monkeypatch.setenv("STIR_STORE", str(tmp_path / "elsewhere"))
    torch.manual_seed(99)
    assert same(first, trained_model("vgg11", dataset=small, **TINY))


@pytest.fixture
def keys(small, monkeypatch, own_store):
    """The key of a network, without its training."""
    monkeypatch.setattr(stir.store, "train", lambda *_, **__: [])
    monkeypatch.setattr(stir.store, "accuracy", lambda *_, **__: 0.0)

    def key(architecture="resnet10", dataset=small, **arguments):
        before = set(own_store.glob("*.json")) if own_store.exists() else set()
        trained_model(architecture, dataset=dataset, **{**TINY, **arguments})
        new = set(own_store.glob("*.json")) - before
        assert len(new) <= 1
        return bool(new)  # whether it was another network than all before

    return key


def test_what_the_key_depends_on(keys, small):
    assert keys()
    assert not keys()
    assert not keys(epsilon=2.0) and not keys(attack_steps=9)  # of no effect on standard training
    assert not keys(device="auto") and not keys(progress=False)
    renamed = Dataset("other name", small.train, small.test, small.classes)
    assert not keys(dataset=renamed)
    for changed in (
        {"seed": 1},
        {"width": 5},
        {"epochs": 2},
        {"learning_rate": 0.05},
        {"batch_size": 32},
        {"weight_decay": 0.0},
        {"augmentation": "shift"},
        {"architecture": "vgg11"},
        {"loss": "adversarial-l2"},
        {"loss": "adversarial-l2", "epsilon": 2.0},
        {"loss": "adversarial-l2", "attack_steps": 2},
        {"loss": "adversarial-linf"},
        {"dataset": Dataset("small", Split(small.train.images[1:], small.train.labels[1:]), small.test, small.classes)},
    ):
        assert keys(**changed), changed
        assert not keys(**changed), changed


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
        patch.setattr(stir.store, "train", None)
        assert same(again, trained_model("resnet10", dataset=small, **TINY))


def test_an_interrupted_training_keeps_nothing(small, own_store, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stir.store, "train", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained_model("resnet10", dataset=small, **TINY)
    assert names(own_store) == []


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"architecture": "resnet9"}, ValueError, "architecture='resnet9' is unknown"),
        ({"dataset": "cifar"}, ValueError, "dataset='cifar' is unknown"),
        ({"width": 0}, ValueError, "width=0 must be at least 1"),
        ({"epochs": 0}, ValueError, "epochs=0 must be at least 1"),
        ({"loss": "hinge"}, ValueError, "loss='hinge' is unknown"),
        ({"device": "abacus"}, ValueError, "device='abacus' cannot be used here"),
        ({"momentum": 0.9}, TypeError, "momentum"),
    ],
)
def test_errors_come_before_any_training(small, no_training, own_store, arguments, error, text):
    no_training()
    arguments = {"architecture": "resnet10", "dataset": small, **TINY, **arguments}
    with pytest.raises(error, match=text):
        trained_model(arguments.pop("architecture"), **arguments)
    assert not own_store.exists()


def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("STIR_STORE", str(tmp_path))
    assert store_folder() == tmp_path
    monkeypatch.setenv("STIR_STORE", "")
    assert store_folder().name == "stir"  # the user's cache


def test_a_key_does_not_depend_on_the_order_of_settings(tmp_path):
    assert Entry({"a": 1, "b": 2}, tmp_path).key == Entry({"b": 2, "a": 1}, tmp_path).key
    assert Recipe() == Recipe(epochs=15)  # defaults and their values are one recipe
