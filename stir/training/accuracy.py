"""Accuracy of a network, clean and under attack."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from stir.computing.devices import reproducible, resolve_device
from stir.computing.memory import in_batches, memory_told
from stir.computing.precision import exact_float32, fast_bf16
from stir.computing.replay import Replayed
from stir.data.deferred import DeferredSplit
from stir.data.images import check_images
from stir.data.splits import Split
from stir.networks.frozen import Frozen
from stir.networks.outputs import logits_of
from stir.training.attacks import PGD


@reproducible()
@memory_told()
def accuracy(
    model: nn.Module,
    split: Split | DeferredSplit,
    *,
    attack: PGD | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    batch_size: int = 500,
) -> float:
    """Return the share of images, in [0, 1], that `model` classifies correctly in eval mode, under `attack` if given.

    The attack may be computed in bfloat16, on devices that are fast at it and where the network allows it; its success
    is judged in float32.

    Args:
        model: maps images [N, C, H, W] to logits, or to what holds them (see `stir.networks.outputs.logits_of`).
        split: images [N, C, H, W] in [0, 1] and their labels [N].
        attack: what the images are changed by first; None for clean images.
        seed: of the attack's random starts.
        device: where to compute.
        batch_size: how many images are computed together.

    Raises:
        ValueError: a split that `check_split` refuses, images that the network cannot take, or no logits; or an attack
            that gets no gradient.
    """
    check_split(split)
    device = resolve_device(device)
    generator = torch.Generator().manual_seed(seed)
    with Frozen(model, device) as frozen:
        example = split.images[:1]
        logits_of(frozen.try_out(example))
        frozen.fold(lambda: logits_of(frozen(example)))
        half = attack is not None and fast_bf16(device) and frozen.takes_half(example)

        def judge(images: Tensor, labels: Tensor, *start: Tensor) -> Tensor:
            if attack is not None:
                images = attack.from_start(partial(frozen, half=half), images, labels, *start)
            with torch.no_grad(), exact_float32():
                return (logits_of(frozen(images)).argmax(dim=1) == labels).sum()

        count = Replayed(judge, device, expected=judge)

        def count_correct(batch: slice) -> Tensor:
            images, labels = split.images[batch], split.labels[batch]
            state = generator.get_state()
            start = () if attack is None else (attack.start(images.shape, generator),)
            try:
                return count(*(tensor.to(device) for tensor in (images, labels, *start)))
            except Exception:
                generator.set_state(state)  # half of the batch begins where the whole did
                raise

        correct = torch.stack([*in_batches(count_correct, len(split), batch_size)]).sum().item()
    return correct / len(split)


def check_split(split: object) -> None:
    """Raise a ValueError unless `split` is one, with images [N, C, H, W] in [0, 1] and one class number for each."""
    if not isinstance(split, (Split, DeferredSplit)):
        raise ValueError(
            f"split is a {type(split).__name__}; give a split of a data set, such as dataset.test, or "
            "stir.data.Split(images, labels)"
        )
    check_images(split.images)
    expected, labels = split.images.shape[:1], split.labels
    if not isinstance(labels, Tensor) or labels.shape != expected:
        got = f"have shape {tuple(labels.shape)}" if isinstance(labels, Tensor) else f"are a {type(labels).__name__}"
        raise ValueError(f"labels {got}; they must be class numbers, of shape {tuple(expected)}")
