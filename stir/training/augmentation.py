"""Random shifts and mirror images of training images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

AUGMENTATIONS = ("none", "shift", "shift-flip")


def augment(images: Tensor, augmentation: str, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Shift each of the images [N, C, H, W] by whole pixels, filled up with zeros; mirror half of them.

    Args:
        augmentation: "none"; "shift", by up to an eighth of the height in each direction; or "shift-flip", that and
            mirroring left to right with probability 1/2.
        strength: the largest shift, as a multiple of that eighth.
    """
    if augmentation == "none":
        return images
    n, _, height, width = images.shape
    reach = round(strength * max(height // 8, 1))
    padded = F.pad(images, (reach,) * 4)
    shifts = torch.randint(2 * reach + 1, (2, n, 1), generator=generator)
    rows = (shifts[0] + torch.arange(height)).to(images.device)
    columns = (shifts[1] + torch.arange(width)).to(images.device)
    if augmentation == "shift-flip":
        flip = torch.rand(n, 1, generator=generator).to(images.device) < 0.5
        columns = torch.where(flip, columns.flip(1), columns)
    index = torch.arange(n, device=images.device)[:, None, None]
    # Indexing around a slice moves the channels to the end; the permutation moves them back.
    return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
