"""Trained networks on disk, under the hash of what made them: nobody trains the same network twice."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import platformdirs
import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from stir.architectures import build_model
from stir.data import Dataset, load_dataset
from stir.devices import hardware, resolve_device
from stir.training import Recipe, accuracy, train

# Raise when a change of `training` or `architectures` makes other weights from the same settings.
FORMAT = 2


def store_folder() -> Path:
    """Where networks are kept: `$STIR_STORE`, or the user's cache folder."""
    return Path(os.environ.get("STIR_STORE") or platformdirs.user_cache_dir("stir", appauthor=False))


@dataclass(frozen=True)
class Entry:
    """One network's place in the store: weights and the card that says what made them."""

    made_by: dict
    folder: Path

    @property
    def key(self) -> str:
        text = json.dumps({"format": FORMAT, **self.made_by}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def weights(self) -> Path:
        return self.folder / f"{self.key}.safetensors"

    @property
    def card(self) -> Path:
        return self.folder / f"{self.key}.json"

    def save(self, model: nn.Module, card: dict) -> dict:
        """Write both files, each complete or not at all; the card last, since it marks the end. Returns the card."""
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        partial = self.weights.with_suffix(".partial")
        try:
            save_file(state, partial)
            os.replace(partial, self.weights)
            card = {**card, "sha256": _digest(self.weights)}
            partial.write_text(json.dumps(card, indent=1), encoding="utf-8")
            os.replace(partial, self.card)
        finally:
            partial.unlink(missing_ok=True)
        return card

    def load(self, model: nn.Module) -> dict | None:
        """Fill `model` and return the card; None where nothing is kept or what is kept is damaged."""
        if not self.card.exists():
            return None
        try:
            card = json.loads(self.card.read_text(encoding="utf-8"))
            if _digest(self.weights) != card["sha256"]:
                raise ValueError("its checksum is wrong")
            model.load_state_dict(load_file(self.weights))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            print(f"The stored network {self.weights} is damaged ({error}); it is trained again.")
            return None
        return card


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def trained_model(
    architecture: str,
    *,
    dataset: str | Dataset = "digits",
    seed: int = 0,
    width: int = 64,
    device: str | torch.device = "auto",
    progress: bool = True,
    **recipe,
) -> nn.Sequential:
    """A trained network, from the store if it is there, else trained now and kept.

    Args:
        architecture: a name from `stir.architectures.ARCHITECTURES`.
        dataset: what `load_dataset` returned, or a name for it.
        seed: of the initial weights, and of every draw during training.
        width: channels of the first stage.
        device: where to train; the network comes back on the CPU.
        progress: show a bar while training.
        **recipe: fields of `stir.training.Recipe`, such as `loss`, `epsilon`, `epochs`.

    Returns:
        The network in eval mode. Its attribute `card` says what made it, its accuracy on the test
        images, the training curve, the seconds it took and the hardware.

    Raises:
        ValueError: an unknown name or a value out of range, before anything is trained.
        TypeError: an argument that is no field of `Recipe`.
    """
    recipe = Recipe(**recipe)
    if isinstance(dataset, str):
        dataset = load_dataset(dataset)
    pixels = dataset.train.images
    model = build_model(
        architecture,
        len(dataset.classes),
        width=width,
        channels=dataset.channels,
        mean=pixels.mean(dim=(0, 2, 3)).tolist(),
        std=pixels.std(dim=(0, 2, 3)).clamp_min(1e-3).tolist(),
        seed=seed,
    )
    device = resolve_device(device)
    settings = asdict(recipe)
    if recipe.attack is None:
        del settings["epsilon"], settings["attack_steps"]  # of no effect, so not part of the key
    made_by = {"architecture": architecture, "width": width, "seed": seed, "data": dataset.fingerprint, **settings}
    entry = Entry(made_by, store_folder() / "models")
    entry.folder.mkdir(parents=True, exist_ok=True)
    # A second process that wants the same network waits here for the first to train it.
    with FileLock(entry.weights.with_suffix(".lock")):
        card = entry.load(model)
        if card is None:
            card = entry.save(model, _train(model, dataset, recipe, made_by, device, progress))
    model.cpu().eval()
    model.card = card
    return model


def _train(
    model: nn.Module, dataset: Dataset, recipe: Recipe, made_by: dict, device: torch.device, progress: bool
) -> dict:
    """Train `model` in place; returns its card."""
    start = time.perf_counter()
    seed = made_by["seed"]
    label = f"{made_by['architecture']} {recipe.loss} seed {seed}"
    curve = train(model, dataset.train, recipe, seed=seed, device=device, progress=progress, label=label)
    return {
        "made_by": made_by,
        "dataset": dataset.name,
        "accuracy": accuracy(model, dataset.test, device=device),
        "curve": curve,
        "seconds": round(time.perf_counter() - start, 2),
        "hardware": hardware(device),
        "torch": torch.__version__,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
