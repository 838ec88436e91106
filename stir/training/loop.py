"""Training of networks, standard and robust, by one recipe for all architectures."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from stir.computing.ahead import Groups, on_device
from stir.computing.devices import reproducible, resolve_device
from stir.computing.memory import memory_told
from stir.computing.precision import check_precision, exact_float32, fast_bf16
from stir.computing.progress import Bar, progress_bar
from stir.computing.replay import Replayed
from stir.data.datasets import Split
from stir.networks.frozen import Frozen
from stir.training.checkpoint import Checkpoint, load_state
from stir.training.recipe import Recipe

# Longer gradients are clipped to this length: otherwise a vision transformer diverges at a learning rate that suits
# the other architectures.
MAX_GRADIENT_NORM = 1.0
# Steps after which the losses are looked at: each look waits for the GPU.
STEPS_BETWEEN_CHECKS = 50


@reproducible()
@memory_told("lower batch_size, or take smaller images, a smaller network or another device")
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

    A GPU records a step and repeats it (see `stir.computing.replay.Replayed`), so that what a network draws at random
    it must draw by PyTorch.

    Args:
        model: maps images [N, C, H, W] in [0, 1] to logits [N, K].
        split: the training images.
        recipe: loss, attack, optimizer and augmentation.
        seed: of the order of the images, their augmentation, the starts of the attack and the network's own
            random draws, such as dropout.
        precision: "auto" computes in bfloat16, where PyTorch considers that safe, on devices that are fast at it;
            weights and updates stay in float32. "float32" computes in float32 alone, with no TF32 either.
        device: "auto" or a device of PyTorch's.
        progress: show a bar, headed `label`.
        checkpoint: a file for the state after each epoch. An interrupted training resumes from it and ends with
            the same weights. The caller removes it.

    Returns:
        One dict for each epoch: `loss` and `accuracy`, means over the training images as augmented and attacked,
        and `seconds`.

    Raises:
        FloatingPointError: the loss or the weights are no longer finite; no checkpoint keeps them.
        MemoryError: a batch does not fit. It is not halved, as that would give other weights.
    """
    check_precision(precision)
    device = resolve_device(device)
    model.to(device)
    half = precision == "auto" and fast_bf16(device)
    training = _Training(model, split, recipe, seed, half)
    if checkpoint is not None:
        training.resume(checkpoint)
    curve, steps, step = training.curve, training.steps_per_epoch, Replayed(training.step, device)
    with (
        progress_bar(
            total=recipe.epochs * steps, initial=len(curve) * steps, desc=label, unit="step", show=progress
        ) as bar,
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        exact_float32(precision == "float32"),
    ):  # fmt: skip
        images, labels = split.images.to(device), split.labels.to(device)
        training.prepare(images, labels)
        for epoch in range(len(curve), recipe.epochs):
            training.run_epoch(step, _epoch_generator(seed, epoch), bar)
            bar.set_postfix(loss=f"{curve[-1]['loss']:.3f}", accuracy=f"{curve[-1]['accuracy']:.1%}")
            if checkpoint is not None and epoch + 1 < recipe.epochs:
                training.save(checkpoint)
    model.to(memory_format=torch.contiguous_format).eval()  # the layout that the store loads
    return curve


