"""Images as one checked tensor [N, C, H, W] in [0, 1], from a tensor, a data set or a data loader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stir.data import splits
from stir.data.deferred import DeferredImages, DeferredSplit
from stir.data.pixels import rgb_image

# Where the image is in an item that is a dict, the first that there is.
IMAGE_KEYS = ("pixel_values", "image", "img")


@runtime_checkable
class Items(Protocol):
    """A data set of another library, such as Hugging Face's `datasets`: items by their number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


Images = Tensor | Dataset | DataLoader | Items | DeferredImages


def gather_images(images: Images) -> Float[Tensor, "n c h w"]:
    """Gather all of `images` in one tensor; a data set or loader is read once, in its own order.

    Args:
        images: a tensor [N, C, H, W]; a data set, `torch.utils.data.Dataset` or Hugging Face's; a `DataLoader`;
            or images of a deferred data set, which are loaded now.
            An item of a data set is an image [C, H, W] or Pillow's, which becomes a tensor in [0, 1], grey with one
            channel or RGB with three; a batch of a loader is images [B, C, H, W]. Both may be tuples that begin
            with these, or dicts that hold them under one of `IMAGE_KEYS`; bytes, as with_format("torch") makes them
            of Hugging Face's images, are divided by 255.

    Raises:
        ValueError: another kind of object, such as a split with its labels, items that hold no image or are of several
            shapes, or images that `check_images` refuses.
    """
    if isinstance(images, (splits.Split, DeferredSplit, splits.Dataset)):
        raise ValueError(
            f"images is a {type(images).__name__}, with labels; give the images alone, all of a split's or the first "
            "of them, as dataset.test.images or dataset.test.take(100)"
        )
    gathered: Any = images
    if isinstance(images, DeferredImages):
        gathered = images.load()
    elif isinstance(images, DataLoader):
        gathered = _join(images, torch.cat, "batch")
    elif _is_dataset(images):
        gathered = _join(_items(images), torch.stack, "item")
    check_images(gathered)
    return gathered


def _is_dataset(images: object) -> bool:
    if isinstance(images, Dataset):
        return True
    others = (Tensor, list, tuple, set, Mapping, str, bytes, Iterator)
    is_array = hasattr(images, "__array__")  # or a table
    return isinstance(images, (Items, Iterable)) and not isinstance(images, others) and not is_array


def _items(dataset: Any) -> Iterable:
    return dataset if isinstance(dataset, Iterable) else (dataset[index] for index in range(len(dataset)))


def _join(parts: Iterable, join: Callable[[list[Tensor]], Tensor], kind: str) -> Tensor:
    tensors: list[Tensor] = []
    for index, part in enumerate(parts):
        tensor = _image_of(part, f"{kind} {index}")
        if tensors and tensor.shape[-3:] != tensors[0].shape[-3:]:
            raise ValueError(
                f"images: {kind} {index} has shape {tuple(tensor.shape)} after {tuple(tensors[0].shape)}; "
                "resize all to one shape"
            )
        tensors.append(tensor)
    if not tensors:
        raise ValueError("images holds no image; give at least one")
    return join(tensors)


def _image_of(part: object, place: str) -> Tensor:
    """Return the image of an item, or the images of a batch."""
    image = part[0] if isinstance(part, (tuple, list)) and part else part
    key = None
    if isinstance(image, Mapping):
        key = next((key for key in IMAGE_KEYS if key in image), None)
        if key is None:
            raise ValueError(
                f"images: {place} is a dict with the keys {', '.join(map(repr, image))}; its image must be under "
                f"{', '.join(map(repr, IMAGE_KEYS[:-1]))} or {IMAGE_KEYS[-1]!r}"
            )
        image = image[key]
    if isinstance(image, Image.Image):
        pixels = np.asarray(rgb_image(image))
        pixels = pixels[..., :1] if image.mode == "L" else pixels  # grey: all channels are alike
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255
    if not isinstance(image, Tensor):
        under = f" under {key!r}" if key else ""
        remedy = "make it one [C, H, W]" if key else "give the data set a transform such as torchvision's ToTensor()"
        raise ValueError(f"images: {place} holds a {type(image).__name__}{under}, not a tensor; {remedy}")
    return image / 255 if image.dtype == torch.uint8 else image


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
