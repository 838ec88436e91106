"""L2 and L-infinity balls around images."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

NORMS = ("l2", "linf")


def image_norms(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 1 1"]:
    """Euclidean norm of each image, shaped to divide the images by."""
    return images.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)


@dataclass(frozen=True)
class Ball:
    """All images within `radius` of a centre.

    Attributes:
        norm: "l2", the Euclidean distance over all pixels; or "linf", the largest difference in a pixel.
        radius: above 0 and finite, for pixels in [0, 1].

    Raises:
        ValueError: an unknown norm, or a radius that is not above 0 or not finite.
    """

    norm: str
    radius: float

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ValueError(f"norm={self.norm!r} is unknown; use one of {', '.join(NORMS)}")
        if not 0 < self.radius < math.inf:  # the L2 projection onto an infinite ball would be NaN
            raise ValueError(f"radius={self.radius} must be above 0, and finite")

    def project(self, offset: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Project an offset from the centre onto the ball: the nearest offset within `radius`."""
        if self.norm == "linf":
            return offset.clamp(-self.radius, self.radius)
        return offset * (self.radius / image_norms(offset).clamp_min(self.radius))
