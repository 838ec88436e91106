"""Options of an inversion, written down once and checked together before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from stir.computing.devices import resolve_device
from stir.computing.memory import check_batch_size
from stir.computing.precision import check_precision
from stir.data.balls import Ball
from stir.inversion.pooling import check_pool
from stir.inversion.seeds import check_seeds, draw_seeds
from stir.inversion.solvers import SOLVERS, Solver, box
from stir.names import suggest


@dataclass(frozen=True, kw_only=True, eq=False)
class InversionOptions:
    """Options of an inversion, the same for any network and any images.

    Attributes:
        pool: of the representation, as in `stir.inversion.representation.Representation`.
        seeds, seed: where the descent begins, as in `stir.inversion.seeds.draw_seeds`.
        within: a ball around each seed image, clamped to [0, 1], that x' stays in; None for anywhere.
        solver: "tethered"; "nearest", slower, whose end is known where the network is linear; or "paper", the
            authors' algorithm. None for "tethered", or for the solver that `stir.controversial` has for itself.
        steps: of descent; None for the solver's own number: 200, 300 and 1,000, and 300 for `stir.controversial`.
        tolerance: relative distance up to which an image counts as converged.
        precision: "auto" computes the first steps of "tethered" and of `stir.controversial` in bfloat16 where the
            device is fast at it and the network allows it; the last are in float32 in any case. "float32" computes
            every step so. The last steps of "auto" follow PyTorch's own settings, by which convolutions on a GPU round
            to TF32; "float32", "nearest" and "paper" never do, nor do the features that are compared.
        device: where to compute; the results come back to the images' own.
        batch_size: how many images are inverted together, at least 1; it changes the results by rounding alone, which
            a long descent amplifies. None for 256, or fewer where network and solver would keep over 1 GiB of them; on
            a GPU for as many as a quarter of its memory holds, or half of what other processes leave of it.
        progress: show a bar.

    Raises:
        ValueError: an option out of its range.
    """

    pool: str = "mean"
    seeds: str | Tensor = "gaussian"
    seed: int = 0
    within: Ball | None = None
    solver: str | None = None
    steps: int | None = None
    tolerance: float = 0.1
    precision: str = "auto"
    device: str | torch.device = "auto"
    batch_size: int | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        check_pool(self.pool)
        check_seeds(self.seeds)
        if not isinstance(self.seed, Integral):
            raise ValueError(f"seed={self.seed!r} must be a whole number")
        if self.within is not None and not isinstance(self.within, Ball):
            raise ValueError(f"within={self.within!r} must be a ball, such as stir.Ball('l2', 2.0), or None")
        if self.solver is not None and self.solver not in list(SOLVERS):
            raise ValueError(f"solver={self.solver!r} is unknown; use one of {', '.join(SOLVERS)}")
        if self.steps is not None and not (isinstance(self.steps, Integral) and self.steps >= 1):
            raise ValueError(f"steps={self.steps} must be a whole number, at least 1")
        if not (isinstance(self.tolerance, Real) and self.tolerance > 0):
            raise ValueError(f"tolerance={self.tolerance!r} must be above 0")
        check_precision(self.precision)
        resolve_device(self.device)
        check_batch_size(self.batch_size)

    def steps_of(self, solver: type[Solver]) -> int:
        """Number of steps that `solver` takes."""
        return self.steps or solver.default_steps

    def seed_images(self, images: Tensor) -> Tensor:
        """One seed image for each of `images`; clamped to [0, 1] if x' has to stay near it."""
        seed_images = draw_seeds(images, self.seeds, int(self.seed))
        return seed_images if self.within is None else box(seed_images)  # the ball and the pixels' range must meet


def with_changes(options: InversionOptions | None, changes: Mapping[str, Any]) -> InversionOptions:
    """Return `options`, or the defaults, with some fields changed.

    Raises:
        ValueError: a value out of its range.
        TypeError: one of `changes` is no option.
    """
    names = [field.name for field in fields(InversionOptions)]
    for name in changes:
        if name not in names:
            raise TypeError(f"{name} is no option of an inversion; {suggest(name, names)}")
    return replace(options or InversionOptions(), **changes)
