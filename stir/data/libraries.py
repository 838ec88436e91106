"""Data sets that come with libraries: scikit-learn's digits, and torchvision's, which downloads them once."""

from __future__ import annotations

import hashlib
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path
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
TIMEOUT, ASKED_AGAIN = 10, 60  # seconds: for a server to answer, and until it is asked anew


@dataclass(frozen=True)
class Download:
    """A data set that torchvision downloads.

    Attributes:
        class_name: in torchvision.datasets.
        folder: of its files, within the folder of downloads.
        files: some of them, the first of training and the last of testing: with these the others are there.
        megabytes: that are downloaded, as the servers state them.
    """

    class_name: str
    folder: str
    files: tuple[str, str]
    megabytes: int


_IDX = ("train-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
TORCHVISION_DATASETS = {
    "mnist": Download("MNIST", "MNIST/raw/", _IDX, 12),
    "fashion-mnist": Download("FashionMNIST", "FashionMNIST/raw/", _IDX, 31),
    "cifar10": Download("CIFAR10", "cifar-10-batches-py/", ("data_batch_1", "test_batch"), 170),
    "cifar100": Download("CIFAR100", "cifar-100-python/", ("train", "test"), 169),
    "svhn": Download("SVHN", "", ("train_32x32.mat", "test_32x32.mat"), 246),
    "stl10": Download("STL10", "stl10_binary/", ("train_X.bin", "test_X.bin"), 2640),
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
    dataset_class, root = _class_of(name), _downloads()
    splits: dict[str, Split] = {}
    class_names = [str(number) for number in range(10)]
    for split in ("train", "test"):
        option = {"split": split} if name in ("svhn", "stl10") else {"train": split == "train"}
        try:
            raw = dataset_class(str(root), **option, download=True)  # looks for the files before it downloads them
        except (OSError, RuntimeError) as error:
            raise ConnectionError(_refusal(name, error)) from error
        class_names = getattr(raw, "classes", None) or class_names
        splits[split] = _as_split(raw, size)
        if name in UNORDERED:
            splits[split] = splits[split][_mixed_order(len(splits[split]))]
    return Dataset(name, splits["train"], splits["test"], tuple(class_names))


def missing_download(name: str) -> str | None:
    """A sentence on what loading one of `TORCHVISION_DATASETS` downloads; None where its files are here.

    Raises:
        ValueError: they are not, and the server that has them does not answer.
    """
    if is_downloaded(name):
        return None
    source, root = TORCHVISION_DATASETS[name], _downloads()
    addresses = _addresses(_class_of(name))
    reasons = [_unanswered(address, round(time.monotonic() / ASKED_AGAIN)) for address in addresses]
    if all(reasons):
        raise ValueError(_refusal(name, reasons[0]))
    return f"{name} is not here yet: torchvision downloads {source.megabytes:,} MB into {root / source.folder}"


def is_downloaded(name: str) -> bool:
    """True if the files of one of `TORCHVISION_DATASETS` are here, or their archive, which torchvision unpacks."""
    source, root = TORCHVISION_DATASETS[name], _downloads()
    if all((root / source.folder / file).exists() for file in source.files):
        return True
    names = [Path(address).name for address in _addresses(_class_of(name))]
    return any((folder / name).exists() for folder in (root, root / source.folder) for name in names)


def _downloads() -> Path:
    return store_folder() / "downloads"


def _class_of(name: str) -> Any:
    import torchvision

    return getattr(torchvision.datasets, TORCHVISION_DATASETS[name].class_name)


def _addresses(dataset_class: Any) -> list[str]:
    """Addresses at which torchvision looks for the first file of a data set."""
    if hasattr(dataset_class, "mirrors"):
        return [f"{mirror}{dataset_class.resources[0][0]}" for mirror in dataset_class.mirrors]
    return [dataset_class.url if hasattr(dataset_class, "url") else dataset_class.split_list["train"][0]]


@cache
def _unanswered(address: str, when: int) -> str:
    """Reason why an address does not answer; empty if it does.

    Args:
        when: to ask anew.
    """
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=TIMEOUT).close()
    except urllib.error.HTTPError:  # an answer, though not to this question
        return ""
    except OSError as error:
        return str(error)
    return ""


def _refusal(name: str, reason: object) -> str:
    source, root = TORCHVISION_DATASETS[name], _downloads()
    return (
        f"dataset={name!r} is not in {root} and cannot be downloaded ({' '.join(str(reason).split())}). "
        f"Where there is a network, torchvision.datasets.{source.class_name}(FOLDER, download=True) gets its "
        f"{source.megabytes:,} MB; put its files into {root / source.folder}, or set $STIR_STORE"
    )


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
