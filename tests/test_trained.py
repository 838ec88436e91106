"""Networks are trained once, then loaded; keys, interruptions, several at once."""

import json
import subprocess
import sys
import time

import pytest
import torch
from filelock import FileLock
from helpers.networks import TINY, names, same
from safetensors import safe_open

import stir.training.request
from stir.book.evidence import read_log
from stir.computing.parallel import in_threads
from stir.computing.precision import fast_bf16
from stir.data import Dataset, Split
from stir.training.accuracy import accuracy
from stir.training.attacks import PGD
from stir.training.store import stored_models
from stir.training.trained import trained_model, trained_models, untrained_models

pytestmark = pytest.mark.usefixtures("own_store")


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
    attack = PGD("l2", 0.5, 20)
    assert second.card["robust_accuracy"]["l2"] == accuracy(second, small.test, attack=attack, device="cpu")
    assert second.card["robust_accuracy"]["linf"] <= second.card["accuracy"]
    assert second.card["made_by"]["seed"] == 0 and second.card["dataset"] == "small"
    assert second.card["versions"]["torch"] == torch.__version__ and second.card["bfloat16"] == fast_bf16(
        torch.device("cpu")
    )


def test_a_run_notes_that_it_uses_a_network(small, monkeypatch, tmp_path, own_store):
    used = {}
    for run in ("trains", "reads"):
        monkeypatch.setenv("STIR_USED", str(tmp_path / run))
        trained_model("resnet10", dataset=small, **TINY)
        used[run] = read_log(tmp_path / run)
    (card,) = own_store.glob("*.json")
    assert used["trains"] == used["reads"] == {f"models/{card.name}": "kept"}


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
    monkeypatch.setattr(stir.training.request, "train", lambda *_, **__: [])
    monkeypatch.setattr(stir.training.request, "accuracy", lambda *_, **__: 0.0)

    def key(architecture="resnet10", dataset=small, **arguments):
        before = set(own_store.glob("*.json")) if own_store.exists() else set()
        trained_model(architecture, dataset=dataset, **{**TINY, **arguments})
        new = set(own_store.glob("*.json")) - before
        assert len(new) <= 1
        return bool(new)  # True for a network unlike all before

    return key


def test_what_the_key_depends_on(keys, small):
    assert keys()
    assert not keys()
    assert not keys(epsilon=2.0) and not keys(attack_steps=9)  # of no effect on standard training
    assert not keys(tradeoff=9.0) and not keys(augmentation_strength=2.0)
    assert not keys(device="auto") and not keys(progress=False)
    assert not keys(weight_decay=5e-4)
    renamed = Dataset("other name", small.train, small.test, small.classes)
    assert not keys(dataset=renamed)
    for changed in (
        {"seed": 1},
        {"width": 5},
        {"epochs": 2},
        {"learning_rate": 0.05},
        {"batch_size": 32},
        {"weight_decay": 0.0},
        {"label_smoothing": 0.1},
        {"loss": "trades"},
        {"loss": "trades", "tradeoff": 3.0},
        {"loss": "mart"},
        {"augmentation": "shift"},
        {"architecture": "vgg11"},
        {"loss": "adversarial-l2"},
        {"loss": "adversarial-l2", "epsilon": 2.0},
        {"loss": "adversarial-l2", "attack_steps": 2},
        {"loss": "adversarial-linf"},
        {"dataset": Dataset("small", Split(small.train.images[1:], small.train.labels[1:]), small.test, small.classes)},
        {"dataset": Dataset("small", small.train, Split(small.test.images[1:], small.test.labels[1:]), small.classes)},
    ):
        assert keys(**changed), changed
        assert not keys(**changed), changed


def test_an_interrupted_training_keeps_nothing(small, own_store, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stir.training.request, "train", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained_model("resnet10", dataset=small, **TINY)
    assert names(own_store) == []


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"architecture": "resnet9"}, ValueError, "architecture='resnet9' is unknown"),
        ({"dataset": "cifar"}, ValueError, "dataset='cifar' is unknown"),
        ({"width": 0}, ValueError, "width=0 must be at least 1"),
        ({"epochs": 0}, ValueError, "epochs=0 must be a whole number, at least 1"),
        ({"seed": -1}, ValueError, "seed=-1 must be a whole number, at least 0"),
        ({"loss": "hinge"}, ValueError, "loss='hinge' is unknown"),
        ({"device": "abacus"}, ValueError, "device='abacus' cannot be used here"),
        ({"momentum": 0.9}, TypeError, "momentum"),
        (
            {"architecture": "torchvision:vgg11"},
            ValueError,
            "architecture='torchvision:vgg11' cannot take images of 1x8x8",
        ),
    ],
)
def test_errors_come_before_any_training(small, no_training, own_store, arguments, error, text):
    no_training()
    arguments = {"architecture": "resnet10", "dataset": small, **TINY, **arguments}
    with pytest.raises(error, match=text):
        trained_model(arguments.pop("architecture"), **arguments)
    assert not own_store.exists()


