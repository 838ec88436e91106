"""Projected gradient descent: the strongest first-order attack within a norm ball (Madry et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from stir.data.balls import Ball, image_norms
from stir.networks.outputs import logits_of


@dataclass(frozen=True)
class PGD:
    """Attack that raises the cross-entropy within a norm ball around each image.

    Attributes:
        norm: "l2" or "linf".
        epsilon: radius of the ball, for pixels in [0, 1].
        steps: number of gradient steps, each of size 2.5 epsilon / steps (Madry et al. 2018).

    Raises:
        ValueError: an unknown norm, or a number out of range.
    """

    norm: str
    epsilon: float
    steps: int

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise ValueError(f"epsilon={self.epsilon} must be above 0")
        Ball(self.norm, self.epsilon)  # raises for an unknown norm
        if self.steps < 1:
            raise ValueError(f"steps={self.steps} must be at least 1")

    def __call__(
        self,
        model: Callable[[Tensor], Any],
        images: Float[Tensor, "n c h w"],
        labels: Int[Tensor, "n"] | Float[Tensor, "n k"],
        generator: torch.Generator,
    ) -> Float[Tensor, "n c h w"]:
        """Return adversarial images in [0, 1], at most epsilon away from `images`.

        Args:
            model: maps images to logits, or to what holds them (see `stir.networks.outputs.logits_of`); a network keeps
                its train or eval mode.
            labels: class numbers, or class probabilities. With the network's own probabilities for `images`, the
                cross-entropy is the KL divergence from them plus a constant.
            generator: draws the start, uniformly in the ball for linf and on its surface for l2.

        Raises:
            ValueError: no logits, or none that pass a gradient to the images.
        """
        return self.from_start(model, images, labels, self.start(images.shape, generator).to(images.device))

    @torch.enable_grad()  # also under a caller's no_grad
    def from_start(
        self,
        model: Callable[[Tensor], Any],
        images: Float[Tensor, "n c h w"],
        labels: Int[Tensor, "n"] | Float[Tensor, "n k"],
        start: Float[Tensor, "n c h w"],
    ) -> Float[Tensor, "n c h w"]:
        """Adversarial images, as a call returns them, from an offset that `start` has drawn, on the images' device."""
        ball = Ball(self.norm, self.epsilon)
        adversarial = (images + start).clamp(0, 1)
        for _ in range(self.steps):
            adversarial.requires_grad_(True)
            loss = F.cross_entropy(logits_of(model(adversarial)).float(), labels, reduction="sum")
            if not loss.requires_grad:
                raise ValueError(
                    "model passes no gradient from its logits to the images, which the attack needs: part of it runs "
                    "under torch.no_grad, is detached, or has no derivative"
                )
            (gradient,) = torch.autograd.grad(loss, adversarial)
            step = 2.5 * self.epsilon / self.steps * self._direction(gradient)
            offset = ball.project(adversarial.detach() + step - images)
            adversarial = (images + offset).clamp(0, 1)
        return adversarial

    def start(self, shape: Sequence[int], generator: torch.Generator) -> Float[Tensor, "n c h w"]:
        """Draw the offset that the attack on images of `shape` begins at.

        It is drawn on the CPU and in float32, so that it is the same for every device and every default of PyTorch's.
        """
        if self.norm == "linf":
            offset = 2 * torch.rand(*shape, generator=generator, dtype=torch.float32) - 1
        else:
            offset = torch.randn(*shape, generator=generator, dtype=torch.float32)
            offset /= image_norms(offset)
        return self.epsilon * offset

    def _direction(self, gradient: Tensor) -> Tensor:
        if self.norm == "linf":
            return gradient.sign()
        return gradient / image_norms(gradient).clamp_min(torch.finfo(gradient.dtype).tiny)
