"""The descents of inversion: from seed images, step by step, to images that cost nothing and are near to these.

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

from stir.data.balls import Ball, image_norms

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


class Tethered(Solver):
    """Descends to cost 0 on a tether to the seed image, which is slackened as far as an image needs to arrive.

    An image is to be represented as asked, and to be the one nearest to its seed image among those that are. Each
    step adds three moves:

    - Towards the best combination of the last iterates: the residuals, which combine as the iterates do, are to be
      short, and the combined iterate is to be near the seed, a small system for each image (Anderson 1965, "Iterative
      procedures for nonlinear integral equations"; Fang and Saad 2009, "Two classes of multisecant methods for nonlinear
      acceleration"; the second term is Tikhonov's). Networks bend, so only a part of the way is gone, and none
      further than `reach` allows.
    - Along the gradient for the residual left there, as far as a straight descent to cost 0, which is known to exist,
      would go (Polyak 1969, "Minimization of unsmooth functionals"), times a factor that fades to almost nothing.
    - Back to the seed, across the last gradients, since along them lies what the network asks for (Rosen 1960, "The
      gradient projection method for nonlinear programming"); this fades to nothing, as it disturbs the rest.

    How much nearness counts, in the combination and on the way back, is decided for each image: less while its cost lags
    behind a straight line, in logarithms, from 1 at the start to `goal` at the end, and more again once it is ahead (after
    the discrepancy principle, Morozov 1966).
    """

    default_steps = 200
    coarse = 0.9
    memory = 10  # iterates and gradients remembered; of the former not more than the residual has numbers
    damping = 0.1  # of the small system, by its diagonal
    trust = 0.2  # how much of the way to the combination is gone
    reach = 0.5  # how far away a combination may lie, by the length of the straight descent to 0
    last = 0.05  # what the factor of the gradient step fades to, from 1
    pull = 0.1  # how much of the way back to the seed is gone, at first
    goal = 0.03
    slack, pace = 0.01, 0.3  # the least weight of nearness, of 1, and how fast it follows the cost

    @classmethod
    def remembered(cls, steps: int, pixels: int, numbers: int) -> int:
        # Iterates and gradients, residuals, and the differences to the former and to the latter.
        return 4 * min(cls.memory, steps) * (3 * pixels + 2 * numbers)

    def __init__(self, start: Tensor, steps: int, project: Projection) -> None:
        self.project = project
        self.pixels = project(start).requires_grad_(True)
        self.seed = self.pixels.detach().flatten(1)
        self.taken, self.steps = 0, steps
        self.weight = start.new_ones(len(start))  # of nearness, for each image
        # The last iterates [n, memory, p], their residuals [n, memory, d], the directions of their gradients [n, memory, p].
        self.past, self.residuals, self.gradients = (None,) * 3
        self.way: Tensor | None = None  # [n], how far the gradient has to be followed for a residual of length 1

    def images(self) -> Tensor:
        return self.pixels

    def update(self, residual: Float[Tensor, "n d"]) -> None:
        pixels, known = self.pixels.detach().flatten(1), residual.detach()
        fade = (1 + math.cos(math.pi * self.taken / self.steps)) / 2
        self._slacken(known.norm(dim=1))
        moved, left = self._combined(pixels, known)
        (gradient,) = torch.autograd.grad((residual * left).sum(), self.pixels)
        gradient = gradient.flatten(1)
        # Not for pixels at a bound that it would push beyond.
        gradient = gradient * torch.where(gradient > 0, pixels > 0, pixels < 1)
        # This gradient's length is that of what is left, times the slope of the latter.
        length = gradient.norm(dim=1).clamp_min(1e-10)
        way = left.norm(dim=1) / length
        # Where every pixel is held at its bound the gradient is 0, and tells nothing of the way.
        self.way = way if self.way is None else torch.where(length > 1e-10, way, self.way)
        self._remember(pixels, known, gradient / length[:, None])
        step = self.trust * moved - (self.last + (1 - self.last) * fade) * self.way.square()[:, None] * gradient
        step = step + self.pull * fade * self.weight[:, None] * self._back(pixels)
        self.pixels = self.project((pixels + step).reshape_as(self.pixels)).requires_grad_(True)

    def _slacken(self, cost: Tensor) -> None:
        """Adapt the weight of nearness to how far each image's cost is ahead of its schedule or behind."""
        ahead = (self.goal ** (self.taken / self.steps) / cost.clamp_min(1e-12)).log()
        self.weight = (self.weight * (self.pace * ahead.clamp(-1, 1)).exp()).clamp(self.slack, 1)

    def _combined(self, pixels: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """The move to the best combination of what is remembered, or as far towards it as allowed, and the residual to be expected there."""
        if self.past is None:
            return torch.zeros_like(pixels), residual
        kept = min(self.taken, self.past.shape[1])
        moves, changes = self.past[:, :kept] - pixels[:, None], self.residuals[:, :kept] - residual[:, None]
        away = pixels - self.seed
        # Both terms count alike at weight 1, whatever their units.
        nearness = (self.weight * residual.square().sum(dim=1) / away.square().sum(dim=1).clamp_min(1e-12))[
            :, None, None
        ]
        system = changes @ changes.mT + nearness * (moves @ moves.mT)
        # Each by its own size: an iterate whose residual differs much lies far away, and what it tells of the network here is worth less.
        system = system + torch.diag_embed(self.damping * system.diagonal(dim1=1, dim2=2) + 1e-12)
        weights = _solve(system, -(changes @ residual[:, :, None] + nearness * (moves @ away[:, :, None])))
        moved = (weights.mT @ moves)[:, 0]
        # The straight descent's length is that at the slope of the step before.
        within = self.reach * self.way * residual.norm(dim=1) / moved.norm(dim=1).clamp_min(1e-20)
        share = within.clamp(max=1)[:, None]
        return share * moved, residual + share * (weights.mT @ changes)[:, 0]

    def _back(self, pixels: Tensor) -> Tensor:
        """The way back to the seed, less what of it lies along the remembered gradients."""
        back, along = self.seed - pixels, self.gradients[:, : self.taken]
        system = along @ along.mT
        weights = _solve(
            system + 1e-4 * torch.eye(along.shape[1], device=along.device, dtype=along.dtype), along @ back[:, :, None]
        )
        return back - (weights.mT @ along)[:, 0]

    def _remember(self, pixels: Tensor, residual: Tensor, gradient: Tensor) -> None:
        if self.past is None:
            room, memory = min(self.memory, residual.shape[1], self.steps), min(self.memory, self.steps)
            self.past = pixels.new_empty(len(pixels), room, pixels.shape[1])
            self.residuals = residual.new_empty(len(residual), room, residual.shape[1])
            self.gradients = pixels.new_empty(len(pixels), memory, pixels.shape[1])
        place = self.taken % self.past.shape[1]  # the oldest; their order does not matter
        self.past[:, place], self.residuals[:, place] = pixels, residual
        self.gradients[:, self.taken % self.gradients.shape[1]] = gradient
        self.taken += 1


def _solve(system: Tensor, wanted: Tensor) -> Tensor:
    """The solution of small systems that a ridge makes regular."""
    # Not `solve`, which on a GPU would wait for the result, to see that the system is regular. On the CPU for MPS, for which
    # older versions of PyTorch have no such function.
    place = "cpu" if system.device.type == "mps" else system.device
    return torch.linalg.solve_ex(system.to(place), wanted.to(place))[0].to(system.device)


class AdamLogit(Solver):
    """Adam on z with x = sigmoid(z), which keeps pixels in [0, 1] with no clamp to stall at.

    Descends on the logarithm of any cost, one that has no 0 included, as that of `stir.controversial`; the step
    falls to zero on a cosine. It begins at the seed image clamped to [0.05, 0.95], and ends further from it than it need.
    """

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
    """The authors' algorithm: steps of length 0.5 along the gradient, pixels clamped to [0, 1] after each.

    Its first gradient is that at the clamped seed image, and 0 for the pixels that were clamped; but the first step is taken from the
    seed image as it was drawn.
    """

    default_steps = 1_000
    coarse = 0.0  # theirs is in float32
    length = 0.5

    def __init__(self, start: Tensor, steps: int, project: Projection) -> None:
        self.project = project
        self.origin = start if project is box else project(start)  # of the next step; outside [0, 1] only at the first
        self.pixels = project(start).requires_grad_(True)

    def images(self) -> Tensor:
        return self.pixels

    def update(self, residual: Float[Tensor, "n d"]) -> None:
        (gradient,) = torch.autograd.grad(residual.norm(dim=1).sum(), self.pixels)
        gradient = gradient * (self.origin == self.pixels)  # their networks clamp what they are given
        self.origin = self.project(self.origin - self.length * gradient / (image_norms(gradient) + 1e-10))
        self.pixels = self.origin.clone().requires_grad_(True)


class Nearest(Solver):
    """Dual averaging: gradients pile up on the seed image, and the sum's projection into [0, 1] is the image.

    The seed image is first projected itself. For a linear network this ends at the image nearest to it of all that cost
    nothing: the point x = project(seed + A^T u) with Ax as wanted meets that problem's optimality conditions.
    So it has a ground truth (Nesterov 2009,
    "Primal-dual subgradient methods for convex problems"). Descends on half the squared cost, with
    the step of Barzilai and Borwein (1988), "Two-point step size gradient methods", for each image.
    """

    default_steps = 300
    coarse = 0.0  # its step is a quotient of small differences
    length = 0.5

    def __init__(self, start: Tensor, steps: int, project: Projection) -> None:
        self.project = project
        # Not the seed as it was drawn: a Gaussian pixel far outside [0, 1] would have a long way back, and stall there.
        self.total = project(start)
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


SOLVERS: dict[str, type[Solver]] = {"tethered": Tethered, "nearest": Nearest, "paper": NormalizedGradient}
DEFAULT_SOLVER = "tethered"