# Other processes: a real kill, a real race, a real limit on what may be written

SCRIPT = """
import sys, torch, stir
torch.set_num_threads(1)
net = stir.trained_model("resnet10", dataset="digits", width=4, epochs=5, device="cpu", progress=False)
print(net.card["date"], net.card["seconds"])
"""


def start(code=SCRIPT):
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process, seconds=120):
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, err
    return out, err


def test_a_killed_training_goes_on_and_ends_the_same(own_store, monkeypatch, tmp_path):
    process = start()
    deadline = time.monotonic() + 100
    while not list(own_store.glob("*.checkpoint")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    (checkpoint,) = own_store.glob("*.checkpoint")
    with safe_open(checkpoint, framework="pt") as file:
        done = len(json.loads(file.metadata()["curve"]))
    assert 1 <= done < 5 and not list(own_store.glob("*.json"))
    (unfinished,) = stored_models().to_dict("records")
    assert (unfinished["key"], unfinished["architecture"]) == (checkpoint.stem, "(unfinished)")
    assert unfinished["others"] == f"{done} of 5 epochs done" and unfinished["megabytes"] > 0
    finish(start())
    assert [path.suffix for path in sorted(own_store.iterdir()) if path.suffix != ".lock"] == [".json", ".safetensors"]
    (resumed,) = own_store.glob("*.safetensors")
    monkeypatch.setenv("STIR_STORE", str(tmp_path / "other"))
    finish(start())
    (whole,) = (tmp_path / "other").glob("models/*.safetensors")
    assert resumed.name == whole.name and resumed.read_bytes() == whole.read_bytes()


# For each n a process that is killed before the nth time that it opens a file of the store for writing, or moves or
# removes one; then one that is not.
KILLED_AT_EACH_CHANGE = """
import os, pathlib, shutil, sys, torch, stir
import torch._dynamo  # seconds, which training would load in each of the processes
from stir.data import Dataset
from stir.files import abandoned, store_folder
from stir.training.store import litter

torch.set_num_threads(1)
digits, store = stir.load_dataset("digits"), store_folder()
data = Dataset("few", digits.train[:32], digits.test[:8], digits.classes)

def train():
    stir.trained_model("resnet10", dataset=data, width=4, epochs=2, device="cpu", progress=False)

def forked(function):
    process = os.fork()
    if process:
        return os.waitpid(process, 0)[1]
    function()
    os._exit(0)

def killed(number):
    changes = []
    def hook(event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        path, change = str(arguments[0]), writes or event in ("os.rename", "os.remove")
        if change and path.startswith(str(store)) and not path.endswith(".lock"):
            changes.append(event)
            if len(changes) == number:
                os.kill(os.getpid(), 9)
    sys.addaudithook(hook)
    train()

number, weights, seen = 1, set(), set()
while True:
    shutil.rmtree(store, ignore_errors=True)
    status = forked(lambda: killed(number))
    seen |= {path.suffix for path in abandoned(litter)}
    assert status == 0 or forked(train) == 0
    (card,), (network,) = store.glob("models/*.json"), store.glob("models/*.safetensors")
    names = {path.name for path in store.glob("models/*")}
    assert names - {card.name, network.name} == {card.stem + ".lock"}, names
    assert not list(abandoned(litter))
    weights.add(network.read_bytes())
    if status == 0:
        break
    number += 1
print(number, len(weights), sorted(seen))
"""


def test_after_a_kill_at_any_change_the_next_run_has_the_network_and_no_litter(own_store):
    number, weights, seen = finish(start(KILLED_AT_EACH_CHANGE), 600)[0].split(maxsplit=2)
    assert int(number) > 8 and weights == "1"
    assert seen.strip() == "['.checkpoint', '.partial', '.safetensors']"  # each was left by some kill


def test_who_waits_for_a_training_that_is_killed_goes_on_with_it(own_store):
    first = start(SCRIPT.replace("epochs=5", "epochs=500"))
    while not list(own_store.glob("*.checkpoint")):
        assert first.poll() is None
        time.sleep(0.01)
    second = start(SCRIPT.replace("epochs=5", "epochs=500"))
    assert second.stderr is not None and "Waiting for another process that trains" in second.stderr.readline()
    first.kill()
    first.communicate()
    (checkpoint,) = own_store.glob("*.checkpoint")
    before = checkpoint.read_bytes()
    while checkpoint.read_bytes() == before:  # the second goes on
        assert second.poll() is None
        time.sleep(0.05)
    second.kill()
    second.communicate()


def test_two_processes_train_it_once(own_store):
    outputs = {finish(process)[0] for process in [start(), start()]}
    assert len(outputs) == 1  # the same date and duration: one card


def test_who_waits_for_another_process_is_told_so(own_store):
    finish(start())
    (card,) = own_store.glob("*.json")
    with FileLock(own_store / f"{card.stem}.lock"):
        process = start()
        assert process.stderr is not None
        line = process.stderr.readline()
        assert f"Waiting for another process that trains or reads {card.stem} (architecture=resnet10, seed=0," in line
        assert process.poll() is None
    finish(process)


def test_a_full_disk_costs_no_network(own_store):
    output = finish(start())[0]
    before = {path.name: path.read_bytes() for path in own_store.iterdir()}
    limited = (
        SCRIPT.replace("import sys", "import resource, sys").replace("epochs=5", "epochs=2")
        + "print(net.card['accuracy'])"
    )
    # No file may grow beyond this: the weights do not fit, the lock does.
    limited = limited.replace("net =", "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); net =")
    out, err = finish(start(limited))
    assert "the trained network could not be kept in" in err and "make room there or set $STIR_STORE" in err
    assert float(out.split()[-1]) > 0.1  # it was trained and is there
    after = {path.name: path.read_bytes() for path in own_store.iterdir() if path.suffix != ".lock"}
    assert after == {name: content for name, content in before.items() if not name.endswith(".lock")}
    assert finish(start())[0] == output


# Several at once


@pytest.mark.parametrize(("cores", "own"), [(2, 1), (4, 2)])  # two processes, of one core and of two
def test_networks_side_by_side_are_those_trained_alone(
    cores, own, small, own_store, no_training, monkeypatch, tmp_path
):
    networks = {
        "a": {"seed": 0},
        "b": {"seed": 1},
        "c": {"architecture": "vgg11", "loss": "adversarial-l2"},
        "d": {"loss": "mart"},
    }
    shared = {"architecture": "resnet10", "dataset": small, **TINY, "width": 8}
    monkeypatch.setattr("stir.training.request.threads_for", lambda _: own)
    with in_threads(cores):
        together = trained_models(networks, **shared)
        assert list(together) == ["a", "b", "c", "d"] and len(names(own_store)) == 8
        monkeypatch.setenv("STIR_STORE", str(tmp_path / "other"))
        for name, each in networks.items():
            alone = trained_model(**{**shared, **each})
            assert same(together[name], alone)
            assert together[name].card["made_by"] == alone.card["made_by"] and not together[name].training
        assert torch.get_num_threads() == cores
    monkeypatch.setenv("STIR_STORE", str(own_store.parent))
    no_training()
    again = trained_models(networks, **shared)
    assert all(same(together[name], again[name]) for name in networks)


@pytest.mark.parametrize(
    ("architecture", "width", "threads"), [("resnet18", 4, 1), ("resnet18", 128, 4), ("vit", 128, 2)]
)
def test_a_network_has_the_cores_that_it_fills(architecture, width, threads, small):
    """For batches of all 64 images. The transformer has 6 blocks of 12 x 512^2 weights, each used in 2 operations for
    each of 4 patches: 9.7e9 operations."""
    with in_threads(16):
        request = stir.training.request.TrainingRequest.prepare(architecture, small, 0, width, False, {})
        assert request.threads == threads


def test_few_large_networks_hold_up_no_small_ones(small, monkeypatch):
    calls = []

    def here(function, tasks, device, threads):
        calls.append((threads, len(tasks)))
        return (function(*task) for task in tasks)

    monkeypatch.setattr("stir.training.trained.side_by_side", here)
    monkeypatch.setattr("stir.training.request.threads_for", lambda operations: 2 if operations > 3e7 else 1)
    widths = {"a": 8, "b": 4, "c": 8, "d": 4}
    networks = trained_models(
        {name: {"width": width, "seed": seed} for seed, (name, width) in enumerate(widths.items())},
        architecture="resnet10",
        dataset=small,
        epochs=1,
        device="cpu",
        progress=False,
    )
    assert calls == [(1, 2), (2, 2)]
    assert {name: (net.card["made_by"]["width"], net.card["made_by"]["seed"]) for name, net in networks.items()} == {
        "a": (8, 0),
        "b": (4, 1),
        "c": (8, 2),
        "d": (4, 3),
    }


def test_a_mistake_in_any_of_them_comes_before_all_training(small, no_training, own_store):
    no_training()
    for wrong, error, text in (
        ({"loss": "hinge"}, ValueError, "loss='hinge' is unknown"),
        ({"architecture": "resnet9"}, ValueError, "'resnet9' is unknown"),
    ):
        with pytest.raises(error, match=text):
            trained_models({"a": {}, "b": wrong}, **{"architecture": "resnet10", "dataset": small, **TINY})
    with pytest.raises(TypeError, match="networks\\['a'\\] names no architecture"):
        trained_models({"a": {}}, dataset=small, **TINY)
    assert not own_store.exists()


def test_untrained_models_are_where_training_begins(small):
    shared = {"architecture": "resnet10", "dataset": small, "width": 4, "epochs": 1}
    first, second = (untrained_models({"a": {"seed": 0}, "b": {"seed": 1}}, **shared) for _ in range(2))
    assert same(first["a"], second["a"]) and not same(first["a"], first["b"])
    mean = first["a"].get_buffer("normalize.mean").flatten()
    assert torch.allclose(mean, small.train.images.mean(dim=(0, 2, 3)))
