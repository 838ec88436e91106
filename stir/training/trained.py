"""Trained networks by their settings: loaded from the store, or trained now and stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

import torch
from torch import nn

from stir.computing.devices import resolve_device
from stir.computing.parallel import side_by_side
from stir.computing.progress import progress_bar
from stir.data.datasets import Dataset, load_dataset
from stir.training.collection import TrainedModels
from stir.training.request import ATTACKS, TrainedModel, TrainingRequest, warn_of_chance

__all__ = [
    "ATTACKS",
    "TrainedModel",
    "TrainedModels",
    "networks_to_train",
    "trained_model",
    "trained_models",
    "untrained_models",
]


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
            take; test images outside [0, 1], or whose labels are no class numbers; or the store lacks the network and
            cannot be written; nothing is trained then.
        TypeError: an argument that is no field of `Recipe`.

    Warns:
        UserWarning: the network is at chance level; or it cannot be kept.
    """
    request = TrainingRequest.prepare(architecture, dataset, seed, width, progress, recipe)
    trained = request.fetch(resolve_device(device), progress)
    request.entry.card()  # which notes that it is used
    warn_of_chance(trained.card, "the network")
    return trained


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
    requests: Mapping[str, TrainingRequest], device: torch.device, progress: bool
) -> Iterator[tuple[str, TrainedModel]]:
    """Yield the networks by name as they are trained; last those that another process trains meanwhile."""
    waiting = sorted(requests, key=lambda name: requests[name].threads)
    for fetch in (TrainingRequest.fetch_unless_busy, TrainingRequest.fetch):
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


def _missing(requests: Mapping[str, TrainingRequest]) -> list[str]:
    return [name for name, request in requests.items() if request.entry.card() is None]


def untrained_models(networks: Mapping[str, Mapping], *, progress: bool = True, **shared) -> dict[str, nn.Sequential]:
    """Build the networks of `trained_models` as they are before training, after the same checks of all arguments."""
    return {name: request.model for name, request in _prepare_all(networks, progress, shared).items()}


def _prepare_all(networks: Mapping[str, Mapping], progress: bool, shared: Mapping) -> dict[str, TrainingRequest]:
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
        requests[name] = TrainingRequest.prepare(architecture, dataset, seed, width, progress, arguments)
    return requests
