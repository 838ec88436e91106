"""Networks in the store: stored whole or not at all, listed, removed, and checked for damage."""

import pytest
from click.testing import CliRunner
from filelock import FileLock
from helpers.networks import TINY, names, same

import stir.files
import stir.training.store
import stir.training.trained
from stir.cli import main
from stir.training.recipe import Recipe
from stir.training.store import Entry, remove_models, stored_models
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
        patch.setattr(stir.training.trained, "train", None)
        assert same(again, trained_model("resnet10", dataset=small, **TINY))


def test_a_card_that_cannot_be_written_leaves_no_weights(small, own_store, monkeypatch):
    real = stir.training.store.write_atomically

    def refuse(path, write):
        if path.suffix == ".json":
            raise OSError("No space left on device")
        real(path, write)

    monkeypatch.setattr(stir.training.store, "write_atomically", refuse)
    with pytest.warns(UserWarning, match="could not be kept in .*No space left"):
        assert trained_model("resnet10", dataset=small, **TINY).card["curve"]
    assert not [name for name in names(own_store) if name.endswith((".json", ".safetensors"))]


def test_the_list_and_removal(small, own_store):
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
