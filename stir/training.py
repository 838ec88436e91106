"""Standard and adversarial training of a network, with one recipe for every architecture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from stir.attacks import PGD
from stir.data import Split
from stir.devices import check_precision, fast_bf16, resolve_device

LOSSES = ("standard", "adversarial-l2", "adversarial-linf")
AUGMENTATIONS = ("none", "shift", "shift-flip")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum 0.9 on a one-cycle schedule.

    Attributes:
        loss: "standard", cross-entropy; "adversarial-l2" or "adversarial-linf", cross-entropy on
            the images that `PGD` finds within `epsilon` (Madry et al. 2018, eq. 2.1).
        epsilon: radius of the ball, for pixels in [0, 1]; of no effect on "standard".
        attack_steps: PGD's steps; of no effect on "standard".
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: the schedule's peak.
        weight_decay: on every parameter.
        augmentation: "none"; "shift", a random move by up to an eighth of the image; or
            "shift-flip", that and a random mirroring.

    Raises:
        ValueError: a name that is unknown or a number out of range.
    """

    loss: str = "standard"
    epsilon: float = 1.0
    attack_steps: int = 4
    epochs: int = 15
    batch_size: int = 128
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    augmentation: str = "none"

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss={self.loss!r} is unknown; use one of {', '.join(LOSSES)}")
        if self.augmentation not in AUGMENTATIONS:
            raise ValueError(f"augmentation={self.augmentation!r} is unknown; use one of {', '.join(AUGMENTATIONS)}")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("learning_rate", "epsilon"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be above 0")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay={self.weight_decay} must not be negative")
        if self.attack_steps < 1:
            raise ValueError(f"attack_steps={self.attack_steps} must be at least 1")

    @property
    def attack(self) -> PGD | None:
        """The attack that is trained against; None for standard training."""
        if self.loss == "standard":
            return None
        return PGD(self.loss.removeprefix("adversarial-"), self.epsilon, self.attack_steps)


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
) -> list[dict[str, float]]:
    """Train `model` in place; it ends in eval mode, on the device.

    Args:
        model: takes images [N, C, H, W] in [0, 1] to logits [N, K].
        split: the training images.
        recipe: how.
        seed: of the order of the images, of their augmentation and of the attack's starts.
        precision: "auto" computes in bfloat16, where PyTorch finds that safe, if the device is fast
            at it; weights and updates stay in float32. "float32".
        device: "auto" or a device of PyTorch's.
        progress: show a bar, headed `label`.

    Returns:
        One dict an epoch: `loss` and `accuracy`, means over the images as trained on.
    """
    check_precision(precision)
    device = resolve_device(device)
    # Channels last is what convolutions compute in; other layouts they reorder at each layer.
    model.to(device, memory_format=torch.channels_last)
    images, labels = split.images.to(device), split.labels.to(device)
    half = torch.autocast(device.type, torch.bfloat16, enabled=precision == "auto" and fast_bf16(device))
    generator = torch.Generator().manual_seed(seed)
    steps = -(-len(split) // recipe.batch_size)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.learning_rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.learning_rate, total_steps=recipe.epochs * steps, cycle_momentum=False
    )
    curve = []
    with tqdm(total=recipe.epochs * steps, desc=label, unit="step", disable=not progress, leave=False) as bar:
        for _ in range(recipe.epochs):
            total = torch.zeros(2, device=device)
            for batch in torch.randperm(len(split), generator=generator).split(recipe.batch_size):
                batch = batch.to(device)
                inputs = _augment(images[batch], recipe.augmentation, generator)
                total += _step(model, inputs, labels[batch], recipe.attack, optimizer, generator, half)
                schedule.step()
                bar.update()
            loss, correct = (total / len(split)).tolist()
            curve.append({"loss": loss, "accuracy": correct})
            bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{correct:.1%}")
    model.to(memory_format=torch.contiguous_format).eval()  # as it comes from the store
    return curve


def _step(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    attack: PGD | None,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    half: torch.autocast,
) -> Tensor:
    """One update; returns the batch's [sum of losses, count of correct answers]."""
    images = images.contiguous(memory_format=torch.channels_last)
    with half:
        if attack is not None:
            # In eval mode, so that the attack's many passes leave the batch statistics alone.
            model.eval()
            images = attack(model, images, labels, generator)
        model.train()
        logits = model(images).float()
    loss = F.cross_entropy(logits, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    correct = (logits.detach().argmax(dim=1) == labels).sum()
    return torch.stack([loss.detach() * len(labels), correct])


def _augment(images: Tensor, augmentation: str, generator: torch.Generator) -> Tensor:
    """Move each image by its own whole number of pixels, filled up with zeros; mirror half of them."""
    if augmentation == "none":
        return images
    n, _, height, width = images.shape
    reach = max(height // 8, 1)
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


def accuracy(
    model: Callable[[Tensor], Tensor],
    split: Split,
    *,
    attack: PGD | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    batch_size: int = 500,
) -> float:
    """Share of the images that `model` classifies correctly, in [0, 1]; under `attack` if one is given.

    The attack may be searched for in bfloat16; whether it succeeds is decided in float32.

    The network is used in the mode it is in; what `stir` trains is in eval mode.
    """
    device = resolve_device(device)
    generator = torch.Generator().manual_seed(seed)
    correct = 0
    for images, labels in zip(split.images.split(batch_size), split.labels.split(batch_size), strict=True):
        images, labels = images.to(device), labels.to(device)
        if attack is not None:
            with torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16(device)):
                images = attack(model, images, labels, generator)
        with torch.no_grad():
            correct += int((model(images).argmax(dim=1) == labels).sum())
    return correct / len(split)
