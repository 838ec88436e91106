"""Trained networks by what makes them, out of the store or trained now and kept: nobody trains the same one twice."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain, groupby
from numbers import Integral

import torch
from filelock import FileLock
from safetensors import SafetensorError
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from stir.computing.devices import hardware, resolve_device
from stir.computing.parallel import in_threads, side_by_side, threads_for
from stir.computing.precision import fast_bf16
from stir.data.datasets import Dataset, load_dataset
from stir.networks.architectures import TORCHVISION, build_model
from stir.training.attacks import PGD
from stir.training.loop import accuracy, train
from stir.training.losses import EPSILONS
from stir.training.recipe import Recipe
from stir.training.store import Entry, models_folder

# What every network is tested with, so that all can be compared: PGD-20 at the usual radii, on so many test images.
ATTACKS = {norm: PGD(norm, epsilon, steps=20) for norm, epsilon in EPSILONS.items()}
ATTACKED_IMAGES = 1_000


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

    A training that was interrupted goes on after its last whole epoch, to the same weights.

    Args:
        architecture: a name as `build_model` takes it.
        dataset: what `load_dataset` returned, or a name for it.
        seed: of the initial weights, and of every draw during training.
        width: channels of the first stage; see `build_model`.
        device: where to train; the network comes back on the CPU.
        progress: show a bar while training.
        **recipe: fields of `stir.training.recipe.Recipe`, such as `loss`, `epsilon`, `epochs`.

    Returns:
        The network in eval mode. Its attribute `card` says what made it, its `accuracy` on the test
        images, its `robust_accuracy` under PGD with 20 steps, in L2 at 0.5 and in L-infinity at
        8/255, on 1,000 of them at most, the training curve, the seconds it took, the hardware, whether it
        computed in bfloat16, and the versions. A kept network is returned whatever the last three are: they move
        weights by rounding alone.

    Raises:
        ValueError: an unknown name, a value out of range, or images that the architecture cannot
            take, before anything is trained.
        TypeError: an argument that is no field of `Recipe`.
    """
    wanted = _Wanted.of(architecture, dataset, seed, width, progress, recipe)
    return wanted.get(resolve_device(device), progress)


def trained_models(
    networks: Mapping[str, Mapping], *, device: str | torch.device = "auto", progress: bool = True, **shared
) -> dict[str, nn.Sequential]:
    """Several trained networks by name; on a CPU, those that are missing are trained side by side.

    Each is the one that `trained_model` trains alone: small networks have one core either way, larger ones more (see
    `stir.computing.parallel.threads_for`).

    Args:
        networks: name -> the arguments of `trained_model` in which this network differs from the others.
        device, progress: as in `trained_model`.
        **shared: arguments of `trained_model` that all have in common.

    Raises:
        ValueError, TypeError: as `trained_model`, for any of them, before anything is trained.
    """
    device = resolve_device(device)
    wanted = _all_wanted(networks, progress, shared)
    missing = sorted(
        (name for name, each in wanted.items() if not each.entry.kept), key=lambda name: wanted[name].threads
    )
    tasks = [(wanted[name], device, progress and len(missing) < 2) for name in missing]
    alike = groupby(tasks, key=lambda task: task[0].threads)
    running = chain.from_iterable(
        side_by_side(_Wanted.get, [*group], device, threads=threads) for threads, group in alike
    )
    bar = tqdm(running, total=len(missing), desc="training", unit="network", disable=not progress, leave=False)
    made = dict(zip(missing, bar, strict=True))
    return {name: made.get(name) or each.get(device, progress) for name, each in wanted.items()}


def untrained_models(networks: Mapping[str, Mapping], *, progress: bool = True, **shared) -> dict[str, nn.Sequential]:
    """The networks of `trained_models` as they are before training; all its arguments are checked."""
    return {name: each.model for name, each in _all_wanted(networks, progress, shared).items()}


