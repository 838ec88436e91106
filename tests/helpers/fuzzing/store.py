"""Cards, weights and checkpoints of the store: damaged, cut, exchanged, with fields removed or of other types."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from stir.cli import main
from stir.data import Split
from stir.files import digest_of
from stir.training.checkpoint import Checkpoint
from stir.training.loop import _Training
from stir.training.recipe import Recipe
from stir.training.store import Entry, models_folder, stored_models

RECIPE = Recipe(epochs=3, batch_size=4)
MADE_BY = {"architecture": "resnet10", "seed": 0, "data": "abc", "width": 4, **RECIPE.settings}
CARD = {
    "made_by": MADE_BY,
    "dataset": "digits",
    "accuracy": 0.5,
    "robust_accuracy": {"l2": 0.25, "linf": 0.125},
    "curve": [{"loss": 1.5, "accuracy": 0.5, "seconds": 1.0}] * 3,
    "seconds": 3.0,
    "hardware": "CPU, 2 threads",
    "bfloat16": False,
    "versions": {"torch": "2", "torchvision": "0", "stir-companion": "0"},
    "date": "2026-01-01T00:00:00+00:00",
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=4)
    | st.sampled_from([1e400, "<b>", "2026-01-01T00:00:00", 10**400]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
BYTES = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 2**16), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.integers(0, 2**16), st.just(0)),
    st.tuples(st.just("add"), st.binary(min_size=1, max_size=4), st.just(0)),
    st.tuples(st.just("whole"), st.binary(max_size=20) | st.sampled_from([b"{}", b"null", b"1" * 5_000]), st.just(0)),
    st.just(("whole", b"[" * 100_000, 0)),
    st.just(("add", b"", 0)),  # no damage
)
FIELDS = st.sampled_from([*CARD, "sha256", "weights_sha256", "more"])
INNER = st.sampled_from([*MADE_BY, "more"])
# A field, or one of `made_by`; what becomes of it, `...` for removal; which checksums are made anew.
CHANGES = st.tuples(FIELDS, JSON | st.just(...), st.sampled_from(["none", "card", "card", "before cards had one"]))
INNER_CHANGES = st.tuples(INNER, JSON | st.just(...), st.sampled_from(["card", "before cards had one"]))


def model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def damaged(content: bytes, damage: tuple[str, Any, int]) -> bytes:
    kind, what, mask = damage
    if kind == "flip":
        changed = bytearray(content)
        changed[what % len(content)] ^= mask
        return bytes(changed)
    if kind == "cut":
        return content[: what % len(content)]
    return content + what if kind == "add" else what


def cards(folder: Path) -> tuple[st.SearchStrategy, Callable]:
    """A stored network of which one or two files were changed: loaded, and listed by `stir models`."""
    entry = Entry(MADE_BY, models_folder())
    saved = model()
    card = entry.save(saved, CARD)
    paths = {"card": entry.path("json"), "weights": entry.path("safetensors")}
    whole = {name: path.read_bytes() for name, path in paths.items()}
    files = st.tuples(st.just("file"), st.sampled_from([*paths]), BYTES)
    fields = st.tuples(st.just("field"), st.just(""), CHANGES)
    inner = st.tuples(st.just("setting"), st.just(""), INNER_CHANGES)

    def check(drawn: tuple[str, str, Any]) -> str:
        kind, name, change = drawn
        for each, path in paths.items():
            path.write_bytes(whole[each])
        if kind == "file":
            paths[name].write_bytes(damaged(whole[name], change))
        else:
            paths["card"].write_text(json.dumps(changed_card(card, kind, change)), encoding="utf-8")
        network = model(1)
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        with redirect_stdout(io.StringIO()):
            loaded = entry.load(network)
        state = network.state_dict()
        table = stored_models()
        listed = CliRunner().invoke(main, ["models"])
        assert listed.exit_code == 0, f"`stir models` ends in {listed.exception!r}: {listed.output}"
        (row,) = table.to_dict("records")
        assert row["key"] == entry.key
        if loaded is None:
            assert all(torch.equal(tensor, before[name]) for name, tensor in state.items()), "loaded in part"
            if row["architecture"] != "(damaged)":
                # A whole card of a network whose weights are damaged, or of other settings.
                judge_card(json.loads(paths["card"].read_text(encoding="utf-8")))
            return "refused"
        assert all(torch.equal(tensor, saved.state_dict()[name]) for name, tensor in state.items()), "other weights"
        if kind == "file" or change[2] == "none":
            assert loaded == card, f"another card is believed: {loaded}"
        else:
            judge_card(loaded)
        assert row["architecture"] == loaded["made_by"]["architecture"] and row["accuracy"] == loaded["accuracy"]
        return "accepted"

    return st.one_of(files, files, fields, inner), check


def changed_card(card: dict[str, Any], kind: str, change: tuple[str, Any, str]) -> dict[str, Any]:
    """A card with a field changed, and checksums that are right for it if they are to be made anew."""
    field, value, checksums = change
    changed = json.loads(json.dumps(card))
    fields = changed if kind == "field" else changed["made_by"]
    if value is ...:
        fields.pop(field, None)
    else:
        fields[field] = value
    if checksums == "card":
        rest = {name: each for name, each in changed.items() if name != "sha256"}
        changed["sha256"] = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    elif checksums != "none":
        changed.pop("weights_sha256", None)
        changed["sha256"] = card["weights_sha256"]
    return changed


def judge_card(card: Any) -> None:
    """Assert that all that is read of a card is of its type."""
    assert isinstance(card, dict)
    assert isinstance(card["made_by"], dict) and all(
        isinstance(card[name], str) for name in ("date", "dataset", "hardware")
    )
    for rate in (card["accuracy"], *card["robust_accuracy"].values()):
        assert isinstance(rate, (int, float)) and 0 <= rate <= 1, f"an accuracy of {rate!r}"
    assert isinstance(card["curve"], list) and all(isinstance(epoch, dict) for epoch in card["curve"])
    assert isinstance(card["seconds"], (int, float)) and 0 <= card["seconds"] < math.inf
    assert isinstance(card["versions"], dict)


def checkpoints(folder: Path) -> tuple[st.SearchStrategy, Callable]:
    """A checkpoint that was changed: resumed from, and listed by `stir models`."""
    random = torch.Generator().manual_seed(0)
    data = Split(torch.rand(8, 1, 2, 2, generator=random), torch.arange(8) % 3)
    path = models_folder() / "0123456789abcdef.checkpoint"
    saving = _Training(model(), data, RECIPE, 0, False)
    saving.curve += CARD["curve"][:2]
    saving.model(data.images).sum().backward()
    saving.optimizer.step()
    saving.save(path)
    whole, saved = path.read_bytes(), Checkpoint.read(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    of_files = BYTES.map(lambda damage: ("file", damage))
    fields = st.sampled_from(["curve", "rate", "made_by", "sha256", "more"])
    epochs = st.lists(st.dictionaries(st.sampled_from(["loss", "more"]), st.floats() | JSON, max_size=2), max_size=4)
    rates = st.lists(st.floats() | JSON, max_size=2)
    of_metadata = st.tuples(
        fields, (JSON | epochs | rates).map(json.dumps) | st.text(max_size=4) | st.just(...), st.booleans()
    )
    of_tensors = st.tuples(
        st.sampled_from([*saved.tensors, "model.more", "momentum.more"]),
        st.sampled_from([..., torch.zeros(0), torch.zeros(3, 4), torch.zeros(3), torch.zeros(3).long(),
                         torch.zeros(2, dtype=torch.bfloat16), torch.zeros(3, 4, dtype=torch.complex64)]),
        st.booleans(),
    )  # fmt: skip

    def check(drawn: tuple[str, Any]) -> str:
        kind, change = drawn
        sealed = kind != "file" and change[2]
        if kind == "file":
            path.write_bytes(damaged(whole, change))
        else:
            write_checkpoint(path, dict(saved.tensors), dict(metadata), *change)
        listed = CliRunner().invoke(main, ["models"])
        assert listed.exit_code == 0, f"`stir models` ends in {listed.exception!r}: {listed.output}"
        resumed = _Training(model(1), data, RECIPE, 0, False)
        before = {name: tensor.clone() for name, tensor in resumed._tensors().items()}
        with redirect_stdout(io.StringIO()):
            resumed.resume(path)
        tensors = resumed._tensors()
        if not path.exists():
            assert not resumed.curve and _equal(tensors, before), "resumed in part"
            return "refused"
        if sealed:  # whoever made the checksum anew could write anything that a training could
            assert {*tensors} <= {*saved.tensors}, f"resumed with {[*tensors]}"
            assert all(isinstance(number, float) for epoch in resumed.curve for number in epoch.values())
            assert len(resumed.curve) < RECIPE.epochs
        else:
            assert _equal(tensors, saved.tensors) and resumed.curve == saved.curve, "other numbers are believed"
            assert resumed.optimizer.param_groups[0]["lr"] == saved.rates[0]
        return "accepted"

    of_sealed = st.one_of(of_metadata.map(lambda c: ("metadata", c)), of_tensors.map(lambda c: ("tensors", c)))
    return of_files | of_sealed, check


def write_checkpoint(path: Path, tensors: dict, metadata: dict, name: str, value: Any, sealed: bool) -> None:
    """Write a checkpoint with one of its parts changed or, for `...`, removed."""
    part: dict[str, Any] = metadata if name in (*metadata, "more") else tensors
    if value is ...:
        part.pop(name, None)
    else:
        part[name] = value
    if sealed:
        read = [metadata.get(each, "") for each in ("curve", "rate", "made_by")]
        metadata["sha256"] = digest_of(tensors, *read)
    save_file(tensors, path, metadata=metadata)


def _equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return {*first} == {*second} and all(torch.equal(tensor, second[name]) for name, tensor in first.items())
