"""Store of trained networks on disk, each under the hash of its settings."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from stir import kept
from stir.computing.progress import telling
from stir.data.folders import image_litter
from stir.files import (
    check_card,
    check_made_of,
    digest,
    key_of,
    lock,
    read_fields,
    store_folder,
    write_atomically,
    write_card,
)
from stir.kept import DAMAGE, evidence_folder, is_fresh, note_use
from stir.training.checkpoint import Checkpoint, load_state
from stir.training.losses import EPSILONS
from stir.training.recipe import Recipe

# Raise after a change, of the training, the architectures or their threads, that gives other weights for the same
# settings; part of each network's key. Tests compare weights with those of this version.
TRAINING_VERSION = 6
# Fields of a card, besides the checksum of the weights, which older cards lack.
CARD_FIELDS: dict[str, type | tuple[type, ...]] = {
    "made_by": dict, "dataset": str, "accuracy": (int, float), "robust_accuracy": dict, "curve": list,
    "seconds": (int, float), "hardware": str, "bfloat16": bool, "versions": dict, "date": str, "sha256": str,
}  # fmt: skip
# Seconds to wait for another process before saying so.
PATIENCE = 1.0


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
        return key_of({"format": TRAINING_VERSION, **self.made_by})

    def path(self, suffix: str) -> Path:
        return self.folder / f"{self.key}.{suffix}"

    @property
    def exists(self) -> bool:
        """True if there is a card, which may still be damaged."""
        return self.path("json").exists()

    def card(self) -> dict[str, Any] | None:
        """The card, from the store if it has the weights too, else from the evidence; None if there is no whole one."""
        evidence = None if is_fresh() else evidence_folder()
        places = {"kept": self.path("json")} if self.path("safetensors").exists() else {}
        if evidence is not None:
            places["evidence"] = evidence / self.folder.name / self.path("json").name
        for word, path in places.items():
            try:
                card = read_card(path)
                check_made_of(card["made_by"], self.made_by, "network")
            except DAMAGE:
                continue
            note_use(path, word)
            return card
        return None

    @property
    def is_locked(self) -> bool:
        """True while another process trains or reads this network."""
        try:
            with lock(self.path("json")).acquire(timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # a store that cannot be written, or is not there yet
            return False

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Keep other processes from training this network or removing it; wait, and say so, while one of them does.

        Yields False, without a lock, if the store cannot be written: who only reads it needs none.
        """
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                try:
                    stack.enter_context(lock(self.path("json")).acquire(timeout=PATIENCE))
                except Timeout:
                    settings = ", ".join(f"{name}={value}" for name, value in self.made_by.items() if name != "data")
                    with telling(f"Waiting for another process that trains or reads {self.key} ({settings})"):
                        stack.enter_context(lock(self.path("json")).acquire())
                writable = True
            except OSError:
                writable = False
            yield writable

    def save(self, model: nn.Module, card: dict[str, Any]) -> dict[str, Any]:
        """Write both files, each whole or not at all, and return the card with the checksums of the weights and itself.

        The card comes last: weights without a card do not count.
        """
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        write_atomically(self.path("safetensors"), lambda path: save_file(state, path))
        card = {**card, "weights_sha256": digest(self.path("safetensors"))}
        try:
            return write_card(self.path("json"), card, indent=1)
        except OSError:
            self.path("safetensors").unlink()  # else it would take up space unlisted
            raise

    def load(self, model: nn.Module) -> dict[str, Any] | None:
        """Load the weights into `model` and return the card; None if there is no card or a file is damaged."""
        if not self.exists:
            return None
        weights = self.path("safetensors")
        try:
            card = read_card(self.path("json"))
            check_made_of(card["made_by"], self.made_by, "network")
            if digest(weights) != card.get("weights_sha256", card["sha256"]):
                raise ValueError("its checksum is wrong")
            state = load_file(weights)
            if not all(tensor.isfinite().all() for tensor in state.values()):
                raise ValueError("it holds NaN or infinite weights")
            load_state(model, state)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            print(f"The stored network {weights} is damaged ({error}); it is trained again.")
            return None
        return card


def read_card(path: Path) -> dict[str, Any]:
    """Read a card, if it is whole.

    Raises:
        OSError, ValueError, TypeError, RecursionError: it is damaged.
    """
    card = read_fields(path, CARD_FIELDS)
    rates = [card["accuracy"], *card["robust_accuracy"].values()]
    sound = {
        "curve": all(isinstance(epoch, dict) for epoch in card["curve"]),
        "seconds": 0 <= card["seconds"] < math.inf,
        "an accuracy": all(isinstance(rate, (int, float)) and 0 <= rate <= 1 for rate in rates),
    }
    wrong = [name for name, is_sound in sound.items() if not is_sound]
    if wrong:
        raise ValueError(f"its card has {', '.join(wrong)} of another kind")
    # A card from before there was `weights_sha256` has the checksum of the weights alone, as `sha256`.
    if "weights_sha256" in card:
        check_card(card)
    return card


def models_folder() -> Path:
    """Folder of the networks in the current store; `$STIR_STORE` may change between two calls."""
    return store_folder() / "models"


def litter() -> list[Path]:
    """Files that killed runs left in the store: half-written ones, checkpoints of finished networks, weights without a
    card; and decoded images that are superseded.

    A run in progress may have such files too, under its lock (see `stir.files.abandoned`).
    """
    folder = models_folder()
    cards = {path.stem for path in folder.glob("*.json")}
    weights = {path.stem: path for path in folder.glob("*.safetensors")}
    finished = cards & weights.keys()
    checkpoints = [path for path in folder.glob("*.checkpoint") if path.stem in finished]
    without_card = [path for stem, path in weights.items() if stem not in cards]
    return sorted([*folder.glob("*.partial"), *checkpoints, *without_card, *image_litter(), *kept.litter()])


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
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError):
            pass  # damaged; a RuntimeError if it is nested too deeply
        row = {name: entry.get(name) for name in columns}
        robust = entry.get("robust_accuracy") or {}
        row |= {column: robust.get(norm) for norm, column in robust_columns.items()}
        size = weights.stat().st_size / 1e6 if weights.exists() else 0.0
        rows.append(row | {"key": path.stem, "megabytes": size, "date": entry.get("date")})
    table = pd.DataFrame(rows, columns=[*columns, *robust_columns.values(), "megabytes", "date"])
    return table.sort_values(["date", "key"], ignore_index=True)


def _describe_checkpoint(path: Path) -> dict[str, Any]:
    checkpoint = Checkpoint.read(path)
    made_by, done = json.loads(checkpoint.made_by), len(checkpoint.curve)
    return {**made_by, "architecture": "(unfinished)", "others": f"{done} of {made_by['epochs']} epochs done"}


def _describe_card(path: Path, columns: list[str]) -> dict[str, Any]:
    card = read_card(path)
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
                locks.enter_context(lock(models_folder() / f"{key}.json").acquire(timeout=0))
            except Timeout as error:
                raise ValueError(
                    f"key={key!r} is being trained or read by another process; wait for it or stop it first"
                ) from error
            except OSError as error:
                raise ValueError(f"the store {store_folder()} cannot be written ({error.strerror})") from error
        for key in keys:
            for suffix in ("json", "safetensors", "checkpoint"):  # the card first: the rest does not count without it
                (models_folder() / f"{key}.{suffix}").unlink(missing_ok=True)
