"""Solvers of the inversion problem: iterative descents from seed images to the nearest images of residual zero.

A solver holds the iterates of a batch. `images()` are the current ones, in [0, 1] and within the ball if there is one;
`update(residual)` takes one step, given the residual of each image: a vector that depends on that image alone and is to
become zero. Its length is the image's cost. What a step changes it changes in place, so that a GPU can record one and
repeat it (see `stir.computing.replay.Replayed`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
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


class Solver(ABC):
    """Base class of solvers."""

    name: str
    default_steps: int
    coarse: float  # share of the steps that may be computed in low precision
    # Steps after which all further ones do the same operations on tensors at the same places; None for never.
    settled: int | None = None

    @classmethod
    def memory_per_image(cls, steps: int, pixels: int, dim: int) -> int:
        """Bytes kept from step to step for each image; 0 where these are few.

        Args:
            steps: of the descent.
            pixels: of an image, channels included.
            dim: feature dimension.
        """
        return 0

    @abstractmethod
    def __init__(self, start: Float[Tensor, "n c h w"], steps: int, project: Projection) -> None:
        """Begin at `start`, projected by `project`, to take `steps` steps."""

    @abstractmethod
    def images(self) -> Float[Tensor, "n c h w"]:
        """The current iterates."""

    @abstractmethod
    def update(self, residual: Float[Tensor, "n d"]) -> None:
        """Take one step."""


class Tethered(Solver):
    """Anderson acceleration and Polyak's gradient step, with a pull back to the seed image.

    Of all images with residual 0, the one nearest to the seed image is wanted. Each step adds three moves:

    - Anderson acceleration with a trust distance: towards the combination of the last iterates that makes both the
      combined residual and the distance from the seed small, from a small linear system for each image (Anderson 1965,
      "Iterative procedures for nonlinear integral equations"; Fang and Saad 2009, "Two classes of multisecant methods
      for nonlinear acceleration"; the distance is a Tikhonov term). As networks are not linear, only a part of the way
      is taken, and none longer than `reach` allows.
    - A gradient step on the residual expected there, of the length that takes a linear network to cost 0, the known
      minimum (Polyak 1969, "Minimization of unsmooth functionals"), times a factor that fades to almost 0.
    - Back to the seed image, orthogonally to the last gradients, so that the cost hardly changes (Rosen 1960, "The
      gradient projection method for nonlinear programming"); this fades to 0, as it disturbs convergence.

    The weight of nearness, in the first move and the third, is adapted for each image: it falls while the cost is above
    a schedule, a geometric decay from 1 to `goal`, and rises again while it is below (after the discrepancy principle,
    Morozov 1966).
    """

    name = "tethered"
    default_steps = 200
    coarse = 0.9
    memory = 10  # iterates and gradients remembered; no more iterates than the feature dimension
    settled = memory
    damping = 0.1  # of the small system, by its diagonal
    trust = 0.2  # share of the way to the combination that is taken
    reach = 0.5  # largest distance of a combination, in lengths of the gradient step to cost 0
    last = 0.05  # final factor of the gradient step, from 1
    pull = 0.1  # share of the way back to the seed image that is taken, at first
    goal = 0.03  # relative distance at the end of the schedule
    slack = 0.01  # least weight of nearness, of at most 1
    pace = 0.3  # how fast that weight follows the cost

    @classmethod
    def memory_per_image(cls, steps: int, pixels: int, dim: int) -> int:
        # Iterates and gradients, residuals, and the differences to the current iterate and residual.
        return 4 * min(cls.memory, steps) * (3 * pixels + 2 * dim)

    def __init__(self, start: Tensor, steps: int, project: Projection) -> None:
        self.project = project
        self.pixels = project(start).clone().requires_grad_(True)
        self.seed = self.pixels.detach().flatten(1).clone()
        self.steps, self.remembered = steps, 0
        self.taken = torch.zeros(1, dtype=torch.long, device=start.device)
        # By the steps taken: factors of the gradient step and of the pull, and the cost by schedule.
        fades = [(1 + math.cos(math.pi * taken / steps)) / 2 for taken in range(steps)]
        table = [
            (self.last + (1 - self.last) * fade, self.pull * fade, self.goal ** (taken / steps))
            for taken, fade in enumerate(fades)
        ]
        self.table = start.new_tensor(table)
        self.weight = start.new_ones(len(start))  # of nearness, for each image
        # The last iterates [n, memory, p], their residuals [n, memory, d] and unit gradients [n, memory, p].
        self.past, self.residuals, self.gradients = (start.new_empty(len(start), 0, 0) for _ in range(3))
        self.way: Tensor | None = None  # [n], distance along the gradient that takes off a residual of length 1

    def images(self) -> Tensor:
        return self.pixels

    def update(self, residual: Float[Tensor, "n d"]) -> None:
        pixels, known = self.pixels.detach().flatten(1), residual.detach()
        stride, pull, schedule = self.table.index_select(0, self.taken).unbind(1)
        self._slacken(known.norm(dim=1), schedule)
        moved, left = self._combined(pixels, known)
        (gradient,) = torch.autograd.grad((residual * left).sum(), self.pixels)
        gradient = gradient.flatten(1)
        # Components that would push a pixel beyond its bound are dropped.
        gradient = gradient * torch.where(gradient > 0, pixels > 0, pixels < 1)
        # The gradient's length is that of the expected residual, times the slope of the latter's length.
        length = gradient.norm(dim=1).clamp_min(1e-10)
        way = left.norm(dim=1) / length
        if self.way is None:
            self.way = way
        else:
            # Where every pixel is held at its bound the gradient is 0, and says nothing about the distance.
            self.way.copy_(torch.where(length > 1e-10, way, self.way))
        self._remember(pixels, known, gradient / length[:, None])
        step = self.trust * moved - stride * self.way.square()[:, None] * gradient
        step = step + pull * self.weight[:, None] * self._back(pixels)
        with torch.no_grad():
            self.pixels.copy_(self.project((pixels + step).reshape_as(self.pixels)))

    def _slacken(self, cost: Tensor, schedule: Tensor) -> None:
        """Raise the weight of nearness for images whose cost is below its schedule, and lower it for the others."""
        ahead = (schedule * cost.clamp_min(1e-12).reciprocal()).log()
        self.weight.copy_((self.weight * (self.pace * ahead.clamp(-1, 1)).exp()).clamp(self.slack, 1))

    def _combined(self, pixels: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """The move towards the best combination of remembered iterates, and the residual expected after it."""
        if self.way is None:
            return torch.zeros_like(pixels), residual
        count = min(self.remembered, self.past.shape[1])
        moves, changes = self.past[:, :count] - pixels[:, None], self.residuals[:, :count] - residual[:, None]
        away = pixels - self.seed
        # At weight 1 both terms count alike, whatever their units.
        nearness = self.weight * residual.square().sum(dim=1) / away.square().sum(dim=1).clamp_min(1e-12)
        nearness = nearness[:, None, None]
        system = changes @ changes.mT + nearness * (moves @ moves.mT)
        # Each iterate by its own entry: where its residual differs much, it fits the linear model of the network badly.
        system = system + torch.diag_embed(self.damping * system.diagonal(dim1=1, dim2=2) + 1e-12)
        weights = _solve(system, -(changes @ residual[:, :, None] + nearness * (moves @ away[:, :, None])))
        moved = (weights.mT @ moves)[:, 0]
        # `way` is that of the previous step.
        within = self.reach * self.way * residual.norm(dim=1) / moved.norm(dim=1).clamp_min(1e-20)
        share = within.clamp(max=1)[:, None]
        return share * moved, residual + share * (weights.mT @ changes)[:, 0]

    def _back(self, pixels: Tensor) -> Tensor:
        """The way back to the seed image, less its part along the remembered gradients."""
        back, along = self.seed - pixels, self.gradients[:, : self.remembered]
        system = along @ along.mT
        ridge = 1e-4 * torch.eye(along.shape[1], device=along.device, dtype=along.dtype)
        weights = _solve(system + ridge, along @ back[:, :, None])
        return back - (weights.mT @ along)[:, 0]

    def _remember(self, pixels: Tensor, residual: Tensor, gradient: Tensor) -> None:
        if self.remembered == 0:
            memory = min(self.memory, self.steps)
            iterates = min(memory, residual.shape[1])
            self.past = pixels.new_empty(len(pixels), iterates, pixels.shape[1])
            self.residuals = residual.new_empty(len(residual), iterates, residual.shape[1])
            self.gradients = pixels.new_empty(len(pixels), memory, pixels.shape[1])
        for kept, new in ((self.past, pixels), (self.residuals, residual), (self.gradients, gradient)):
            oldest = self.taken % kept.shape[1]  # in whose place it goes; their order does not matter
            kept.index_copy_(1, oldest, new[:, None])
        self.taken += 1
        self.remembered = min(self.remembered + 1, self.memory)


def _solve(system: Tensor, wanted: Tensor) -> Tensor:
    """The solutions of small linear systems that a ridge makes regular."""
    # Not `solve`, which on a GPU would wait for the result to see that the system is regular. On the CPU for MPS, for
    # which older versions of PyTorch have no such function.
    place = "cpu" if system.device.type == "mps" else system.device
    return torch.linalg.solve_ex(system.to(place), wanted.to(place))[0].to(system.device)


class AdamLogit(Solver):
    """Adam on z with x = sigmoid(z), which keeps pixels in [0, 1] with no clamp to stall at.

    Descends on the logarithm of any cost, also one that has no 0, such as that of `stir.controversial`; the step
    size falls to zero on a cosine. It begins at the seed image clamped to [0.05, 0.95], and ends further from it than
    other solvers do.
    """

    name = "adam-logit"
    default_steps = 300
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

    Its first gradient is that at the clamped seed image, and 0 for the pixels that were clamped; but the first step is
    taken from the seed image as it was drawn.
    """

    name = "paper"
    default_steps = 1_000
    coarse = 0.0  # the authors' is in float32
    settled = 1
    length = 0.5

    def __init__(self, start: Tensor, steps: int, project: Projection) -> None:
        self.project = project
        # Of the next step; outside [0, 1] only at the first.
        self.origin = (start if project is box else project(start)).clone()
        self.pixels = project(start).clone().requires_grad_(True)

    def images(self) -> Tensor:
        return self.pixels

    def update(self, residual: Float[Tensor, "n d"]) -> None:
        (gradient,) = torch.autograd.grad(residual.norm(dim=1).sum(), self.pixels)
        gradient = gradient * (self.origin == self.pixels)  # the authors' networks clamp their input
        self.origin.copy_(self.project(self.origin - self.length * gradient / (image_norms(gradient) + 1e-10)))
        with torch.no_grad():
            self.pixels.copy_(self.origin)


class Nearest(Solver):
    """Dual averaging: gradients add up on the seed image, and the image is the projection of the sum into [0, 1].

    The seed image itself is projected first. For a linear network this ends at the image nearest to it of all with
    residual 0: the point x = project(seed + A^T u) with Ax as wanted meets that problem's optimality conditions. So it
    has a ground truth (Nesterov 2009, "Primal-dual subgradient methods for convex problems"). Descends on half the
    squared cost, with the step size of Barzilai and Borwein (1988), "Two-point step size gradient methods", for each
    image.
    """

    name = "nearest"
    default_steps = 300
    coarse = 0.0  # its step is a quotient of small differences
    settled = 1
    length = 0.5

    def __init__(self, start: Tensor, steps: int, project: Projection) -> None:
        self.project = project
        # Not the seed as it was drawn: a Gaussian pixel far outside [0, 1] would have a long way back, and stall there.
        self.total = project(start).clone()
        self.before: tuple[Tensor, Tensor] | None = None  # the sum and the gradient of the last step
        self.pixels = project(self.total).clone().requires_grad_(True)

    def images(self) -> Tensor:
        return self.pixels

    def update(self, residual: Float[Tensor, "n d"]) -> None:
        (gradient,) = torch.autograd.grad(residual.square().sum() / 2, self.pixels)
        total = self.total - self._rate(gradient) * gradient
        if self.before is None:
            self.before = self.total.clone(), gradient
        else:
            self.before[0].copy_(self.total)
            self.before[1].copy_(gradient)
        self.total.copy_(total)
        with torch.no_grad():
            self.pixels.copy_(self.project(total))

    def _rate(self, gradient: Tensor) -> Tensor:
        first = self.length / (image_norms(gradient) + 1e-10)
        if self.before is None:
            return first
        moved, turned = self.total - self.before[0], gradient - self.before[1]
        curvature = (moved * turned).flatten(1).sum(dim=1).abs().reshape(-1, 1, 1, 1)
        rate = image_norms(moved).square() / curvature.clamp_min(1e-30)
        # Where the gradient turned so that the two points say nothing, no step is longer than the first.
        return torch.minimum(rate, first)


SOLVERS: dict[str, type[Solver]] = {solver.name: solver for solver in (Tethered, Nearest, NormalizedGradient)}
DEFAULT_SOLVER = Tethered.name
