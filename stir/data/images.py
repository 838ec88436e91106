"""The images that everything is measured on: floats [N, C, H, W] in [0, 1], from a tensor, a data set or a data loader."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Images = Tensor | Dataset | DataLoader


def gather_images(images: Images) -> Float[Tensor, "n c h w"]:
    """All of `images` in one tensor, read once and in the order in which they come.

    Args:
        images: a tensor [N, C, H, W]; a `torch.utils.data.Dataset`, whose items are images [C, H, W] or tuples that begin
            with one; or a `DataLoader`, whose batches are images [B, C, H, W] or tuples that begin with them.

    Raises:
        ValueError: another kind of object, items that are no tensors or have several shapes, or what `check_images` refuses.
    """
    if isinstance(images, DataLoader):
        images = _joined(images, torch.cat, "batch")
    elif isinstance(images, Dataset):
        items = images if hasattr(images, "__iter__") else (images[index] for index in range(len(images)))
        images = _joined(items, torch.stack, "item")
    check_images(images)
    return images


def _joined(parts: Iterable, join, kind: str) -> Tensor:
    found: list[Tensor] = []
    for index, part in enumerate(parts):
        image = part[0] if isinstance(part, (tuple, list)) else part
        if not isinstance(image, Tensor):
            raise ValueError(
                f"images: {kind} {index} holds a {type(image).__name__}, not a tensor; give the data set a transform such as torchvision's ToTensor()"
            )
        if found and image.shape[-3:] != found[0].shape[-3:]:
            raise ValueError(
                f"images: {kind} {index} has shape {tuple(image.shape)} after {tuple(found[0].shape)}; resize all to one shape"
            )
        found.append(image)
    if not found:
        raise ValueError("images holds no image; give at least one")
    return join(found)


def check_images(images: object) -> None:
    """Raise a ValueError unless `images` is a float tensor [N, C, H, W] in [0, 1] with N at least 1."""
    if not isinstance(images, Tensor) or images.ndim != 4:
        got = f"shape {tuple(images.shape)}" if isinstance(images, Tensor) else f"a {type(images).__name__}"
        raise ValueError(f"images must be a tensor [N, C, H, W], or a torch Dataset or DataLoader of images, not {got}")
    if not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}; they must be floats in [0, 1]: use images.float() / 255")
    if images.numel() == 0:
        raise ValueError(f"images has shape {tuple(images.shape)}: there is nothing in it; give at least one image")
    if not torch.isfinite(images).all():
        raise ValueError("images holds NaN or infinite pixels; remove them")
    low, high = images.min().item(), images.max().item()
    if low < 0 or high > 1:
        raise ValueError(
            f"images must lie in [0, 1] but lie in [{low:.3g}, {high:.3g}]; put the normalization inside the network with stir.Normalize"
        )
