"""Trained networks by their settings: loaded from the store, or trained now and stored."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from numbers import Integral
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from stir.computing.devices import hardware, resolve_device
from stir.computing.parallel import in_threads, side_by_side, threads_for
from stir.computing.precision import fast_bf16
from stir.computing.progress import progress_bar
from stir.data.datasets import Dataset, Split, load_dataset
from stir.files import remove_litter, store_folder
from stir.networks.architectures import TORCHVISION_PREFIX, build_model
from stir.training.attacks import PGD
from stir.training.chance import chance_level, is_at_chance
from stir.training.loop import accuracy, train
from stir.training.losses import EPSILONS
from stir.training.recipe import Recipe
from stir.training.store import Entry, litter, models_folder

# Every network is tested under these attacks, so that all can be compared, on at most so many test images.
ATTACKS = {norm: PGD(norm, epsilon, steps=20) for norm, epsilon in EPSILONS.items()}
ATTACKED_IMAGES = 1_000


class TrainedModel(nn.Sequential):
    """A trained network; `card` says what made it and how well it does, as `trained_model` describes."""

    card: dict[str, Any]


def trained_model(
    architecture: str,
    *,
    dataset: str | Dataset = "digits",
    seed: int = 0,
    width: int = 64,
    device: str | torch.device = "auto",
    progress: bool = True,
    **recipe,
) -> TrainedModel:
    """Load a trained network from the store, or train it now and store it.

    An interrupted training resumes after its last whole epoch and ends with the same weights.

    Args:
        architecture: a name that `build_model` knows.
        dataset: a data set from `load_dataset`, or its name there.
        seed: of the initial weights, and of every random draw during training.
        width: channels of the first stage; see `build_model`.
        device: where to train; the network is returned on the CPU.
        progress: show a bar while training.
        **recipe: fields of `stir.training.recipe.Recipe`, such as `loss`, `epsilon`, `epochs`.

    Returns:
        The network in eval mode. Its attribute `card` is a dict with the settings that made it, its
        `accuracy` on the test images, its `robust_accuracy` under PGD with 20 steps, in L2 at 0.5 and in
        L-infinity at 8/255, on at most 1,000 of them, the training curve, the seconds it took, the hardware,
        whether it computed in bfloat16, and the versions. A stored network is returned even if the last three
        differ from the present ones: they change weights only by rounding.

    Raises:
        ValueError: an unknown name, a value out of range, or images that the architecture cannot
            take; or the store lacks the network and cannot be written; nothing is trained then.
        TypeError: an argument that is no field of `Recipe`.

    Warns:
        UserWarning: the network is at chance level; or it cannot be kept.
    """
    request = _TrainingRequest.prepare(architecture, dataset, seed, width, progress, recipe)
    trained = request.fetch(resolve_device(device), progress)
    _warn_of_chance(trained.card, "the network")
    return trained


class TrainedModels(Mapping[str, TrainedModel]):
    """Trained networks by name. Each is read from the store when it is asked for, and anew each time.

    So what is done to a network after it was read, such as pruning it, never passes for the one that `cards` describe,
    and a page of kept measurements reads no weights.

    """

    def __init__(
        self,
        requests: Mapping[str, _TrainingRequest],
        device: torch.device,
        progress: bool,
        trained: Mapping[str, TrainedModel],
    ) -> None:
        self._cards: dict[str, dict[str, Any]] = {}  # shared with those that `only` returns
        for name, request in requests.items():
            card = request.entry.card()  # which notes that it is used
            self._cards[name] = trained[name].card if card is None else card
            _warn_of_chance(self._cards[name], repr(name))
        self._requests, self._device, self._progress = requests, device, progress
        self._trained = {name: trained[name] for name in trained if not requests[name].entry.exists}  # a full disk

    def __getitem__(self, name: str) -> TrainedModel:
        """Read a network from the store; if it is not there, as where there is the evidence alone, train it now."""
        if name in self._trained:
            return copy.deepcopy(self._trained[name])
        model = self._requests[name].fetch(self._device, self._progress)
        self._cards[name] = model.card  # of another training, where the weights were gone
        return model

    def __contains__(self, name: object) -> bool:
        return name in self._requests

    def __iter__(self) -> Iterator[str]:
        return iter(self._requests)

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def cards(self) -> dict[str, dict[str, Any]]:
        """Name -> the card, as `trained_model` describes it."""
        return {name: self._cards[name] for name in self._requests}

    def key(self, name: str) -> str:
        """What identifies a network: the hash of all that made it, and that of its weights.

        The same settings make weights that differ by rounding on another machine.
        """
        card = self._cards[name]
        return f"{self._requests[name].entry.key} {card.get('weights_sha256', card.get('sha256'))}"

    def only(self, names: Iterable[str]) -> TrainedModels:
        """Some of the networks, in the order of `names`."""
        some = copy.copy(self)
        some._requests = {name: self._requests[name] for name in names}
        return some


def trained_models(
    networks: Mapping[str, Mapping], *, device: str | torch.device = "auto", progress: bool = True, **shared
) -> TrainedModels:
    """Load or train several networks, by name; on a CPU, those not in the store are trained side by side.

    Each is the network that `trained_model` trains alone: small networks use one core in both cases, larger ones
    more (see `stir.computing.parallel.threads_for`). Those that are known from the evidence alone (`stir.kept`) are
    trained only when they are asked for.

    Args:
        networks: name -> the arguments of `trained_model` that are particular to this network.
        device, progress: as in `trained_model`.
        **shared: arguments of `trained_model` for all networks.

    Raises:
        ValueError, TypeError: as `trained_model`, for any of them; nothing is trained then.
    """
    device = resolve_device(device)
    requests = _prepare_all(networks, progress, shared)
    missing = _missing(requests)
    results = _fetch_all({name: requests[name] for name in missing}, device, progress and len(missing) < 2)
    bar = progress_bar(results, total=len(missing), desc="training", unit="network", show=progress)
    return TrainedModels(requests, device, progress, dict(bar))


def _fetch_all(
    requests: Mapping[str, _TrainingRequest], device: torch.device, progress: bool
) -> Iterator[tuple[str, TrainedModel]]:
    """Yield the networks by name as they are trained; last those that another process trains meanwhile."""
    waiting = sorted(requests, key=lambda name: requests[name].threads)
    for fetch in (_TrainingRequest.fetch_unless_busy, _TrainingRequest.fetch):
        names, waiting = waiting, []
        for threads, group in groupby(names, key=lambda name: requests[name].threads):
            some = [*group]
            tasks = [(requests[name], device, progress) for name in some]
            for name, model in zip(some, side_by_side(fetch, tasks, device, threads=threads), strict=True):
                if model is None:
                    waiting.append(name)
                else:
                    yield name, model


def networks_to_train(networks: Mapping[str, Mapping], *, progress: bool = True, **shared) -> list[str]:
    """Names of the networks that `trained_models` would train, after the same checks of all arguments."""
    return _missing(_prepare_all(networks, progress, shared))


def _missing(requests: Mapping[str, _TrainingRequest]) -> list[str]:
    return [name for name, request in requests.items() if request.entry.card() is None]


def untrained_models(networks: Mapping[str, Mapping], *, progress: bool = True, **shared) -> dict[str, nn.Sequential]:
    """Build the networks of `trained_models` as they are before training, after the same checks of all arguments."""
    return {name: request.model for name, request in _prepare_all(networks, progress, shared).items()}


def _prepare_all(networks: Mapping[str, Mapping], progress: bool, shared: Mapping) -> dict[str, _TrainingRequest]:
    datasets: dict[str, Dataset] = {}  # each is loaded once, for all networks that train on it
    requests = {}
    for name, particular in networks.items():
        arguments = {"dataset": "digits", "seed": 0, "width": 64, **shared, **particular}
        if "architecture" not in arguments:
            raise TypeError(f"networks[{name!r}] names no architecture; give it there or, for all, as architecture=...")
        architecture, dataset, seed, width = (
            arguments.pop(part) for part in ("architecture", "dataset", "seed", "width")
        )
        if isinstance(dataset, str):
            if dataset not in datasets:
                datasets[dataset] = load_dataset(dataset, progress=progress)
            dataset = datasets[dataset]
        requests[name] = _TrainingRequest.prepare(architecture, dataset, seed, width, progress, arguments)
    return requests


@dataclass(frozen=True)
class _TrainingRequest:
    """A network to load or to train, with checked arguments."""

    model: nn.Sequential  # untrained
    dataset: Dataset
    recipe: Recipe
    entry: Entry
    threads: int  # for the training, on a CPU

    @classmethod
    def prepare(
        cls, architecture: str, dataset: str | Dataset, seed: int, width: int, progress: bool, settings: dict[str, Any]
    ) -> _TrainingRequest:
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
            model.eval()(torch.zeros(1, *dataset.train.shape[1:]))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ValueError(
            f"architecture={architecture!r} cannot take images of {shape} ({error}); choose another image_size"
        ) from error
    return counter.get_total_flops()


def _warn_of_chance(card: Mapping[str, Any], name: str) -> None:
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
