"""Store of trained networks on disk, each under the hash of its settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from stir.files import digest, store_folder, write_atomically
from stir.training.checkpoint import load_state
from stir.training.losses import EPSILONS
from stir.training.recipe import Recipe

# Raise after a change, of the training, the architectures or their threads, that gives other weights for the same
# settings; part of each network's key.
TRAINING_VERSION = 6


@dataclass(frozen=True)
class Entry:
    """Place of a network in the store: a file with its weights, and a card that says what made them.

    Attributes:
        made_by: all settings that determine the weights.
        folder: where the files are.
    """

    made_by: dict[str, Any]
    folder: Path

    @property
    def key(self) -> str:
        """Hash of the settings; the name of the files."""
        text = json.dumps({"format": TRAINING_VERSION, **self.made_by}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def path(self, suffix: str) -> Path:
        return self.folder / f"{self.key}.{suffix}"

    @property
    def exists(self) -> bool:
        """True if there is a card, which may still be damaged."""
        return self.path("json").exists()

    def save(self, model: nn.Module, card: dict[str, Any]) -> dict[str, Any]:
        """Write both files, each whole or not at all, and return the card with the checksum of the weights.

        The card comes last: weights without a card do not count.
        """
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        write_atomically(self.path("safetensors"), lambda path: save_file(state, path))
        card = {**card, "sha256": digest(self.path("safetensors"))}
        text = json.dumps(card, indent=1)
        try:
            write_atomically(self.path("json"), lambda path: path.write_text(text, encoding="utf-8"))
        except OSError:
            self.path("safetensors").unlink()  # else it would take up space unlisted
            raise
        return card

    def load(self, model: nn.Module) -> dict[str, Any] | None:
        """Load the weights into `model` and return the card; None if there is no card or a file is damaged."""
        if not self.exists:
            return None
        weights = self.path("safetensors")
        try:
            card = json.loads(self.path("json").read_text(encoding="utf-8"))
            if digest(weights) != card["sha256"]:
                raise ValueError("its checksum is wrong")
            load_state(model, load_file(weights))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            print(f"The stored network {weights} is damaged ({error}); it is trained again.")
            return None
        return card


def models_folder() -> Path:
    """Folder of the networks in the current store; `$STIR_STORE` may change between two calls."""
    return store_folder() / "models"


def stored_models() -> pd.DataFrame:
    """List the networks in the store, one row each, oldest first, and after them unfinished trainings.

    Columns: key, architecture, width, dataset, loss, epsilon, epochs, seed, others (further fields of
    `Recipe` that differ from their defaults; for an unfinished training, the epochs done), accuracy, robust_l2,
    robust_linf (see `trained_model`), megabytes, date; NaN where a card does not say.
    """
    columns = ["key", "architecture", "width", "dataset", "loss", "epsilon", "epochs", "seed", "others", "accuracy"]
    robust_columns = {norm: f"robust_{norm}" for norm in EPSILONS}
    rows = []
    # Checkpoints are listed before cards, so that a training that ends in between is not missed.
    paths = {path.stem: path for path in models_folder().glob("*.checkpoint")}
    paths |= {path.stem: path for path in models_folder().glob("*.json")}
    for path in paths.values():
        weights = path.with_suffix(".safetensors") if path.suffix == ".json" else path
        entry: dict[str, Any] = {"architecture": "(damaged)"}
        try:
            entry = _describe_checkpoint(path) if path.suffix == ".checkpoint" else _describe_card(path, columns)
        except FileNotFoundError:  # removed or finished meanwhile
            continue
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            pass  # damaged
        row = {name: entry.get(name) for name in columns}
        robust = entry.get("robust_accuracy") or {}
        row |= {column: robust.get(norm) for norm, column in robust_columns.items()}
        size = weights.stat().st_size / 1e6 if weights.exists() else 0.0
        rows.append(row | {"key": path.stem, "megabytes": size, "date": entry.get("date")})
    table = pd.DataFrame(rows, columns=[*columns, *robust_columns.values(), "megabytes", "date"])
    return table.sort_values(["date", "key"], ignore_index=True)


def _describe_checkpoint(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    made_by, done = json.loads(metadata["made_by"]), len(json.loads(metadata["curve"]))
    return {**made_by, "architecture": "(unfinished)", "others": f"{done} of {made_by['epochs']} epochs done"}


def _describe_card(path: Path, columns: list[str]) -> dict[str, Any]:
    card = json.loads(path.read_text(encoding="utf-8"))
    return {**card["made_by"], **card, "others": _other_settings(card["made_by"], columns)}


def _other_settings(made_by: dict[str, Any], columns: list[str]) -> str:
    """Text of the recipe's settings that differ from their defaults and have no column."""
    defaults = Recipe(loss=made_by["loss"]).settings
    settings = {name: made_by.get(name, default) for name, default in defaults.items() if name not in columns}
    return " ".join(f"{name}={value}" for name, value in settings.items() if value != defaults[name])


def remove_models(keys: Sequence[str]) -> None:
    """Remove the networks that `stored_models` lists under `keys`: all, or none if an error is raised.

    Raises:
        ValueError: one of them is not in the store, or is being trained.
    """
    known = set(stored_models().key)
    for key in keys:
        if key not in known:
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
            for suffix in ("json", "safetensors", "checkpoint"):  # the card first: the rest does not count without it
                (models_folder() / f"{key}.{suffix}").unlink(missing_ok=True)
