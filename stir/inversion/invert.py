"""Inversion of a representation: images that a network represents as it represents others (Nanda et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from stir.computing.devices import reproducible
from stir.computing.memory import memory_told
from stir.computing.precision import exact_float32
from stir.data.images import Images, gather_images
from stir.inversion.descent import Objective, descend
from stir.inversion.distance import check_representations, relative_residual
from stir.inversion.options import InversionOptions, with_changes
from stir.inversion.representation import Representation
from stir.inversion.solvers import DEFAULT_SOLVER, SOLVERS


@dataclass(frozen=True)
class Inversion:
    """Inverted images, and the distance that each descent reached.

    Attributes:
        images: [N, C, H, W], x', in [0, 1].
        seeds: [N, C, H, W], the images that the descent began from.
        distance: [N], the relative distance `|m1(x') - m1(x)| / |m1(x)|` that each x' reached.
        converged: [N], whether that is at most `tolerance`.
        solver: name of the solver.
        steps: of descent, for every image.
        tolerance: the largest distance that counts as converged.
        originals: [N, C, H, W], x, what was inverted.
    """

    images: Float[Tensor, "n c h w"]
    seeds: Float[Tensor, "n c h w"]
    distance: Float[Tensor, "n"]
    converged: Bool[Tensor, "n"]
    solver: str
    steps: int
    tolerance: float
    originals: Float[Tensor, "n c h w"]

    @property
    def moved(self) -> Float[Tensor, "n"]:
        """Length of the difference, over all pixels, of each x' and its seed clamped to [0, 1]."""
        return _lengths(self.images - self.seeds.clamp(0, 1))

    @property
    def towards(self) -> Float[Tensor, "n"]:
        """Distance of each x' from x over that of its clamped seed.

        1 where the descent came no nearer to x, 0 where x' is x, NaN where the seed is x.
        """
        first = _lengths(self.seeds.clamp(0, 1) - self.originals)
        return _lengths(self.images - self.originals) / first.masked_fill(first == 0, math.nan)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self.images)} images, median distance {self.distance.median():.3g}, "
            f"{self.converged.float().mean():.0%} within {self.tolerance:g} after {self.steps} steps)"
        )


def _lengths(differences: Tensor) -> Tensor:
    return differences.flatten(1).norm(dim=1)


def invert(
    model: nn.Module,
    images: Images,
    *,
    layer: str | None = None,
    options: InversionOptions | None = None,
    **changes,
) -> Inversion:
    """Images that `model` represents, at `layer`, as it represents `images`.

    The x' that is meant is, of all images in [0, 1] that are so represented, the one nearest in L2 to the seed image,
    whose pixels are clamped to [0, 1]. How near a solver comes to it, `Inversion.distance` and `Inversion.moved` tell.

    Args:
        model: any network that takes images [N, C, H, W] in [0, 1]; it is left as it was.
        images: what to invert: a tensor [N, C, H, W], a data set or a data loader (see
            `stir.data.images.gather_images`).
        layer: of the representation, as in `stir.inversion.representation.Representation`.
        options: how; None for the defaults of `stir.InversionOptions`.
        **changes: fields of `stir.InversionOptions` that differ from `options`: pool, seeds, seed, within, solver,
            steps, tolerance, precision, device, batch_size, progress.

    Returns:
        The best image of each descent, with the distance it reached; in float32, or float64 if the images are.

    Raises:
        ValueError: an argument out of its range, a network through which no gradient passes to the images, or an image
            whose representation is all zeros or not finite.
        TypeError: one of `changes` is no option.
    """
    inversion, _ = descents(model, images, layer, options, changes)
    return inversion


@torch.inference_mode(False)  # inference tensors cannot be differentiated
@reproducible()
@memory_told()
def descents(
    model: nn.Module,
    images: Images,
    layer: str | None,
    options: InversionOptions | None,
    changes: Mapping[str, Any],
    at: Sequence[int] = (),
) -> tuple[Inversion, Float[Tensor, "s n c h w"]]:
    """The result of `invert`, and the best images so far after each of `at` of its steps."""
    options = with_changes(options, changes)
    images = gather_images(images)
    seed_images = options.seed_images(images)
    name = options.solver or DEFAULT_SOLVER
    solver = SOLVERS[name]
    steps = options.steps_of(solver)
    exact = exact_float32(options.precision == "float32" or not solver.coarse)
    with exact, Representation(model, images, layer, pool=options.pool, device=options.device) as represent:

        def objective(batch: Tensor, half: bool) -> Objective:
            residual_of = relative_residual(represent, batch, half)

            def evaluate(candidates: Tensor) -> tuple[Tensor, Tensor]:
                residual = residual_of(candidates)
                return residual, residual.detach().norm(dim=1)

            return evaluate

        represent.check_gradient()
        half = options.precision == "auto" and represent.half_works
        memory = solver.memory_per_image(steps, images[0].numel(), represent.dim)
        batch_size = options.batch_size or represent.batch_size(len(images), beside=memory)
        check_representations(represent, images, batch_size)
        inverted, distance, path = descend(
            objective,
            solver,
            images,
            seed_images,
            options,
            half=half,
            batch_size=batch_size,
            device=represent.device,
            where=f"layer={represent.layer!r}",
            at=at,
        )
    inversion = Inversion(
        images=inverted,
        seeds=seed_images,
        distance=distance,
        converged=distance <= options.tolerance,
        solver=name,
        steps=steps,
        tolerance=options.tolerance,
        originals=images,
    )
    return inversion, path
