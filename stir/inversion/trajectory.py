"""Trajectory of a descent: the images that an inversion has found after some of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stir.computing.devices import reproducible
from stir.computing.memory import memory_told
from stir.data.images import Images
from stir.inversion.distance import check_representations, relative_distance
from stir.inversion.invert import Inversion, descents
from stir.inversion.options import InversionOptions, with_changes
from stir.inversion.representation import Representation
from stir.inversion.solvers import DEFAULT_SOLVER, SOLVERS


@dataclass(frozen=True)
class Trajectory:
    """The best images that a descent has found so far, after some of its steps.

    Attributes:
        inversion: the end, as `stir.invert` returns it.
        steps: the numbers of steps, rising.
        images: [S, N, C, H, W], x' after each of `steps`, in [0, 1]: after 0 the clamped seed image, after all
            `inversion.images`.
    """

    inversion: Inversion
    steps: tuple[int, ...]
    images: Float[Tensor, "s n c h w"]

    @torch.inference_mode(False)
    @reproducible()
    @memory_told()
    def distances(
        self, model: nn.Module, *, layer: str | None = None, options: InversionOptions | None = None, **changes
    ) -> Float[Tensor, "s n"]:
        """The relative distance `|m(x') - m(x)| / |m(x)|` of each image, as any network m sees it, in full precision.

        Args:
            model: m; the reference that was inverted, or a target.
            layer: of the representation, as in `stir.invert`.
            options, changes: fields of `stir.InversionOptions`; of these `pool`, `device` and `batch_size` count.

        Raises:
            ValueError: an argument out of its range, or an image whose representation is all zeros or not finite.
            TypeError: one of `changes` is no option.
        """
        options, originals = with_changes(options, changes), self.inversion.originals
        with Representation(model, originals, layer, pool=options.pool, device=options.device) as represent:
            batch_size = options.batch_size or represent.batch_size(len(originals))
            check_representations(represent, originals, batch_size)
            distances = [relative_distance(represent, originals, images, batch_size) for images in self.images]
        return torch.stack(distances).to(self.images)


def trajectory(
    model: nn.Module,
    images: Images,
    at: Sequence[int],
    *,
    layer: str | None = None,
    options: InversionOptions | None = None,
    **changes,
) -> Trajectory:
    """Invert `images` as `stir.invert` does, and keep the best images so far after some of its steps.

    Args:
        at: these numbers of steps, rising, from 0 for the seed images to at most all.
        model, images, layer, options, changes: as in `stir.invert`.

    Raises:
        ValueError, TypeError: as `stir.invert`, or `at` holds anything else.
    """
    known = with_changes(options, changes)
    check_steps(at, known.steps_of(SOLVERS[known.solver or DEFAULT_SOLVER]))
    inversion, path = descents(model, images, layer, options, changes, at)
    return Trajectory(inversion, tuple(int(step) for step in at), path)


def check_steps(at: Sequence[int], steps: int) -> None:
    """Raise a ValueError unless `at` holds whole numbers that rise from 0 or more to at most `steps`."""
    whole = all(isinstance(step, Integral) and 0 <= step <= steps for step in at)
    if not (at and whole and list(at) == sorted(set(at))):
        raise ValueError(f"at={list(at)} must be whole numbers that rise, from 0 to at most the {steps} steps")
