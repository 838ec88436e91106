"""Descent: a solver's steps on batches of images, and the best iterate of each image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from stir.computing.memory import in_batches
from stir.computing.progress import progress_bar
from stir.computing.replay import Replayed
from stir.inversion.options import InversionOptions
from stir.inversion.solvers import Solver, box, box_and_ball

# Images -> (residual [n, d], rank [n]). The solver brings the residual to zero; the iterate of least rank is the best.
Objective = Callable[[Tensor], tuple[Tensor, Tensor]]


def descend(
    objective: Callable[[Tensor, bool], Objective],
    solver: type[Solver],
    images: Tensor,
    seed_images: Tensor,
    options: InversionOptions,
    *,
    half: bool,
    batch_size: int,
    device: torch.device,
    where: str,
    at: Sequence[int] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """Let a solver descend from each seed image.

    Args:
        objective: from a batch of `images`, and whether to compute in bfloat16, to its objective.
        images, seed_images: [N, C, H, W], what is inverted and where the descent begins.
        options: of these, `steps`, `within` and `progress`.
        half: compute the solver's coarse steps in bfloat16.
        where: the layer, for messages.
        at: numbers of steps, from 0, after which the best iterate so far is wanted as well.

    Returns:
        The best iterate of each descent [N, C, H, W], its rank [N], and the best after each of `at` steps
        [len(at), N, C, H, W], on the images' device; in float32, or float64 if the images are.

    Raises:
        FloatingPointError: a residual became NaN.
        MemoryError: a single image does not fit (see `stir.computing.memory.in_batches`).
    """
    steps = options.steps_of(solver)
    # In a shorter one an image would not be at the distance that is reported.
    dtype = torch.promote_types(images.dtype, torch.float32)
    coarse_steps = math.floor(solver.coarse * steps) if half else 0
    with progress_bar(
        total=len(images) * steps,
        desc="inverting",
        unit="image-step",
        unit_scale=True,
        show=options.progress,
    ) as bar:

        def run(part: slice) -> tuple[Tensor, Tensor]:
            batch, start = images[part], seed_images[part].to(device, torch.float32)
            project = box if options.within is None else box_and_ball(start, options.within)
            # A coarse way to the neighbourhood, an exact one from there.
            counts = ((coarse_steps, True), (steps - coarse_steps, False))
            phases = [(count, partial(objective, batch, coarse)) for count, coarse in counts if count]
            advance = partial(bar.update, len(batch))
            path, rank = _run(solver(start, steps, project), phases, advance, where, (*at, steps))
            return path.to(images.device, dtype), rank.to(images.device, dtype)

        parts = [*in_batches(run, len(images), batch_size)]
    paths, ranks = zip(*parts, strict=True)
    path = torch.cat(paths, dim=1)
    return path[-1], torch.cat(ranks), path[:-1]


@torch.enable_grad()  # whatever the caller has switched off
def _run(
    solver: Solver,
    phases: list[tuple[int, Callable[[], Objective]]],
    advance: Callable[[], object],
    where: str,
    at: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Take each phase's steps on its objective; return the best images after the steps `at`, and the last rank.

    The best are those after each of `at` steps, stacked; the rank is that of the last.
    """
    best, path, taken = _Best(solver.images()), {}, 0
    for number, (steps, objective) in enumerate(phases):
        evaluate = objective()
        if number:
            best.rank_anew(evaluate)
        step = _step(solver, evaluate, best, taken)
        for _ in range(steps):
            step()
            if taken in at:
                path[taken] = best.images.clone()
            taken += 1
            advance()
        if number == len(phases) - 1:
            best.look_at(solver.images(), evaluate)
        if best.first_nan.isfinite():
            raise FloatingPointError(
                f"{where}: the representation became NaN at step {int(best.first_nan)}; use precision='float32', a "
                "layer before the operation that gives NaN, such as a root, a logarithm or a quotient at 0, or other "
                "images"
            )
    path[taken] = best.images
    return torch.stack([path[step] for step in at]), best.rank


def _step(solver: Solver, evaluate: Objective, best: _Best, taken: int) -> Callable[[], Tensor]:
    """Return a function that takes one step and keeps the best images; on a GPU it is recorded if possible."""

    def step() -> Tensor:
        best.taken += 1
        residual, rank = evaluate(solver.images())
        best.keep(solver.images(), residual, rank)
        with torch.autocast(residual.device.type, enabled=False):  # a caller's own
            solver.update(residual)
        return residual.detach()

    def expected() -> Tensor:
        with torch.no_grad():
            return evaluate(solver.images())[0]

    if solver.settled is None:
        return step
    return Replayed(step, solver.images().device, solver.settled - taken, expected)


class _Best:
    """The best iterate of each image so far [n, C, H, W], its rank [n], and the first step that gave NaN."""

    def __init__(self, images: Tensor) -> None:
        self.images = images.detach().clone()
        self.rank = torch.full((len(images),), torch.inf, device=images.device)
        # On the device, so that a GPU need not be waited for.
        self.taken, self.first_nan = (torch.full((), number, device=images.device) for number in (0.0, torch.inf))

    def keep(self, candidates: Tensor, residual: Tensor, rank: Tensor) -> None:
        """Keep those candidates that rank before the images so far."""
        better = rank < self.rank
        self.images.copy_(torch.where(better[:, None, None, None], candidates.detach(), self.images))
        self.rank.copy_(torch.where(better, rank, self.rank))
        nan = residual.detach().isnan().any()
        self.first_nan.copy_(torch.where(nan, torch.minimum(self.first_nan, self.taken), self.first_nan))

    @torch.no_grad()
    def look_at(self, candidates: Tensor, evaluate: Objective) -> None:
        """Keep those candidates that `evaluate` ranks before the images so far."""
        self.keep(candidates, *evaluate(candidates))

    @torch.no_grad()
    def rank_anew(self, evaluate: Objective) -> None:
        """Rank the images so far by another objective."""
        self.rank.fill_(torch.inf)
        _, rank = evaluate(self.images)
        self.rank.copy_(torch.where(rank < self.rank, rank, self.rank))