def _epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Return the generator of an epoch's draws, and seed PyTorch's global one for those of the network.

    Both depend on the seed and the epoch alone, so that a checkpoint needs no random state.
    """
    own, global_ = np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint64).tolist()
    torch.manual_seed(global_)
    return torch.Generator().manual_seed(own)


class _Training:
    """A training in progress: the network, its optimizer and schedule, and the learning curve so far."""

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
            made_by["threads"] = torch.get_num_threads()  # which changes sums by rounding
        self.made_by = json.dumps(made_by, sort_keys=True)
        self.model, self.recipe, self.half = model, recipe, half
        self.frozen = Frozen(model, device)  # for the passes of the attack
        with self.frozen as frozen:
            frozen.try_out(split.images[:1])  # finds the layout that it can be trained in
        model.to(memory_format=self.frozen.layout)
        self.steps_per_epoch = len(_batch_ends(len(split), recipe.batch_size))
        on_gpu = device.type == "cuda"
        self.optimizer = torch.optim.SGD(
            model.parameters(),
            # On the GPU, where a recorded step reads what the schedule writes.
            lr=torch.tensor(recipe.learning_rate, device=device) if on_gpu else recipe.learning_rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=recipe.weight_decay,
            # One launch for all weights; on a CPU it would only round otherwise.
            fused=True if on_gpu else None,
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            max_lr=recipe.learning_rate,
            total_steps=recipe.epochs * self.steps_per_epoch,
            cycle_momentum=False,
        )
        self.curve: list[dict[str, float]] = []

    def prepare(self, images: Tensor, labels: Tensor) -> None:
        """Take the training images and labels, fold the batch norms for the attack, and turn to train mode."""
        self.images, self.labels = images, labels
        if self.recipe.attack is not None:
            with self.frozen as frozen:
                frozen.fold(lambda: frozen(images[:1]))
        self.model.train()

    def run_epoch(self, step: Callable[..., Tensor], generator: torch.Generator, bar: Bar) -> None:
        """Train on each image once by `step`, which is `self.step` or repeats it, and add an entry to the curve."""
        began = time.perf_counter()
        total = torch.zeros(2, device=self.images.device)
        losses: list[Tensor] = []
        for (batch,), shifts, start in on_device(self._draws(self.images.shape, generator), self.images.device):
            result = step(batch, *shifts, *start)
            total += result
            losses.append(result[0])
            if len(losses) % STEPS_BETWEEN_CHECKS == 0 or len(losses) == self.steps_per_epoch:
                self._check_finite(losses)
            self.schedule.step()
            bar.update()
        loss, correct = (total / len(self.labels)).tolist()
        self.curve.append({"loss": loss, "accuracy": correct, "seconds": round(time.perf_counter() - began, 3)})

    def _draws(self, shape: torch.Size, generator: torch.Generator) -> Iterator[Groups]:
        """Yield an epoch's random draws on the CPU, by batch: its images, their shifts, the start of the attack."""
        recipe = self.recipe
        ends = _batch_ends(shape[0], recipe.batch_size)
        for batch in torch.randperm(shape[0], generator=generator).tensor_split(ends[:-1]):
            part = (len(batch), *shape[1:])
            shifts = recipe.augmenting.draw(part, generator)
            start = () if recipe.attack is None else (recipe.attack.start(part, generator),)
            yield (batch,), shifts, start

    def _check_finite(self, losses: list[Tensor]) -> None:
        """Raise a FloatingPointError unless the losses of the epoch's steps so far, and the weights, are finite."""
        wrong = [number for number, loss in enumerate(torch.stack(losses).tolist(), 1) if not math.isfinite(loss)]
        if wrong:
            problem = f"the loss is {losses[wrong[0] - 1].item()} in step {wrong[0]}"
        elif not torch.stack([tensor.isfinite().all() for tensor in self._tensors().values()]).all():
            problem = f"the network holds NaN or infinite numbers after step {len(losses)}"
        else:
            return
        raise FloatingPointError(
            f"{problem} of {self.steps_per_epoch} in epoch {len(self.curve) + 1}; "
            f"lower learning_rate={self.recipe.learning_rate}"
        )

    def step(self, batch: Tensor, *drawn: Tensor) -> Tensor:
        """Make one update on the images of `batch`, with what `_draws` has drawn for them.

        Returns:
            The batch's [sum of losses, number of correct answers].
        """
        start = () if self.recipe.attack is None else drawn[-1:]
        images = self.recipe.augmenting.apply(self.images[batch], *drawn[: len(drawn) - len(start)])
        images, labels = images.contiguous(memory_format=self.frozen.layout), self.labels[batch]
        loss, logits = self.recipe.batch_loss(self.frozen, images, labels, *start, half=self.half)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        correct = (logits.detach().argmax(dim=1) == labels).sum()
        return torch.stack([loss.detach() * len(labels), correct])

    def _tensors(self) -> dict[str, Tensor]:
        """Weights, buffers and momenta, by name."""
        state = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            if parameter in self.optimizer.state:
                state[f"momentum.{name}"] = self.optimizer.state[parameter]["momentum_buffer"]
        return state

    def save(self, path: Path) -> None:
        """Write a checkpoint; if the disk refuses, warn and go on."""
        tensors = {
            name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, tensor in self._tensors().items()
        }
        rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        try:
            Checkpoint(tensors, self.curve, rates, self.made_by).write(path)
        except (OSError, SafetensorError) as error:
            warnings.warn(
                f"{path} could not be written ({error}); if the training is interrupted now, it starts anew",
                stacklevel=3,
            )

    def resume(self, path: Path) -> None:
        """Restore the state from the checkpoint at `path`, if there is one and it is of this training."""
        if not path.exists():
            return
        try:
            checkpoint = Checkpoint.read(path)
            (rate,) = checkpoint.rates
            if checkpoint.made_by != self.made_by:
                raise ValueError("it is of another training")
            if len(checkpoint.curve) >= self.recipe.epochs:
                raise ValueError("its learning curve is longer than the training")
            tensors = checkpoint.tensors
            momenta = {
                parameter: torch.empty_like(parameter.detach()).copy_(tensors[f"momentum.{name}"])
                for name, parameter in self.model.named_parameters()
                if f"momentum.{name}" in tensors
            }
            load_state(self.model, {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")})
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            reason = str(error).partition("\n")[0]
            print(f"The checkpoint {path} cannot be used ({reason}); the training starts anew.")
            path.unlink()
            return
        for parameter, momentum in momenta.items():
            self.optimizer.state[parameter]["momentum_buffer"] = momentum
        # The schedule is a function of the step alone; the rate of the next step is the optimizer's.
        self.schedule.last_epoch = len(checkpoint.curve) * self.steps_per_epoch
        (group,) = self.optimizer.param_groups
        group["lr"] = torch.full_like(group["lr"], rate) if isinstance(group["lr"], Tensor) else rate
        self.curve.extend(checkpoint.curve)


def _batch_ends(n: int, size: int) -> list[int]:
    """End index of each batch; a single last image joins the batch before, since batch norm needs two images."""
    ends = [*range(size, n, size), n]
    return ends[:-2] + ends[-1:] if len(ends) > 1 and n - ends[-2] == 1 else ends
