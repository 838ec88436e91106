"""Image data sets as tensors in [0, 1]: embedded digits, or a folder of images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

DIGITS_SIZE = 16
DIGITS_TRAIN = 1_400


@dataclass(frozen=True)
class Split:
    """Images in [0, 1], float32, with the class number of each."""

    images: Float[Tensor, "n c h w"]
    labels: Int[Tensor, "n"]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """A training and a test split over the same classes."""

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]

    @property
    def channels(self) -> int:
        return self.train.images.shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the training split: two data sets that train alike have the same."""
        digest = hashlib.sha256(repr((tuple(self.train.images.shape), len(self.classes))).encode())
        for tensor in (self.train.images, self.train.labels):
            digest.update(tensor.contiguous().numpy())
        return digest.hexdigest()


def load_dataset(name: str, *, n_train: int | None = None, image_size: int | None = None) -> Dataset:
    """The data set called `name`.

    Args:
        name: "digits", scikit-learn's 1,797 handwritten digits enlarged from 8x8, with 1,400 of
            them for training; or "folder:PATH", images in `PATH/train/<class>/` and
            `PATH/test/<class>/`, in any format that Pillow reads.
        n_train: how many training images to keep, drawn at random, always the same ones; all if
            None.
        image_size: height and width in pixels to resize to, bilinearly; None keeps the images'
            own (16 for digits).

    Raises:
        ValueError: unknown name, a folder without the layout above, images of several sizes with
            no `image_size`, or more training images asked for than there are.
    """
    if name == "digits":
        dataset = _digits(image_size or DIGITS_SIZE)
    elif name.startswith("folder:"):
        dataset = _folder(name, Path(name.removeprefix("folder:")).expanduser(), image_size)
    else:
        raise ValueError(f"dataset={name!r} is unknown; use 'digits' or 'folder:PATH'")
    if n_train is None:
        return dataset
    if not 1 <= n_train <= len(dataset.train):
        raise ValueError(f"n_train={n_train} must lie between 1 and the {len(dataset.train)} training images of {name!r}")
    keep = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(0))[:n_train]
    train = Split(dataset.train.images[keep], dataset.train.labels[keep])
    return Dataset(name, train, dataset.test, dataset.classes)


def _digits(size: int) -> Dataset:
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = torch.from_numpy(raw.images.astype(np.float32) / 16).unsqueeze(1)
    images = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
    labels = torch.from_numpy(raw.target.astype(np.int64))
    train = Split(images[:DIGITS_TRAIN], labels[:DIGITS_TRAIN])
    test = Split(images[DIGITS_TRAIN:], labels[DIGITS_TRAIN:])
    return Dataset("digits", train, test, tuple(str(digit) for digit in range(10)))


def _folder(name: str, root: Path, size: int | None) -> Dataset:
    from torchvision.datasets import ImageFolder

    folders = {}
    for split in ("train", "test"):
        if not (root / split).is_dir():
            raise ValueError(f"dataset={name!r}: there is no folder {str(root / split)!r}; images belong in PATH/train/<class>/ and PATH/test/<class>/")
        try:
            folders[split] = ImageFolder(root / split)
        except FileNotFoundError as error:
            raise ValueError(f"dataset={name!r}: {error}") from error
    train, test = folders["train"], folders["test"]
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise ValueError(f"dataset={name!r}: train and test must hold the same classes; only one of them holds {odd[:5]}")
    return Dataset(name, _decode(train, size), _decode(test, size), tuple(train.classes))


def _decode(folder, size: int | None) -> Split:
    images = None
    for index, (path, _) in enumerate(folder.samples):
        image = folder.loader(path)
        if size is not None and image.size != (size, size):
            image = image.resize((size, size), resample=2)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        if images is None:
            images = torch.empty(len(folder.samples), *pixels.shape, dtype=torch.uint8)
        if pixels.shape != images.shape[1:]:
            raise ValueError(f"image_size=None needs images of one size, but {path} is {image.size[0]}x{image.size[1]} and the first is {images.shape[3]}x{images.shape[2]}; give image_size")
        images[index] = pixels
    return Split(images.float().div_(255), torch.tensor(folder.targets))