def _all_wanted(networks: Mapping[str, Mapping], progress: bool, shared: Mapping) -> dict[str, _Wanted]:
    data: dict[str, Dataset] = {}  # each loaded once, however many train on it
    wanted = {}
    for name, own in networks.items():
        asked = {"dataset": "digits", "seed": 0, "width": 64, **shared, **own}
        if "architecture" not in asked:
            raise TypeError(f"networks[{name!r}] names no architecture; give it there or, for all, as architecture=...")
        if isinstance(asked["dataset"], str):
            source = asked["dataset"]
            asked["dataset"] = data[source] = data.get(source) or load_dataset(source, progress=progress)
        parts = [asked.pop(part) for part in ("architecture", "dataset", "seed", "width")]
        wanted[name] = _Wanted.of(*parts, progress, asked)
    return wanted


@dataclass(frozen=True)
class _Wanted:
    """A network that somebody asks for, with all that its training needs; its arguments have been checked."""

    model: nn.Sequential  # untrained
    dataset: Dataset
    recipe: Recipe
    entry: Entry
    threads: int  # to train it in, on a CPU

    @classmethod
    def of(
        cls, architecture: str, dataset: str | Dataset, seed: int, width: int, progress: bool, recipe: dict
    ) -> _Wanted:
        recipe = Recipe(**recipe)
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
        if not architecture.startswith(TORCHVISION):
            made_by["width"] = int(width)
        threads = threads_for(_operations(model, architecture, dataset) * min(recipe.batch_size, len(dataset.train)))
        return cls(model, dataset, recipe, Entry(made_by, models_folder()), threads)

    def get(self, device: torch.device, progress: bool) -> nn.Sequential:
        """The trained network, from the store or trained now."""
        self.entry.folder.mkdir(parents=True, exist_ok=True)
        # A second process that wants the same network waits here for the first to train it.
        with FileLock(self.entry.path("lock")):
            card = self.entry.load(self.model)
            if card is None:
                with in_threads(self.threads) if device.type == "cpu" else nullcontext():
                    card = _train(self.model, self.dataset, self.recipe, self.entry, device, progress)
        self.model.cpu().eval()
        self.model.card = card
        return self.model


def _operations(model: nn.Module, architecture: str, dataset: Dataset) -> int:
    """Of the forward pass of one image; a ValueError where the network cannot take it."""
    shape = "x".join(map(str, dataset.train.images.shape[1:]))
    try:
        # With gradients: without, a transformer takes a shortcut past the counter.
        with FlopCounterMode(display=False) as counter:
            model.eval()(dataset.train.images[:1])
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ValueError(
            f"architecture={architecture!r} cannot take images of {shape} ({error}); choose another image_size"
        ) from error
    return counter.get_total_flops()


def _train(
    model: nn.Module, dataset: Dataset, recipe: Recipe, entry: Entry, device: torch.device, progress: bool
) -> dict:
    """Train `model` in place and keep it; returns its card."""
    made_by, checkpoint = entry.made_by, entry.path("checkpoint")
    versions = {package: version(package) for package in ("stir-companion", "torchvision")} | {
        "torch": torch.__version__
    }
    label = f"{made_by['architecture']} {recipe.loss} seed {made_by['seed']}"
    curve = train(
        model,
        dataset.train,
        recipe,
        seed=made_by["seed"],
        device=device,
        progress=progress,
        label=label,
        checkpoint=checkpoint,
    )
    # Drawn, so that the order of the test images plays no part.
    attacked = dataset.test[
        torch.randperm(len(dataset.test), generator=torch.Generator().manual_seed(0))[:ATTACKED_IMAGES]
    ]
    card = {
        "made_by": made_by,
        "dataset": dataset.name,
        "accuracy": accuracy(model, dataset.test, device=device),
        "robust_accuracy": {
            norm: accuracy(model, attacked, attack=attack, device=device) for norm, attack in ATTACKS.items()
        },
        "curve": curve,
        "seconds": round(sum(epoch["seconds"] for epoch in curve), 2),
        "hardware": hardware(device),
        "bfloat16": fast_bf16(device),
        "versions": versions,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        card = entry.save(model, card)
        checkpoint.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:  # hours of work are not thrown away for it
        warnings.warn(
            f"the trained network could not be kept in {entry.folder} ({error}); make room there or set $STIR_STORE",
            stacklevel=4,
        )
    return card
