"""Representation inversion: images that a network represents as it represents others.

For a reference m1 and an image x it looks for an x' with m1(x') = m1(x), an *identically
represented input* (IRI), by descent on the pixels from a seed image, on the relative distance
|m1(x') - m1(x)| / |m1(x)| (Nanda et al. 2022, Sec. 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from stir.attacks import image_norms
from stir.representation import Representation, check_images

Distance = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Inversion:
    """What an inversion found, and how far it came.

    Attributes:
        images: [N, C, H, W], x', in [0, 1].
        seeds: [N, C, H, W], the images that the descent began from.
        distance: [N], the relative distance |m1(x') - m1(x)| / |m1(x)| that each x' reached.
        converged: [N], whether that is at most `tolerance`.
        steps: of descent, for every image.
        tolerance: the largest distance that counts as converged.
    """

    images: Float[Tensor, "n c h w"]
    seeds: Float[Tensor, "n c h w"]
    distance: Float[Tensor, "n"]
    converged: Tensor
    steps: int
    tolerance: float

    def __repr__(self) -> str:
        return (
            f"Inversion({len(self.images)} images, median distance {self.distance.median():.3g}, "
            f"{self.converged.float().mean():.0%} within {self.tolerance:g} after {self.steps} steps)"
        )


class AdamLogit:
    """Adam on z with x = sigmoid(z), which keeps pixels in [0, 1] with no clamp to stall at.

    Descends on the logarithm of the distance, whose gradient does not fade on the way, with a step
    that falls to zero on a cosine.
    """

    default_steps = 100
    rate = 0.5

    def __init__(self, start: Tensor, steps: int) -> None:
        # Away from 0 and 1, where the sigmoid is flat and a pixel would hardly move.
        self.logits = torch.logit(start.clamp(0.05, 0.95)).requires_grad_(True)
        self.adam = torch.optim.Adam([self.logits], lr=self.rate, betas=(0.8, 0.95))
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.adam, steps)

    def images(self) -> Tensor:
        return torch.sigmoid(self.logits)

    def update(self, distance: Float[Tensor, "n"]) -> None:
        # A distance of exactly 0 has no logarithm, and nothing left to gain.
        loss = distance.clamp_min(1e-12).log().sum()
        (self.logits.grad,) = torch.autograd.grad(loss, self.logits)
        self.adam.step()
        self.schedule.step()


class NormalizedGradient:
    """The authors' algorithm: steps of length 0.5 along the gradient, pixels clamped to [0, 1] after each."""

    default_steps = 1_000
    length = 0.5

    def __init__(self, start: Tensor, steps: int) -> None:
        self.pixels = start.clone().requires_grad_(True)

    def images(self) -> Tensor:
        return self.pixels

    def update(self, distance: Float[Tensor, "n"]) -> None:
        (gradient,) = torch.autograd.grad(distance.sum(), self.pixels)
        step = self.length * gradient / (image_norms(gradient) + 1e-10)
        self.pixels = (self.pixels.detach() - step).clamp(0, 1).requires_grad_(True)


SOLVERS = {"adam-logit": AdamLogit, "paper": NormalizedGradient}


def _other_image(images: Tensor, generator: torch.Generator) -> Tensor:
    if len(images) < 2:
        raise ValueError("seeds='other-image' needs at least 2 images")
    # A random cycle through all images: nobody is dealt itself.
    order = torch.randperm(len(images), generator=generator)
    seeds = torch.empty_like(images)
    seeds[order] = images[order.roll(1)]
    return seeds


def _mixed(images: Tensor, generator: torch.Generator) -> Tensor:
    kinds = torch.stack([SEEDS[kind](images, generator) for kind in ("gaussian", "uniform", "white", "black")])
    choice = torch.randint(len(kinds), (len(images),), generator=generator)
    return kinds[choice, torch.arange(len(images))]


SEEDS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "gaussian": lambda x, generator: torch.randn(x.shape, generator=generator),
    "gaussian-shared": lambda x, generator: torch.randn(x.shape[1:], generator=generator).expand(x.shape),
    "uniform": lambda x, generator: torch.rand(x.shape, generator=generator),
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
        seed: of the draw, which is the same on every device.

    Raises:
        ValueError: an unknown kind, or a tensor of another shape or with pixels that are not finite.
    """
    if isinstance(seeds, Tensor):
        if seeds.shape != images.shape:
            raise ValueError(f"seeds has shape {tuple(seeds.shape)}; it must be that of images, {tuple(images.shape)}")
        if not torch.isfinite(seeds).all():
            raise ValueError("seeds holds NaN or infinite pixels; give finite ones")
        return seeds.detach().to(images)
    if seeds not in SEEDS:
        raise ValueError(f"seeds={seeds!r} is unknown; use a tensor or one of {', '.join(SEEDS)}")
    drawn = SEEDS[seeds](images.detach().float().cpu(), torch.Generator().manual_seed(seed))
    return drawn.to(images)


@torch.enable_grad()  # whatever the caller has switched off
def invert(
    model: nn.Module,
    images: Tensor,
    *,
    layer: str | None = None,
    pool: str = "mean",
    seeds: str | Tensor = "gaussian",
    seed: int = 0,
    solver: str = "adam-logit",
    steps: int | None = None,
    tolerance: float = 0.1,
    device: str | torch.device = "auto",
    batch_size: int = 256,
    progress: bool = True,
) -> Inversion:
    """Images that `model` represents, at `layer`, as it represents `images`.

    Args:
        model: any network that takes images [N, C, H, W] in [0, 1]; it is left as it was.
        images: [N, C, H, W], what to invert.
        layer, pool: of the representation, as in `stir.representation.Representation`.
        seeds, seed: where the descent begins, as in `draw_seeds`.
        solver: "adam-logit", or "paper", the authors' algorithm.
        steps: of descent; None for the solver's own number, 100 and 1,000.
        tolerance: relative distance up to which an image counts as converged.
        device: where to compute; the results come back to the images' own.
        batch_size: images inverted together; the result does not depend on it.
        progress: show a bar.

    Returns:
        The best image of each descent, with the distance it reached.

    Raises:
        ValueError: an argument out of its range, or an image whose representation is all zeros.
    """
    check_images(images)
    if solver not in SOLVERS:
        raise ValueError(f"solver={solver!r} is unknown; use one of {', '.join(SOLVERS)}")
    steps = SOLVERS[solver].default_steps if steps is None else steps
    if steps < 1:
        raise ValueError(f"steps={steps} must be at least 1")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    if not tolerance > 0:
        raise ValueError(f"tolerance={tolerance} must be above 0")
    starts = draw_seeds(images, seeds, seed)
    found, distances = [], []
    with (
        Representation(model, images, layer, pool=pool, device=device) as represent,
        tqdm(total=len(images) * steps, desc="inverting", unit="image-step", unit_scale=True, disable=not progress, leave=False) as bar,
    ):
        for batch, start in zip(images.split(batch_size), starts.split(batch_size), strict=True):
            distance = _relative_distance(represent, batch)
            start = start.to(represent.device, torch.float32)
            best, reached = _descend(distance, SOLVERS[solver](start, steps), steps, lambda: bar.update(len(batch)))
            found.append(best.to(images))
            distances.append(reached.to(images))
    reached = torch.cat(distances)
    return Inversion(torch.cat(found), starts, reached, reached <= tolerance, steps, tolerance)


def _relative_distance(represent: Representation, images: Tensor) -> Distance:
    """The function that inversion lowers: x' -> |m(x') - m(x)| / |m(x)|, one number an image."""
    with torch.no_grad():
        wanted = represent(images).float()
    size = wanted.norm(dim=1)
    if (size == 0).any():
        raise ValueError(f"layer={represent.layer!r}: {int((size == 0).sum())} image(s) have an all-zero representation, to which no distance is relative; leave them out or choose another layer")

    def distance(candidates: Tensor) -> Tensor:
        return (represent(candidates).float() - wanted).norm(dim=1) / size

    return distance


def _descend(
    distance: Distance, solver: AdamLogit | NormalizedGradient, steps: int, advance: Callable[[], object]
) -> tuple[Tensor, Tensor]:
    """Run the solver; the best iterate of each image and its distance."""
    best = solver.images().detach().clone()
    reached = torch.full((len(best),), torch.inf, device=best.device)
    for step in range(steps + 1):
        candidates = solver.images()
        with torch.set_grad_enabled(step < steps):
            current = distance(candidates)
        # The paper's start may lie outside the range of pixels, and then is no result.
        inside = ((candidates >= 0) & (candidates <= 1)).flatten(1).all(dim=1)
        better = inside & (current.detach() < reached)
        best = torch.where(better[:, None, None, None], candidates.detach(), best)
        reached = torch.where(better, current.detach(), reached)
        if step < steps:
            solver.update(current)
            advance()
    return best, reached
