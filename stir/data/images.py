"""Images as one checked tensor [N, C, H, W] in [0, 1], from a tensor, a data set or a data loader."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Images = Tensor | Dataset | DataLoader


def gather_images(images: Images) -> Float[Tensor, "n c h w"]:
    """Gather all of `images` in one tensor; a data set or loader is read once, in its own order.

    Args:
        images: a tensor [N, C, H, W]; a `torch.utils.data.Dataset` whose items are images [C, H, W] or tuples that
            begin with one; or a `DataLoader` whose batches are images [B, C, H, W] or tuples that begin with them.

    Raises:
        ValueError: another kind of object, items that are no tensors or of several shapes, or images that
            `check_images` refuses.
    """
    if isinstance(images, DataLoader):
        images = _join(images, torch.cat, "batch")
    elif isinstance(images, Dataset):
        images = _join(_items(images), torch.stack, "item")
    check_images(images)
    return images


def _items(dataset: Dataset) -> Iterable:
    if isinstance(dataset, Iterable):
        return dataset
    # A map-style data set, which has a length although torch's base class declares none.
    return (dataset[index] for index in range(len(dataset)))  # pyright: ignore[reportArgumentType]


def _join(parts: Iterable, join: Callable[[list[Tensor]], Tensor], kind: str) -> Tensor:
    tensors: list[Tensor] = []
    for index, part in enumerate(parts):
        tensor = part[0] if isinstance(part, (tuple, list)) else part
        if not isinstance(tensor, Tensor):
            raise ValueError(
                f"images: {kind} {index} holds a {type(tensor).__name__}, not a tensor; "
                "give the data set a transform such as torchvision's ToTensor()"
            )
        if tensors and tensor.shape[-3:] != tensors[0].shape[-3:]:
            raise ValueError(
                f"images: {kind} {index} has shape {tuple(tensor.shape)} after {tuple(tensors[0].shape)}; "
                "resize all to one shape"
            )
        tensors.append(tensor)
    if not tensors:
        raise ValueError("images holds no image; give at least one")
    return join(tensors)


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
            f"images must lie in [0, 1] but lie in [{low:.3g}, {high:.3g}]; "
            "put the normalization inside the network with stir.Normalize"
        )
