"""Representation inversion: images that a network represents as it represents others.

For a reference m1 and an image x it looks for an x' with m1(x') = m1(x), an *identically
represented input* (IRI), by descent on the pixels from a seed image, on the relative distance
|m1(x') - m1(x)| / |m1(x)| (Nanda et al. 2022, Sec. 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from numbers import Integral

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from stir.computing.devices import reproducible
from stir.computing.precision import check_precision
from stir.data.balls import Ball
from stir.data.images import Images, gather_images
from stir.inversion.representation import Representation, check_batch_size
from stir.inversion.seeds import draw_seeds
from stir.inversion.solvers import DEFAULT_SOLVER, SOLVERS, AdamLogit, Solver, box, box_and_ball

# What a descent is to bring to zero, and what ranks its iterates: images -> (residual [n, d], rank [n]), the least rank being the best.
Objective = Callable[[Tensor], tuple[Tensor, Tensor]]

CONTROVERSIAL_STEPS = 300
MARGIN = 0.9  # the descent hovers about the edge of what counts as alike; this keeps it on the inner side


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
        originals: [N, C, H, W], x, what was inverted.
    """

    images: Float[Tensor, "n c h w"]
    seeds: Float[Tensor, "n c h w"]
    distance: Float[Tensor, n]
    converged: Bool[Tensor, n]
    steps: int
    tolerance: float
    originals: Float[Tensor, "n c h w"]

    @property
    def moved(self) -> Float[Tensor, n]:
        """How far each x' lies from its seed clamped to [0, 1]: the length of the difference over all pixels."""
        return _lengths(self.images - self.seeds.clamp(0, 1))

    @property
    def towards(self) -> Float[Tensor, n]:
        """Distance of each x' from x over that of its clamped seed: 1 where the descent came no nearer to x, 0 where x' is x, NaN where the seed is x."""
        first = _lengths(self.seeds.clamp(0, 1) - self.originals)
        return _lengths(self.images - self.originals) / first.masked_fill(first == 0, math.nan)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self.images)} images, median distance {self.distance.median():.3g}, "
            f"{self.converged.float().mean():.0%} within {self.tolerance:g} after {self.steps} steps)"
        )


@dataclass(frozen=True, repr=False)
class Controversy(Inversion):
    """Images on which two networks disagree.

    Attributes:
        target_distance: [N], the relative distance |m2(x') - m2(x)| / |m2(x)| in the network that
            tells x' from x. The other attributes are those of the one that does not.
    """

    target_distance: Float[Tensor, n]


@torch.inference_mode(False)  # in which nothing could be descended on
@reproducible()
def invert(
    model: nn.Module,
    images: Images,
    *,
    layer: str | None = None,
    pool: str = "mean",
    seeds: str | Tensor = "gaussian",
    seed: int = 0,
    within: Ball | None = None,
    solver: str = DEFAULT_SOLVER,
    steps: int | None = None,
    tolerance: float = 0.1,
    precision: str = "auto",
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    progress: bool = True,
) -> Inversion:
    """Images that `model` represents, at `layer`, as it represents `images`.

    The x' that is meant is, of all images in [0, 1] that are so represented, the one nearest in L2 to the seed image,
    whose pixels are clamped to [0, 1]. How near a solver comes to it, `Inversion.distance` and `Inversion.moved` tell.

    Args:
        model: any network that takes images [N, C, H, W] in [0, 1]; it is left as it was.
        images: what to invert: a tensor [N, C, H, W], a data set or a data loader (see
            `stir.data.images.gather_images`).
        layer, pool: of the representation, as in `stir.inversion.representation.Representation`.
        seeds, seed: where the descent begins, as in `stir.inversion.seeds.draw_seeds`.
        within: a ball around each seed, clamped to [0, 1], that x' stays in; None for anywhere.
        solver: "tethered"; "nearest", slower, whose end is known where the network is linear; or "paper", the authors' algorithm.
        steps: of descent; None for the solver's own number: 200, 300 and 1,000.
        tolerance: relative distance up to which an image counts as converged.
        precision: "auto" computes the first steps of "tethered" in bfloat16 where the device is
            fast at it and the network allows it; the last are in float32 in any case. "float32" computes every step
            so. On a GPU convolutions still round to TF32 while `torch.backends.cudnn.allow_tf32` is set, as it is by default.
        device: where to compute; the results come back to the images' own.
        batch_size: how many images are inverted together, at least 1; it changes the results by rounding alone, which a long descent
            amplifies. None for
            256, or fewer where network and solver would keep over 1 GiB of them, or a quarter of a GPU's memory.
        progress: show a bar.

    Returns:
        The best image of each descent, with the distance it reached; in float32, or float64 if the images are.

    Raises:
        ValueError: an argument out of its range, or an image whose representation is all zeros or not finite.
    """
    images = gather_images(images)
    if solver not in SOLVERS:
        raise ValueError(f"solver={solver!r} is unknown; use one of {', '.join(SOLVERS)}")
    steps = SOLVERS[solver].default_steps if steps is None else steps
    check_precision(precision)
    _check(steps, tolerance, batch_size)
    starts = _starts(images, seeds, seed, within)
    with Representation(model, images, layer, pool=pool, device=device) as represent:

        def objective(batch: Tensor, half: bool) -> Objective:
            residual = _relative_residual(represent, batch, half)
            return lambda candidates: (found := residual(candidates), found.detach().norm(dim=1))

        half = precision == "auto" and represent.half_works
        remembered = SOLVERS[solver].remembered(steps, images[0].numel(), represent.numbers)
        batch_size = batch_size or represent.batch_size(beside=remembered)
        _check_lengths(represent, images, batch_size)
        found, reached = _in_batches(
            objective, SOLVERS[solver], images, starts, steps, half, within, represent.device, batch_size, progress
        )
    return Inversion(found, starts, reached, reached <= tolerance, steps, tolerance, images)


