"""Seed images, from which inversion begins. STIR depends on them, so they are part of its definition."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor


def random_cycle(n: int, generator: torch.Generator) -> Int[Tensor, "n"]:
    """A random permutation of n things that is one cycle, so that none stays in its place."""
    order = torch.randperm(n, generator=generator)
    successor = torch.empty_like(order)
    successor[order] = order.roll(1)
    return successor


def _other_image(images: Tensor, generator: torch.Generator) -> Tensor:
    if len(images) < 2:
        raise ValueError("seeds='other-image' needs at least 2 images")
    return images[random_cycle(len(images), generator)]


def _mixed(images: Tensor, generator: torch.Generator) -> Tensor:
    kinds = torch.stack([SEEDS[kind](images, generator) for kind in ("gaussian", "uniform", "white", "black")])
    choice = torch.randint(len(kinds), (len(images),), generator=generator)
    return kinds[choice, torch.arange(len(images))]


SEEDS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "gaussian": lambda x, generator: torch.randn(x.shape, generator=generator, dtype=torch.float32),
    "gaussian-shared": lambda x, generator: torch.randn(x.shape[1:], generator=generator, dtype=torch.float32).expand(
        x.shape
    ),
    "uniform": lambda x, generator: torch.rand(x.shape, generator=generator, dtype=torch.float32),
    "white": lambda x, generator: torch.ones_like(x),
    "black": lambda x, generator: torch.zeros_like(x),
    "other-image": _other_image,
    "mixed": _mixed,
}


def draw_seeds(images: Tensor, seeds: str | Tensor, seed: int = 0) -> Float[Tensor, "n c h w"]:
    """One seed image for each of `images`.

    Args:
        images: [N, C, H, W], what will be inverted.
        seeds: "gaussian", standard normal pixels (the paper's, which reach outside [0, 1]);
            "gaussian-shared", one such image for all; "uniform"; "white"; "black"; "other-image",
            another of `images`; "mixed", a random choice of the noises and plain images; or a
            tensor of the images' shape, taken as it is.
        seed: of the draw, which is the same on every device, and in float32 whatever PyTorch's default is.

    Raises:
        ValueError: an unknown kind, or a tensor of another shape or with pixels that are not finite.
    """
    if isinstance(seeds, Tensor):
        if seeds.shape != images.shape:
            raise ValueError(f"seeds has shape {tuple(seeds.shape)}; it must be that of images, {tuple(images.shape)}")
        if not torch.isfinite(seeds).all():
            raise ValueError("seeds holds NaN or infinite pixels; give finite ones")
        return seeds.detach().to(images)
    check_seeds(seeds)
    seed_images = SEEDS[seeds](images.detach().float().cpu(), torch.Generator().manual_seed(seed))
    return seed_images.to(images)


def check_seeds(seeds: str | Tensor) -> None:
    """Raise a ValueError unless `seeds` is a tensor or one of `SEEDS`."""
    if not isinstance(seeds, Tensor) and seeds not in list(SEEDS):
        raise ValueError(f"seeds={seeds!r} is unknown; use a tensor or one of {', '.join(SEEDS)}")
