"""Controversial images: represented alike by one network, and as differently as possible by another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stir.computing.devices import reproducible
from stir.computing.memory import memory_told
from stir.computing.precision import exact_float32
from stir.data.images import Images, gather_images
from stir.inversion.descent import Objective, descend
from stir.inversion.distance import check_representations, relative_distance, relative_residual
from stir.inversion.invert import Inversion
from stir.inversion.options import InversionOptions, with_changes
from stir.inversion.representation import Representation
from stir.inversion.solvers import AdamLogit

MARGIN = 0.9  # the descent hovers about the edge of the tolerance; this keeps it on the inner side


@dataclass(frozen=True, repr=False)
class Controversy(Inversion):
    """Images on which two networks disagree.

    Attributes:
        target_distance: [N], the relative distance `|m2(x') - m2(x)| / |m2(x)|` in the network that
            tells x' from x. The other attributes are those of the one that does not.
    """

    target_distance: Float[Tensor, "n"]


@torch.inference_mode(False)  # inference tensors cannot be differentiated
@reproducible()
@memory_told()
def controversial(
    given: nn.Module,
    target: nn.Module,
    images: Images,
    *,
    layer: str | None = None,
    given_layer: str | None = None,
    options: InversionOptions | None = None,
    **changes,
) -> Controversy:
    """Images that `given` represents as it represents `images`, and `target` as differently as it can.

    They are inverted images of `given` up to `tolerance`, chosen among all of those by descent on
    (d1 / t)^2 / d2, where d1 and d2 are the two relative distances, t is 0.9 of the tolerance, and
    d1 counts as t once it is below: then only d2 is left to gain.

    Args:
        given: m1, which cannot tell x' from x; `target`: m2, which can.
        layer, given_layer: the layer of both, or of each, as in `stir.score`.
        images, options, changes: as in `stir.invert`, but that the solver is
            `stir.inversion.solvers.AdamLogit`, which begins at the seed images clamped to [0.05, 0.95].

    Returns:
        For each image the x' furthest away for `target` among those within `tolerance` for `given`;
        where none came so near, the nearest for `given`.

    Raises:
        ValueError, TypeError: as `stir.invert`, for either network; or a solver is named.
    """
    options = with_changes(options, changes)
    if options.solver is not None:
        raise ValueError(f"solver={options.solver!r}: controversial images have a solver of their own; leave it out")
    images = gather_images(images)
    seed_images = options.seed_images(images)
    given_layer = layer if given_layer is None else given_layer
    with (
        exact_float32(options.precision == "float32"),
        Representation(given, images, given_layer, pool=options.pool, device=options.device) as by_given,
        Representation(target, images, layer, pool=options.pool, device=options.device) as by_target,
    ):
        for represent in (by_given, by_target):
            represent.check_gradient()
        batch_size = options.batch_size or by_given.batch_size(len(images), beside=by_target.memory_per_image)
        for represent in (by_given, by_target):
            check_representations(represent, images, batch_size)
        chosen, rank = _descended(by_given, by_target, images, seed_images, options, batch_size)
        distances = [relative_distance(each, images, chosen, batch_size).to(chosen) for each in (by_given, by_target)]
    return Controversy(
        images=chosen,
        seeds=seed_images,
        distance=distances[0],
        converged=rank < 0,  # which side of the tolerance an image ended on was decided during the descent
        solver=AdamLogit.name,
        steps=options.steps_of(AdamLogit),
        tolerance=options.tolerance,
        originals=images,
        target_distance=distances[1],
    )


def _descended(
    by_given: Representation,
    by_target: Representation,
    images: Tensor,
    seed_images: Tensor,
    options: InversionOptions,
    batch_size: int,
) -> tuple[Tensor, Tensor]:
    """The images that the descent ends with, and their rank, as `descend` returns it."""
    chosen, rank, _ = descend(
        partial(_disagreement, by_given, by_target, options.tolerance),
        AdamLogit,
        images,
        seed_images,
        options,
        half=options.precision == "auto" and by_given.half_works and by_target.half_works,
        batch_size=batch_size,
        device=by_given.device,
        where=f"layer={by_given.layer!r} and {by_target.layer!r}",
    )
    return chosen, rank


def _disagreement(
    by_given: Representation, by_target: Representation, tolerance: float, batch: Tensor, half: bool
) -> Objective:
    """The objective of `controversial` for the images of `batch`."""
    given_residual, target_residual = (relative_residual(each, batch, half) for each in (by_given, by_target))

    def evaluate(candidates: Tensor) -> tuple[Tensor, Tensor]:
        near, far = given_residual(candidates).norm(dim=1), target_residual(candidates).norm(dim=1)
        rank = torch.where(near <= tolerance, -far, near)  # all within the tolerance come first
        cost = (near / (MARGIN * tolerance)).clamp_min(1).square() / far.clamp_min(1e-6)
        return cost[:, None], rank.detach()

    return evaluate
