"""Data sets that come with libraries: scikit-learn's digits, and torchvision's, which downloads them once."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from stir.data.splits import Dataset, Split
from stir.files import store_folder

DIGITS_SIZE = (16, 16)
DIGITS_TRAIN = 1_400
# Name -> class in torchvision.datasets, and the folder of its files within the folder of downloads.
TORCHVISION_DATASETS = {
    "mnist": ("MNIST", "MNIST/raw/"),
    "fashion-mnist": ("FashionMNIST", "FashionMNIST/raw/"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py/"),
    "cifar100": ("CIFAR100", "cifar-100-python/"),
    "svhn": ("SVHN", ""),
    "stl10": ("STL10", "stl10_binary/"),
}
# Data sets whose files may hold the classes one after another: their authors do not say that the order is mixed,
# as those of CIFAR and Fashion-MNIST do, and nothing else shows that it is.
UNORDERED = ("stl10",)


def load_sklearn_digits(size: tuple[int, int] | None) -> Dataset:
    """scikit-learn's handwritten digits, enlarged bilinearly to `size`, or to `DIGITS_SIZE`."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(np.asarray(pixels, np.float32).reshape(-1, 1, 8, 8) / 16)
    images = F.interpolate(images, size=size or DIGITS_SIZE, mode="bilinear", align_corners=False)
    whole = Split(images, torch.from_numpy(np.asarray(labels, np.int64)))
    return Dataset("digits", whole[:DIGITS_TRAIN], whole[DIGITS_TRAIN:], tuple(str(digit) for digit in range(10)))


def load_torchvision(name: str, size: tuple[int, int] | None) -> Dataset:
    """One of `TORCHVISION_DATASETS`, resized bilinearly to `size`, if that is not None.

    Raises:
        ConnectionError: it is not in the store and cannot be downloaded.
    """
    import torchvision

    class_name, subfolder = TORCHVISION_DATASETS[name]
    dataset_class, root = getattr(torchvision.datasets, class_name), store_folder() / "downloads"
    splits: dict[str, Split] = {}
    class_names = [str(number) for number in range(10)]
    for split in ("train", "test"):
        option = {"split": split} if name in ("svhn", "stl10") else {"train": split == "train"}
        try:
            raw = dataset_class(str(root), **option, download=True)  # looks for the files before it downloads them
        except (OSError, RuntimeError) as error:
            raise ConnectionError(
                f"dataset={name!r} is not in {root} and could not be downloaded ({' '.join(str(error).split())}). "
                f"Where there is a network, torchvision.datasets.{class_name}(FOLDER, download=True) gets it; "
                f"put its files into {root / subfolder}, or set $STIR_STORE"
            ) from error
        class_names = getattr(raw, "classes", None) or class_names
        splits[split] = _as_split(raw, size)
        if name in UNORDERED:
            splits[split] = splits[split][_mixed_order(len(splits[split]))]
    return Dataset(name, splits["train"], splits["test"], tuple(class_names))


def _mixed_order(n_images: int) -> Int[Tensor, "n"]:
    """Fixed permutation of the images, by the SHA-256 of each index (compare `stir.data.folders.mixed_order`)."""
    return torch.tensor(sorted(range(n_images), key=lambda index: hashlib.sha256(str(index).encode()).digest()))


def _as_split(raw: Any, size: tuple[int, int] | None) -> Split:
    """Convert a data set of torchvision's; its `data` is [N, H, W] if grey, else [N, H, W, C] or [N, C, H, W]."""
    pixels = torch.as_tensor(raw.data)
    labels = torch.as_tensor(np.asarray(raw.targets if hasattr(raw, "targets") else raw.labels), dtype=torch.int64)
    if pixels.ndim == 3:
        pixels = pixels.unsqueeze(1)
    elif pixels.shape[3] == 3:
        pixels = pixels.permute(0, 3, 1, 2)
    images = pixels.contiguous() / 255
    if size is not None and images.shape[2:] != size:
        resized = F.interpolate(images, size=size, mode="bilinear", antialias=True)
        images = resized.clamp(0, 1)  # rounding may overshoot
    return Split(images, labels)