@torch.inference_mode(False)
@reproducible()
def controversial(
    given: nn.Module,
    target: nn.Module,
    images: Images,
    *,
    layer: str | None = None,
    given_layer: str | None = None,
    pool: str = "mean",
    seeds: str | Tensor = "gaussian",
    seed: int = 0,
    within: Ball | None = None,
    steps: int = CONTROVERSIAL_STEPS,
    tolerance: float = 0.1,
    precision: str = "auto",
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    progress: bool = True,
) -> Controversy:
    """Images that `given` represents as it represents `images`, and `target` as differently as it can.

    They are inverted images of `given` up to `tolerance`, chosen among all of those by descent on
    (d1 / t)^2 / d2, where d1 and d2 are the two relative distances, t is 0.9 of the tolerance, and
    d1 counts as t once it is below: then only d2 is left to gain.

    Args:
        given: m1, which cannot tell x' from x; `target`: m2, which can.
        layer, given_layer: the layer of both, or of each, as in `stir.score`.
        steps: of descent, by `stir.inversion.solvers.AdamLogit`, which begins at the seeds clamped to [0.05, 0.95].
        images, pool, seeds, seed, within, tolerance, precision, device, batch_size, progress: as in `invert`.

    Returns:
        For each image the x' furthest away for `target` among those within `tolerance` for `given`;
        where none came so near, the nearest for `given`.

    Raises:
        ValueError: as `invert`, for either network.
    """
    images = gather_images(images)
    check_precision(precision)
    _check(steps, tolerance, batch_size)
    starts = _starts(images, seeds, seed, within)
    with (
        Representation(
            given, images, layer if given_layer is None else given_layer, pool=pool, device=device
        ) as by_given,
        Representation(target, images, layer, pool=pool, device=device) as by_target,
    ):
        batch_size = batch_size or by_given.batch_size(beside=by_target.kept)
        for represent in (by_given, by_target):
            _check_lengths(represent, images, batch_size)
        objective = partial(_disagreement, by_given, by_target, tolerance)
        half = precision == "auto" and by_given.half_works and by_target.half_works
        found, rank = _in_batches(
            objective, AdamLogit, images, starts, steps, half, within, by_given.device, batch_size, progress
        )
        pairs = list(zip(images.split(batch_size), found.split(batch_size), strict=True))
        with torch.no_grad():
            near, far = (
                torch.cat([_relative_residual(by, batch)(x).norm(dim=1) for batch, x in pairs]).to(found)
                for by in (by_given, by_target)
            )
    # Which side of the tolerance an image ended on was decided during the descent.
    return Controversy(found, starts, near, rank < 0, steps, tolerance, images, far)


def _lengths(differences: Tensor) -> Tensor:
    return differences.flatten(1).norm(dim=1)


def _check(steps: int, tolerance: float, batch_size: int | None) -> None:
    if not (isinstance(steps, Integral) and steps >= 1):
        raise ValueError(f"steps={steps} must be a whole number, at least 1")
    check_batch_size(batch_size)
    if not tolerance > 0:
        raise ValueError(f"tolerance={tolerance} must be above 0")


def _starts(images: Tensor, seeds: str | Tensor, seed: int, within: Ball | None) -> Tensor:
    drawn = draw_seeds(images, seeds, seed)
    return drawn if within is None else box(drawn)  # the ball and the pixels' range must meet


