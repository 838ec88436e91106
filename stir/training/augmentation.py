"""Random shifts and mirror images of training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

AUGMENTATIONS = ("none", "shift", "shift-flip")


@dataclass(frozen=True)
class Augmentation:
    """Shifts of images by whole pixels, filled up with zeros, and mirror images of half of them.

    Attributes:
        name: "none"; "shift", by up to an eighth of the height in each direction; or "shift-flip", that and
            mirroring left to right with probability 1/2.
        strength: the largest shift, as a multiple of that eighth.
    """

    name: str
    strength: float = 1.0

    def draw(self, shape: Sequence[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw, on the CPU, which rows [N, H] and columns [N, W] of the padded images [N, C, H, W] `apply` takes."""
        if self.name == "none":
            return ()
        n, _, height, width = shape
        shifts = torch.randint(2 * self._reach(height) + 1, (2, n, 1), generator=generator)
        rows, columns = shifts[0] + torch.arange(height), shifts[1] + torch.arange(width)
        if self.name == "shift-flip":
            flip = torch.rand(n, 1, generator=generator, dtype=torch.float32) < 0.5
            columns = torch.where(flip, columns.flip(1), columns)
        return rows, columns

    def apply(self, images: Float[Tensor, "n c h w"], *drawn: Tensor) -> Float[Tensor, "n c h w"]:
        """The images as `draw` has drawn, with what it drew on their device."""
        if not drawn:
            return images
        rows, columns = drawn
        padded = F.pad(images, (self._reach(images.shape[2]),) * 4)
        index = torch.arange(len(images), device=images.device)[:, None, None]
        # Indexing around a slice moves the channels to the end; the permutation moves them back.
        return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()

    def _reach(self, height: int) -> int:
        """Largest shift in pixels."""
        return round(self.strength * max(height // 8, 1))
