"""One network to train: checked, looked up in the store, or trained, tested and stored."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from numbers import Integral
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from stir.computing.devices import hardware
from stir.computing.parallel import in_threads, threads_for
from stir.computing.precision import fast_bf16
from stir.data.datasets import Dataset, Split, load_dataset
from stir.files import remove_litter, store_folder
from stir.networks.architectures import TORCHVISION_PREFIX, build_model
from stir.training.accuracy import accuracy, check_split
from stir.training.attacks import PGD
from stir.training.chance import chance_level, is_at_chance
from stir.training.loop import train
from stir.training.losses import EPSILONS
from stir.training.recipe import Recipe
from stir.training.store import Entry, litter, models_folder

# Every network is tested under these attacks, so that all can be compared, on at most so many test images.
ATTACKS = {norm: PGD(norm, epsilon, steps=20) for norm, epsilon in EPSILONS.items()}
ATTACKED_IMAGES = 1_000


class TrainedModel(nn.Sequential):
    """A trained network; `card` says what made it and how well it does, as `trained_model` describes."""

    card: dict[str, Any]


@dataclass(frozen=True)
class TrainingRequest:
    """A network to load or to train, with checked arguments."""

    model: nn.Sequential  # untrained
    dataset: Dataset
    recipe: Recipe
    entry: Entry
    threads: int  # for the training, on a CPU

    @classmethod
    def prepare(
        cls, architecture: str, dataset: str | Dataset, seed: int, width: int, progress: bool, settings: dict[str, Any]
    ) -> TrainingRequest:
        recipe = Recipe(**settings)
        if not isinstance(seed, Integral) or seed < 0:
            raise ValueError(f"seed={seed!r} must be a whole number, at least 0")
        if isinstance(dataset, str):
            dataset = load_dataset(dataset, progress=progress)
        model = build_model(
            architecture,
            len(dataset.classes),
            width=width,
            channels=dataset.channels,
            seed=seed,
            **dataset.normalization,
        )
        made_by = {"architecture": architecture, "seed": int(seed), "data": dataset.fingerprint, **recipe.settings}
        if not architecture.startswith(TORCHVISION_PREFIX):
            made_by["width"] = int(width)
        batch_size = min(recipe.batch_size, len(dataset.train))
        threads = threads_for(_count_operations(model, architecture, dataset) * batch_size)
        return cls(model, dataset, recipe, Entry(made_by, models_folder()), threads)

    def fetch_unless_busy(self, device: torch.device, progress: bool) -> TrainedModel | None:
        """Return the trained network; None if another process is training it, which is then waited for later."""
        return None if self.entry.is_locked else self.fetch(device, progress)

    def fetch(self, device: torch.device, progress: bool) -> TrainedModel:
        """Return the trained network, from the store or trained now."""
        remove_litter(litter)
        model = copy.deepcopy(self.model)  # that of the request stays untrained
        with self.entry.locked() as writable:
            card = self.entry.load(model)
            if card is None:
                if not writable:
                    raise ValueError(
                        f"the store {store_folder()} does not hold this network and cannot be written; set STIR_STORE "
                        "to a folder that can, with room in it"
                    )
                with in_threads(self.threads) if device.type == "cpu" else nullcontext():
                    card = _train_and_store(model, self.dataset, self.recipe, self.entry, device, progress)
        trained = TrainedModel(OrderedDict(model.named_children())).cpu().eval()
        trained.card = card
        return trained


def _count_operations(model: nn.Module, architecture: str, dataset: Dataset) -> int:
    """Count the floating-point operations of the forward pass of one image.

    Raises:
        ValueError: the network cannot take the images.
    """
    shape = "x".join(map(str, dataset.train.shape[1:]))
    try:
        # With gradients: without them, a transformer takes a fast path that the counter does not see.
        with FlopCounterMode(display=False) as counter:
            model.eval()(torch.zeros(1, *dataset.train.shape[1:], dtype=torch.float32))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ValueError(
            f"architecture={architecture!r} cannot take images of {shape} ({error}); choose another image_size"
        ) from error
    return counter.get_total_flops()


def warn_of_chance(card: Mapping[str, Any], name: str) -> None:
    """Warn of a network that learnt nothing, whether it was trained now or before."""
    if card.get("at_chance"):
        recipe = card["made_by"]
        warnings.warn(
            f"{name}, {recipe['architecture']}, ended at chance level: it classifies {card['accuracy']:.1%} of the "
            f"test images correctly, and {card['chance']:.1%} are of the most frequent class; what it has in common "
            f"with others says nothing; change learning_rate={recipe['learning_rate']:g} or epochs={recipe['epochs']}",
            stacklevel=4,
        )


def _train_and_store(
    model: nn.Module, dataset: Dataset, recipe: Recipe, entry: Entry, device: torch.device, progress: bool
) -> dict[str, Any]:
    """Train `model` in place, test it and store it; return its card."""
    made_by, checkpoint = entry.made_by, entry.path("checkpoint")
    train_split, test_split = dataset.train[:], dataset.test[:]  # loaded, if they were deferred
    check_split(test_split)  # before the training, after which it is tested on
    curve = train(
        model,
        train_split,
        recipe,
        seed=made_by["seed"],
        device=device,
        progress=progress,
        label=f"{made_by['architecture']} {recipe.loss} seed {made_by['seed']}",
        checkpoint=checkpoint,
    )
    versions = {package: version(package) for package in ("stir-companion", "torchvision")}
    card = {
        "made_by": made_by,
        "dataset": dataset.name,
        "accuracy": (rate := accuracy(model, test_split, device=device)),
        "chance": chance_level(test_split.counts),
        "at_chance": is_at_chance(rate, test_split.counts),
        "robust_accuracy": _robust_accuracy(model, test_split, device),
        "curve": curve,
        "seconds": round(sum(epoch["seconds"] for epoch in curve), 2),
        "hardware": hardware(device),
        "bfloat16": fast_bf16(device),
        "versions": versions | {"torch": torch.__version__},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        card = entry.save(model, card)
        checkpoint.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:  # rather return hours of work unstored than lose them
        warnings.warn(
            f"the trained network could not be kept in {entry.folder} ({error}); make room there or set $STIR_STORE",
            stacklevel=4,
        )
    return card


def _robust_accuracy(model: nn.Module, test: Split, device: torch.device) -> dict[str, float]:
    """Accuracy under each of `ATTACKS`."""
    # A random subset, because test images may be sorted.
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
    attacked = test[order[:ATTACKED_IMAGES]]
    return {norm: accuracy(model, attacked, attack=attack, device=device) for norm, attack in ATTACKS.items()}