def _check_lengths(represent: Representation, images: Tensor, batch_size: int) -> None:
    """Raise a ValueError where a distance could not be relative to an image's own representation."""
    with torch.no_grad():
        lengths = torch.cat([represent(batch).norm(dim=1) for batch in images.split(batch_size)])
    for wrong, what in ((lengths == 0, "an all-zero"), (~lengths.isfinite(), "a non-finite")):
        if wrong.any():
            raise ValueError(
                f"layer={represent.layer!r}: {int(wrong.sum())} image(s) have {what} representation, to which no distance is relative; leave them out or choose another layer"
            )


def _relative_residual(represent: Representation, images: Tensor, half: bool = False) -> Callable[[Tensor], Tensor]:
    """The function x' -> (m(x') - m(x)) / |m(x)|, whose length is the relative distance; both in the same precision, whose errors then partly cancel."""
    with torch.no_grad():
        wanted = represent(images, half).float()
    size = wanted.norm(dim=1, keepdim=True)

    def residual(candidates: Tensor) -> Tensor:
        return (represent(candidates, half).float() - wanted) / size

    return residual


def _disagreement(
    by_given: Representation, by_target: Representation, tolerance: float, batch: Tensor, half: bool
) -> Objective:
    """The objective of `controversial` for the images of `batch`."""
    near, far = _relative_residual(by_given, batch, half), _relative_residual(by_target, batch, half)

    def evaluate(candidates: Tensor) -> tuple[Tensor, Tensor]:
        kept, told = near(candidates).norm(dim=1), far(candidates).norm(dim=1)
        rank = torch.where(kept <= tolerance, -told, kept)  # all that count as alike come first
        cost = (kept / (MARGIN * tolerance)).clamp_min(1).square() / told.clamp_min(1e-6)
        return cost[:, None], rank.detach()

    return evaluate


def _in_batches(
    objective: Callable[[Tensor, bool], Objective],
    solver: type[Solver],
    images: Tensor,
    starts: Tensor,
    steps: int,
    half: bool,
    within: Ball | None,
    device: torch.device,
    batch_size: int,
    progress: bool,
) -> tuple[Tensor, Tensor]:
    """The best image of each descent and its rank, on the images' device."""
    dtype = torch.promote_types(
        images.dtype, torch.float32
    )  # in shorter ones an image would not be at the distance that is reported
    found, ranks = [], []
    with tqdm(
        total=len(images) * steps,
        desc="inverting",
        unit="image-step",
        unit_scale=True,
        disable=not progress,
        leave=False,
    ) as bar:
        for batch, start in zip(images.split(batch_size), starts.split(batch_size), strict=True):
            start = start.to(device, torch.float32)
            project = box if within is None else box_and_ball(start, within)
            # A coarse way to the neighbourhood, an exact one from there.
            coarse = math.floor(solver.coarse * steps) if half else 0
            phases = [
                (count, partial(objective, batch, low))
                for count, low in ((coarse, True), (steps - coarse, False))
                if count
            ]
            best, rank = _descend(phases, solver(start, steps, project), lambda: bar.update(len(batch)))
            found.append(best.to(images.device, dtype))
            ranks.append(rank.to(images.device, dtype))
    return torch.cat(found), torch.cat(ranks)


@torch.enable_grad()  # whatever the caller has switched off
def _descend(
    phases: list[tuple[int, Callable[[], Objective]]], solver: Solver, advance: Callable[[], object]
) -> tuple[Tensor, Tensor]:
    """Run the solver for so many steps on each objective; the best iterate of each image by the last, and its rank."""
    best = solver.images().detach().clone()
    none = least = torch.full((len(best),), torch.inf, device=best.device)
    for number, (steps, objective) in enumerate(phases):
        evaluate = objective()
        if number:
            with torch.no_grad():  # the best so far, as this objective sees it
                _, best, least = _evaluated(evaluate, best, best, none)
        for _ in range(steps):
            residual, best, least = _evaluated(evaluate, solver.images(), best, least)
            with torch.autocast(residual.device.type, enabled=False):  # a caller's own
                solver.update(residual)
            advance()
    with torch.no_grad():
        _, best, least = _evaluated(evaluate, solver.images(), best, least)
    return best, least


def _evaluated(evaluate: Objective, candidates: Tensor, best: Tensor, least: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The candidates' residuals, and the best so far with its rank."""
    residual, rank = evaluate(candidates)
    better = rank < least
    return (
        residual,
        torch.where(better[:, None, None, None], candidates.detach(), best),
        torch.where(better, rank, least),
    )
