"""The descents of inversion: from seed images, step by step, to images that cost less.

A solver holds the iterates of a batch. `images()` are the current ones, in [0, 1] and within the
ball if there is one; `update(residual)` takes one step, given for each image a vector that depends
on that image alone and is to become zero. Its length is the image's cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from stir.balls import Ball, image_norms

Projection = Callable[[Tensor], Tensor]


def box(pixels: Tensor) -> Tensor:
    """The nearest images with pixels in [0, 1]."""
    return pixels.clamp(0, 1)


def box_and_ball(centre: Float[Tensor, "n c h w"], ball: Ball) -> Projection:
    """Projection into the ball around `centre`, whose pixels lie in [0, 1], and then into [0, 1]."""
    # The second projection moves every pixel towards the centre's or not at all, so it never leaves the ball.
    return lambda pixels: box(centre + ball.project(pixels - centre))


class Solver:
    """What every solver has."""

    default_steps: int
    coarse: float  # share of the steps that may be computed in low precision

    @classmethod
    def remembered(cls, steps: int, pixels: int, numbers: int) -> int:
        """Bytes of an image of so many pixels and its representation of so many numbers that are kept from step to step, if these are many."""
        return 0


class Anderson(Solver):
    """Of the residual, the last steps together undo what they can; a step along the gradient takes the rest.

    Of all combinations of this iterate and some before, one has the residuals that, combined alike, are shortest: a small
    system for each image (Anderson 1965, "Iterative procedures for nonlinear integral equations"; Fang and Saad 2009, "Two
    classes of multisecant methods for nonlinear acceleration"). Half the way there is gone, since networks bend; the further
    away an iterate lies, the less weight it gets; and a combination is shortened that lies further away than the straight line to 0
    would be long, for there the network is another. How many are remembered grows with the square root of the steps: in a
    long descent the last ones lie closer together, and more of them tell the same network. But as many as the representation
    has numbers would account for any residual, whatever the network. For the residual
    left there, the gradient here is followed as far as a straight descent to 0, which is known to be there, would go
    (Polyak 1969, "Minimization of unsmooth functionals"), times a factor that falls on a cosine, from far beyond the straight
    line to almost nothing: no rate to tune.
    """

    default_steps = 100
    coarse = 0.9  # a smaller share brings distances below 0.01 further down, and no others
    memory = 1.4  # iterates remembered, by the square root of the steps
    share = 0.2  # and at most so many for each number in the representation, but one in any case
    damping = 0.03  # of the small system, by its diagonal
    trust = 0.5
    reach = 0.75  # how far away a combination may lie, by the length of the straight line to 0
    first, last = 2.3, 0.05

    @classmethod
    def room(cls, steps: int, numbers: int) -> int:
        """How many iterates are remembered."""
        return max(1, round(min(cls.memory * math.sqrt(steps), cls.share * numbers)))

    @classmethod
    def remembered(cls, steps: int, pixels: int, numbers: int) -> int:
        # Iterates, their residuals, and these once more, less the last.
        return 4 * cls.room(steps, numbers) * (pixels + 2 * numbers)

    def __init__(self, start: Tensor, steps: int, project: Projection) -> None:
        self.project = project
        self.pixels = project(start).requires_grad_(True)
        self.taken, self.steps = 0, steps
        self.past: Tensor | None = None  # pixels [n, room, p], and their residuals [n, room, d]
        self.residuals: Tensor | None = None
        self.way: Tensor | None = None  # [n], how far the gradient has to be followed for a residual of length 1

    def images(self) -> Tensor:
        return self.pixels

    def update(self, residual: Float[Tensor, "n d"]) -> None:
        pixels, known = self.pixels.detach(), residual.detach()
        moved, left = self._combined(pixels.flatten(1), known)
        (gradient,) = torch.autograd.grad((residual * left).sum(), self.pixels)
        # Not for pixels at a bound that it would push beyond.
        gradient = gradient * torch.where(gradient > 0, pixels > 0, pixels < 1)
        factor = self.last + (self.first - self.last) * (1 + math.cos(math.pi * self.taken / self.steps)) / 2
        # This gradient's length is that of what is left, times the slope of the latter.
        self.way = left.norm(dim=1) / gradient.flatten(1).norm(dim=1).clamp_min(1e-10)
        self._remember(pixels.flatten(1), known)
        step = self.trust * moved.reshape_as(pixels) - factor * self.way.square().reshape(-1, 1, 1, 1) * gradient
        self.pixels = self.project(pixels + step).requires_grad_(True)

    def _combined(self, pixels: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """From here to the best combination of what is remembered, or as far towards it as it can be trusted, and the residual to be expected there."""
        if self.past is None:
            return torch.zeros_like(pixels), residual
        kept = min(self.taken, self.past.shape[1])
        past, change = self.past[:, :kept], self.residuals[:, :kept] - residual[:, None]
        system = change @ change.mT
        # Each by its own size: an iterate whose residual differs much lies far away, and what it tells of the network here is worth less.
        system = system + torch.diag_embed(self.damping * system.diagonal(dim1=1, dim2=2) + 1e-12)
        # Not `solve`, which on a GPU would wait for the result, to see that the system has one; the ridge sees to that. On the CPU
        # for MPS, for which older versions of PyTorch have no such function.
        place = "cpu" if system.device.type == "mps" else system.device
        weights = torch.linalg.solve_ex(system.to(place), -(change @ residual[:, :, None]).to(place))[0].to(system.device)
        # As the past times its weights, with no copy of the differences.
        moved = (weights.mT @ past)[:, 0] - weights.sum(dim=1) * pixels
        # The straight line's length is that at the slope of the step before.
        within = self.reach * self.way * residual.norm(dim=1) / moved.norm(dim=1).clamp_min(1e-20)
        share = within.clamp(max=1)[:, None]
        return share * moved, residual + share * (weights.mT @ change)[:, 0]

    def _remember(self, pixels: Tensor, residual: Tensor) -> None:
        if self.past is None:
            room = self.room(self.steps, residual.shape[1])
            self.past = pixels.new_empty(len(pixels), room, pixels.shape[1])
            self.residuals = residual.new_empty(len(residual), room, residual.shape[1])
        place = self.taken % self.past.shape[1]  # the oldest; their order does not matter
        self.past[:, place], self.residuals[:, place] = pixels, residual
        self.taken += 1


class AdamLogit(Solver):
    """Adam on z with x = sigmoid(z), which keeps pixels in [0, 1] with no clamp to stall at.

    Descends on the logarithm of the cost, whose gradient does not fade on the way, with a step that
    falls to zero on a cosine.
    """

    default_steps = 100
    coarse = 0.85
    rate = 0.5

    def __init__(self, start: Tensor, steps: int, project: Projection) -> None:
        self.project = project
        # Away from 0 and 1, where the sigmoid is flat and a pixel would hardly move.
        self.logits = torch.logit(project(start.clamp(0.05, 0.95)), eps=1e-6).requires_grad_(True)
        self.adam = torch.optim.Adam([self.logits], lr=self.rate, betas=(0.8, 0.95))
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.adam, steps)

    def images(self) -> Tensor:
        return torch.sigmoid(self.logits)

    def update(self, residual: Float[Tensor, "n d"]) -> None:
        # A cost of exactly 0 has no logarithm, and nothing left to gain.
        loss = residual.norm(dim=1).clamp_min(1e-12).log().sum()
        (self.logits.grad,) = torch.autograd.grad(loss, self.logits)
        self.adam.step()
        self.schedule.step()
        if self.project is not box:
            with torch.no_grad():
                self.logits.copy_(torch.logit(self.project(self.images()), eps=1e-6))


class NormalizedGradient(Solver):
    """The authors' algorithm: steps of length 0.5 along the gradient, pixels clamped to [0, 1] after each."""

    default_steps = 1_000
    coarse = 0.0  # theirs is in float32
    length = 0.5

    def __init__(self, start: Tensor, steps: int, project: Projection) -> None:
        self.project = project
        # Theirs begins at the seed itself, which may lie outside [0, 1].
        self.pixels = (start if project is box else project(start)).clone().requires_grad_(True)

    def images(self) -> Tensor:
        return self.pixels

    def update(self, residual: Float[Tensor, "n d"]) -> None:
        (gradient,) = torch.autograd.grad(residual.norm(dim=1).sum(), self.pixels)
        step = self.length * gradient / (image_norms(gradient) + 1e-10)
        self.pixels = self.project(self.pixels.detach() - step).requires_grad_(True)


class Nearest(Solver):
    """Dual averaging: gradients pile up on the seed, and the sum's projection into [0, 1] is the image.

    For a linear network this ends at the image nearest to the seed of all that cost nothing: the
    point x = project(seed + A^T u) with Ax as wanted meets that problem's optimality conditions.
    So it has a ground truth where other solvers' ends depend on the path (Nesterov 2009,
    "Primal-dual subgradient methods for convex problems"). Descends on half the squared cost, with
    the step of Barzilai and Borwein (1988), "Two-point step size gradient methods", for each image.
    """

    default_steps = 300
    coarse = 0.0  # its step is a quotient of small differences
    length = 0.5

    def __init__(self, start: Tensor, steps: int, project: Projection) -> None:
        self.project = project
        self.total = start.clone()
        self.before: tuple[Tensor, Tensor] | None = None
        self.pixels = project(self.total).requires_grad_(True)

    def images(self) -> Tensor:
        return self.pixels

    def update(self, residual: Float[Tensor, "n d"]) -> None:
        (gradient,) = torch.autograd.grad(residual.square().sum() / 2, self.pixels)
        self.total, self.before = self.total - self._rate(gradient) * gradient, (self.total, gradient)
        self.pixels = self.project(self.total).requires_grad_(True)

    def _rate(self, gradient: Tensor) -> Tensor:
        first = self.length / (image_norms(gradient) + 1e-10)
        if self.before is None:
            return first
        moved, turned = self.total - self.before[0], gradient - self.before[1]
        curvature = (moved * turned).flatten(1).sum(dim=1).abs().reshape(-1, 1, 1, 1)
        rate = image_norms(moved).square() / curvature.clamp_min(1e-30)
        # Where a network bends so that the two points say nothing, no step is longer than the first.
        return torch.minimum(rate, first)


SOLVERS: dict[str, type[Solver]] = {"anderson": Anderson, "adam-logit": AdamLogit, "nearest": Nearest, "paper": NormalizedGradient}
DEFAULT_SOLVER = "anderson"
