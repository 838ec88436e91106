"""The descents of inversion: from seed images, step by step, to images that cost less.

A solver holds the iterates of a batch. `images()` are the current ones, in [0, 1] and within the
ball if there is one; `update(cost)` takes one step, given the cost of each, a number above 0 that
depends on that image alone.
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


class AdamLogit:
    """Adam on z with x = sigmoid(z), which keeps pixels in [0, 1] with no clamp to stall at.

    Descends on the logarithm of the cost, whose gradient does not fade on the way, with a step that
    falls to zero on a cosine.
    """

    default_steps = 100
    coarse = 0.85  # of the steps may be computed in low precision
    rate = 0.5

    def __init__(self, start: Tensor, steps: int, project: Projection) -> None:
        self.project = project
        # Away from 0 and 1, where the sigmoid is flat and a pixel would hardly move.
        self.logits = torch.logit(project(start.clamp(0.05, 0.95)), eps=1e-6).requires_grad_(True)
        self.adam = torch.optim.Adam([self.logits], lr=self.rate, betas=(0.8, 0.95))
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.adam, steps)

    def images(self) -> Tensor:
        return torch.sigmoid(self.logits)

    def update(self, cost: Float[Tensor, "n"]) -> None:
        # A cost of exactly 0 has no logarithm, and nothing left to gain.
        loss = cost.clamp_min(1e-12).log().sum()
        (self.logits.grad,) = torch.autograd.grad(loss, self.logits)
        self.adam.step()
        self.schedule.step()
        if self.project is not box:
            with torch.no_grad():
                self.logits.copy_(torch.logit(self.project(self.images()), eps=1e-6))


class Polyak:
    """Steps as long as it takes a straight descent to a cost of 0, which is known to be there.

    On the logarithm of the cost that length is 1 over the slope along the step (Polyak 1969,
    "Minimization of unsmooth functionals", for a known minimum), with no rate to tune. The step
    goes along the gradient over its running root mean square, as Adam's does, but for pixels at a
    bound that it would push beyond. Momentum, and a factor that falls on a cosine from 1.5, beyond
    the straight line, to 0.05, since the cost bends.
    """

    default_steps = 100
    coarse = 0.85  # of the steps may be computed in low precision
    momentum, memory = 0.75, 0.95
    first, last = 1.5, 0.05

    def __init__(self, start: Tensor, steps: int, project: Projection) -> None:
        self.project = project
        self.pixels = project(start).requires_grad_(True)
        self.squares, self.velocity = torch.zeros_like(start), torch.zeros_like(start)
        self.taken, self.steps = 0, steps

    def images(self) -> Tensor:
        return self.pixels

    def update(self, cost: Float[Tensor, "n"]) -> None:
        # A cost of exactly 0 has no logarithm, and nothing left to gain.
        (gradient,) = torch.autograd.grad(cost.clamp_min(1e-12).log().sum(), self.pixels)
        pixels = self.pixels.detach()
        factor = self.last + (self.first - self.last) * (1 + math.cos(math.pi * self.taken / self.steps)) / 2
        self.taken += 1
        self.squares = self.memory * self.squares + (1 - self.memory) * gradient.square()
        free = torch.where(gradient > 0, pixels > 0, pixels < 1)
        step = free * gradient / (self.squares / (1 - self.memory**self.taken)).sqrt().clamp_min(1e-12)
        slope = (gradient * step).flatten(1).sum(dim=1).reshape(-1, 1, 1, 1)
        step = -factor / slope.clamp_min(1e-20) * step
        self.velocity = self.momentum * free * self.velocity + (1 - self.momentum) * step
        self.pixels = self.project(pixels + self.velocity / (1 - self.momentum**self.taken)).requires_grad_(True)


class NormalizedGradient:
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

    def update(self, cost: Float[Tensor, "n"]) -> None:
        (gradient,) = torch.autograd.grad(cost.sum(), self.pixels)
        step = self.length * gradient / (image_norms(gradient) + 1e-10)
        self.pixels = self.project(self.pixels.detach() - step).requires_grad_(True)


class Nearest:
    """Dual averaging: gradients pile up on the seed, and the sum's projection into [0, 1] is the image.

    For a linear network it ends at the image nearest to the seed of all that cost nothing: the
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

    def update(self, cost: Float[Tensor, "n"]) -> None:
        (gradient,) = torch.autograd.grad(cost.square().sum() / 2, self.pixels)
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


Solver = Polyak | AdamLogit | NormalizedGradient | Nearest

SOLVERS: dict[str, type[Solver]] = {"polyak": Polyak, "adam-logit": AdamLogit, "nearest": Nearest, "paper": NormalizedGradient}
DEFAULT_SOLVER = "polyak"
