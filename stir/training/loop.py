"""Training of a network, standard and robust, with one recipe for every architecture."""

from __future__ import annotations

import hashlib
import json
import math
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from stir.computing.devices import reproducible, resolve_device
from stir.computing.precision import check_precision, fast_bf16
from stir.data.datasets import Split
from stir.files import write_atomically
from stir.networks.frozen import Frozen
from stir.training.attacks import PGD
from stir.training.recipe import Recipe

# The longest gradient that is followed: without it a vision transformer loses its way at a rate that suits the others.
CLIP = 1.0


@reproducible()
def train(
    model: nn.Module,
    split: Split,
    recipe: Recipe,
    *,
    seed: int = 0,
    precision: str = "auto",
    device: str | torch.device = "auto",
    progress: bool = True,
    label: str = "training",
    checkpoint: Path | None = None,
) -> list[dict[str, float]]:
    """Train `model` in place; it ends in eval mode, on the device.

    Args:
        model: takes images [N, C, H, W] in [0, 1] to logits [N, K].
        split: the training images.
        recipe: how.
        seed: of the order of the images, of their augmentation, of the attack's starts and of
            whatever the network itself draws.
        precision: "auto" computes in bfloat16, where PyTorch finds that safe, if the device is fast
            at it; weights and updates stay in float32. "float32".
        device: "auto" or a device of PyTorch's.
        progress: show a bar, headed `label`.
        checkpoint: a file to which the state is written after each epoch, and from which a
            training that was interrupted goes on, to the same weights. The caller removes it.

    Returns:
        One dict an epoch: `loss` and `accuracy`, means over the images as trained on, and `seconds`.

    Raises:
        FloatingPointError: the loss is no longer finite.
    """
    check_precision(precision)
    device = resolve_device(device)
    # Channels last is what convolutions compute in; other layouts they reorder at each layer.
    model.to(device, memory_format=torch.channels_last)
    half = precision == "auto" and fast_bf16(device)
    run = _Run(model, split, recipe, seed, half)
    if checkpoint is not None:
        run.resume(checkpoint)
    total = recipe.epochs * run.steps
    with (
        tqdm(
            total=total, initial=len(run.curve) * run.steps, desc=label, unit="step", disable=not progress, leave=False
        ) as bar,
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
    ):
        images, labels = split.images.to(device), split.labels.to(device)
        if recipe.attack is not None:
            with run.frozen as frozen:
                frozen.fold(lambda: frozen(images[:1]))
        model.train()
        for epoch in range(len(run.curve), recipe.epochs):
            run.epoch(images, labels, _stream(seed, epoch), bar)
            bar.set_postfix(loss=f"{run.curve[-1]['loss']:.3f}", accuracy=f"{run.curve[-1]['accuracy']:.1%}")
            if checkpoint is not None and epoch + 1 < recipe.epochs:
                run.keep(checkpoint)
    model.to(memory_format=torch.contiguous_format).eval()  # as it comes from the store
    return run.curve


def _stream(seed: int, epoch: int) -> torch.Generator:
    """The draws of one epoch, PyTorch's own included: each begins anew, so that none has to be remembered to go on from there."""
    own, global_ = np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint64).tolist()
    torch.manual_seed(global_)
    return torch.Generator().manual_seed(own)


