"""Trained networks on disk, each under the hash of what made it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from stir.files import digest, store_folder, write_atomically
from stir.training.loop import fill
from stir.training.losses import EPSILONS
from stir.training.recipe import Recipe

# Raise when a change of `training`, of `architectures` or of the threads they run in makes other weights from the same settings.
FORMAT = 6


@dataclass(frozen=True)
class Entry:
    """One network's place in the store: weights and the card that says what made them."""

    made_by: dict
    folder: Path

    @property
    def key(self) -> str:
        text = json.dumps({"format": FORMAT, **self.made_by}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def path(self, suffix: str) -> Path:
        return self.folder / f"{self.key}.{suffix}"

    @property
    def kept(self) -> bool:
        """Whether there is something in this place, whole or damaged."""
        return self.path("json").exists()

    def save(self, model: nn.Module, card: dict) -> dict:
        """Write both files, each complete or not at all; the card last, since it marks the end. Returns the card."""
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        write_atomically(self.path("safetensors"), lambda path: save_file(state, path))
        card = {**card, "sha256": digest(self.path("safetensors"))}
        try:
            write_atomically(
                self.path("json"), lambda path: path.write_text(json.dumps(card, indent=1), encoding="utf-8")
            )
        except OSError:
            self.path("safetensors").unlink()  # which nothing would list
            raise
        return card

    def load(self, model: nn.Module) -> dict | None:
        """Fill `model` and return the card; None where nothing is kept or what is kept is damaged."""
        if not self.kept:
            return None
        weights = self.path("safetensors")
        try:
            card = json.loads(self.path("json").read_text(encoding="utf-8"))
            if digest(weights) != card["sha256"]:
                raise ValueError("its checksum is wrong")
            fill(model, load_file(weights))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            print(f"The stored network {weights} is damaged ({error}); it is trained again.")
            return None
        return card


def models_folder() -> Path:
    """Where the networks are, in the store of the moment: `$STIR_STORE` may change between two calls."""
    return store_folder() / "models"


def kept_models() -> pd.DataFrame:
    """The networks in the store, oldest first: one row each, by key; then trainings that are not finished.

    Columns: key, architecture, width, dataset, loss, epsilon, epochs, seed, others (further fields of
    `Recipe` that are not at their defaults; how far an unfinished training is), accuracy, robust_l2, robust_linf (see
    `trained_model`), megabytes, date; NaN where a card does not say.
    """
    columns = ["key", "architecture", "width", "dataset", "loss", "epsilon", "epochs", "seed", "others", "accuracy"]
    rows = []
    unfinished = {
        path.stem: path for path in models_folder().glob("*.checkpoint")
    }  # first: one that ends now is then among the cards
    for path in (unfinished | {path.stem: path for path in models_folder().glob("*.json")}).values():
        weights = path.with_suffix(".safetensors") if path.suffix == ".json" else path
        try:
            found = _described(path, columns)
        except FileNotFoundError:  # removed, or finished, since it was listed
            continue
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            found = {"architecture": "(damaged)"}
        robust = found.get("robust_accuracy") or {}
        row = {name: found.get(name) for name in columns} | {f"robust_{norm}": robust.get(norm) for norm in EPSILONS}
        size = weights.stat().st_size / 1e6 if weights.exists() else 0.0
        rows.append(row | {"key": path.stem, "megabytes": size, "date": found.get("date")})
    made = pd.DataFrame(rows, columns=[*columns, *(f"robust_{norm}" for norm in EPSILONS), "megabytes", "date"])
    return made.sort_values(["date", "key"], ignore_index=True)


def _described(path: Path, shown: list[str]) -> dict:
    """What a card, or a checkpoint, says of its network."""
    if path.suffix == ".checkpoint":
        with safe_open(path, framework="pt") as file:
            kept = file.metadata()
        made_by, done = json.loads(kept["made_by"]), len(json.loads(kept["curve"]))
        return {**made_by, "architecture": "(unfinished)", "others": f"{done} of {made_by['epochs']} epochs done"}
    card = json.loads(path.read_text(encoding="utf-8"))
    return {**card["made_by"], **card, "others": _others(card["made_by"], shown)}


def _others(made_by: dict, shown: list[str]) -> str:
    usual = Recipe(loss=made_by["loss"]).settings
    changed = {name: made_by.get(name, value) for name, value in usual.items() if name not in shown}
    return " ".join(f"{name}={value}" for name, value in changed.items() if value != usual[name])


def remove_models(keys: Sequence[str]) -> None:
    """Remove the networks that `kept_models` lists under `keys`.

    Raises:
        ValueError: one of them is not there, or is being trained, and none is removed.
    """
    kept = set(kept_models().key)
    for key in keys:
        if key not in kept:
            raise ValueError(f"key={key!r} is not in {models_folder()}; `stir models` lists the keys")
    with ExitStack() as locks:
        for key in dict.fromkeys(keys):
            try:
                locks.enter_context(FileLock(models_folder() / f"{key}.lock", timeout=0))
            except Timeout as error:
                raise ValueError(
                    f"key={key!r} is being trained or read by another process; wait for it or stop it first"
                ) from error
        for key in keys:
            for suffix in ("json", "safetensors", "checkpoint"):  # the card first: without it the rest does not count
                (models_folder() / f"{key}.{suffix}").unlink(missing_ok=True)