class _Run:
    """A training under way: the network, its optimizer and schedule, and the curve so far."""

    def __init__(self, model: nn.Module, split: Split, recipe: Recipe, seed: int, half: bool) -> None:
        device = next(model.parameters()).device
        made_by = {
            "seed": seed,
            "data": split.fingerprint,
            "torch": torch.__version__,
            "device": device.type,
            "bfloat16": half,
            **recipe.settings,
        }
        if device.type == "cpu":
            made_by["threads"] = torch.get_num_threads()  # other sums, by rounding
        self.model, self.recipe, self.half, self.made_by = model, recipe, half, json.dumps(made_by, sort_keys=True)
        self.steps = len(_batch_ends(len(split), recipe.batch_size))  # an epoch
        self.frozen = Frozen(model, device)  # what the attack looks at
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=recipe.learning_rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=recipe.learning_rate, total_steps=recipe.epochs * self.steps, cycle_momentum=False
        )
        self.curve: list[dict[str, float]] = []

    def epoch(self, images: Tensor, labels: Tensor, generator: torch.Generator, bar: tqdm) -> None:
        """One pass over the images; adds a line to the curve."""
        start = time.perf_counter()
        total = torch.zeros(2, device=images.device)
        ends = _batch_ends(len(labels), self.recipe.batch_size)
        for batch in torch.randperm(len(labels), generator=generator).tensor_split(ends[:-1]):
            batch = batch.to(images.device)
            inputs = _augment(images[batch], self.recipe.augmentation, generator, self.recipe.augmentation_strength)
            total += self._step(inputs.contiguous(memory_format=torch.channels_last), labels[batch], generator)
            self.schedule.step()
            bar.update()
        loss, correct = (total / len(labels)).tolist()
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} in epoch {len(self.curve) + 1}; lower learning_rate={self.recipe.learning_rate}"
            )
        self.curve.append({"loss": loss, "accuracy": correct, "seconds": round(time.perf_counter() - start, 3)})

    def _step(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """One update; returns the batch's [sum of losses, count of correct answers]."""
        loss, logits = self.recipe.loss_of(self.frozen, images, labels, generator, self.half)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        correct = (logits.detach().argmax(dim=1) == labels).sum()
        return torch.stack([loss.detach() * len(labels), correct])

    def _tensors(self) -> dict[str, Tensor]:
        """Weights, buffers and momenta, by name."""
        momenta = {
            name: self.optimizer.state[p]["momentum_buffer"]
            for name, p in self.model.named_parameters()
            if p in self.optimizer.state
        }
        return {f"model.{name}": t for name, t in self.model.state_dict().items()} | {
            f"momentum.{name}": t for name, t in momenta.items()
        }

    def keep(self, checkpoint: Path) -> None:
        """Write the state; a disk that refuses costs the checkpoint, not the training."""
        tensors = {
            name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, tensor in self._tensors().items()
        }
        rest = {
            "curve": json.dumps(self.curve),
            "rate": json.dumps(self.schedule.get_last_lr()),
            "made_by": self.made_by,
            "sha256": _digest(tensors),
        }
        try:
            write_atomically(checkpoint, lambda path: save_file(tensors, path, metadata=rest))
        except (OSError, SafetensorError) as error:
            warnings.warn(
                f"{checkpoint} could not be written ({error}); if the training is interrupted now, it starts anew",
                stacklevel=3,
            )

    def resume(self, checkpoint: Path) -> None:
        """Go on from `checkpoint`, if there is one and it is whole."""
        if not checkpoint.exists():
            return
        try:
            with safe_open(checkpoint, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
                kept = file.metadata()
            curve, (rate,) = (json.loads(kept[name]) for name in ("curve", "rate"))
            if kept["sha256"] != _digest(tensors):
                raise ValueError("its checksum is wrong")
            if kept["made_by"] != self.made_by:
                raise ValueError("it is of another training")
            fill(
                self.model, {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            reason = str(error).partition("\n")[0]
            print(f"The checkpoint {checkpoint} cannot be used ({reason}); the training starts anew.")
            checkpoint.unlink()
            return
        for name, parameter in self.model.named_parameters():
            if f"momentum.{name}" in tensors:
                self.optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter.detach()).copy_(
                    tensors[f"momentum.{name}"]
                )
        # The schedule is a function of the step; the optimizer holds the rate for the next one.
        self.schedule.last_epoch = len(curve) * self.steps
        self.optimizer.param_groups[0]["lr"] = rate
        self.curve = curve


def fill(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Load a state into `model`, all of it or nothing.

    Raises:
        ValueError: names or shapes differ, and nothing is loaded.
    """
    own = model.state_dict()
    wrong = sorted(own.keys() ^ state.keys()) or [
        name for name, tensor in own.items() if tensor.shape != state[name].shape
    ]
    if wrong:
        raise ValueError(f"it is of another network, by its {wrong[0]!r}")
    model.load_state_dict(state)


def _digest(tensors: dict[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _batch_ends(n: int, size: int) -> list[int]:
    """Where each batch ends: an image that would be left alone, of which batch norm can take no variance, joins the last one."""
    ends = [*range(size, n, size), n]
    return ends[:-2] + ends[-1:] if len(ends) > 1 and n - ends[-2] == 1 else ends


def _augment(images: Tensor, augmentation: str, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Move each image by its own whole number of pixels, filled up with zeros; mirror half of them."""
    if augmentation == "none":
        return images
    n, _, height, width = images.shape
    reach = round(strength * max(height // 8, 1))
    padded = F.pad(images, (reach,) * 4)
    moves = torch.randint(2 * reach + 1, (2, n, 1), generator=generator)
    rows = (moves[0] + torch.arange(height)).to(images.device)
    columns = (moves[1] + torch.arange(width)).to(images.device)
    if augmentation == "shift-flip":
        flip = torch.rand(n, 1, generator=generator).to(images.device) < 0.5
        columns = torch.where(flip, columns.flip(1), columns)
    index = torch.arange(n, device=images.device)[:, None, None]
    # The slice between the indices sends the channels last; they go back to their place.
    return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


@reproducible()
def accuracy(
    model: nn.Module,
    split: Split,
    *,
    attack: PGD | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    batch_size: int = 500,
) -> float:
    """Share of the images that `model`, in eval mode, classifies correctly, in [0, 1]; under `attack` if one is given.

    The attack may be searched for in bfloat16; whether it succeeds is decided in float32.
    """
    device = resolve_device(device)
    generator = torch.Generator().manual_seed(seed)
    correct = 0
    with Frozen(model, device) as frozen:
        frozen.fold(lambda: frozen(split.images[:1]))
        for images, labels in zip(split.images.split(batch_size), split.labels.split(batch_size), strict=True):
            images, labels = images.to(device), labels.to(device)
            if attack is not None:
                images = attack(partial(frozen, half=fast_bf16(device)), images, labels, generator)
            with torch.no_grad():
                correct += int((frozen(images).argmax(dim=1) == labels).sum())
    return correct / len(split)
