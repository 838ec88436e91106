"""Image data sets as tensors in [0, 1]: embedded digits, torchvision's, a folder of images; parts of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from stir.data.folders import UNREADABLE, decode_folder
from stir.files import store_folder

DIGITS_SIZE = 16
DIGITS_TRAIN = 1_400

# Name -> class in torchvision.datasets, and where its files belong below the folder of downloads.
TORCHVISION = {
    "mnist": ("MNIST", "MNIST/raw/"),
    "fashion-mnist": ("FashionMNIST", "FashionMNIST/raw/"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py/"),
    "cifar100": ("CIFAR100", "cifar-100-python/"),
    "svhn": ("SVHN", ""),
    "stl10": ("STL10", "stl10_binary/"),
}
# Those whose authors do not say that the order of their files mixes the classes, as CIFAR's and Fashion-MNIST's do, nor is known to.
UNORDERED = ("stl10",)


@dataclass(frozen=True)
class Split:
    """Images in [0, 1], float32, with the class number of each."""

    images: Float[Tensor, "n c h w"]
    labels: Int[Tensor, "n"]

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the images and labels."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.contiguous().numpy())
        return digest.hexdigest()

    def __getitem__(self, keep: Tensor | slice) -> Split:
        return Split(self.images[keep], self.labels[keep])

    def take(self, n_images: int) -> Float[Tensor, "n c h w"]:
        """The first `n_images` images, at least the 5 that a similarity with an interval needs.

        Raises:
            ValueError: there are not so many.
        """
        if not 5 <= n_images <= len(self):
            raise ValueError(f"n_images={n_images} must lie between 5 and {len(self)}")
        return self.images[:n_images]

    def one_of_each(self, n_images: int) -> Float[Tensor, "n c h w"]:
        """Images for a gallery: the first of each class, in the order of the classes, then the second of each, and so on.

        Raises:
            ValueError: there are not `n_images`, or it is below 1.
        """
        if not 1 <= n_images <= len(self):
            raise ValueError(f"n_images={n_images} must lie between 1 and {len(self)}")
        turns = torch.zeros_like(self.labels)
        for label in self.labels.unique():
            members = self.labels == label
            turns[members] = torch.arange(int(members.sum()))
        order = torch.argsort(turns * (int(self.labels.max()) + 1) + self.labels)
        return self.images[order[:n_images]]


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
    def normalization(self) -> dict[str, list[float]]:
        """`mean` and `std` of each channel of the training images; a channel of one colour counts as nearly so."""
        pixels = self.train.images
        return {"mean": pixels.mean(dim=(0, 2, 3)).tolist(), "std": pixels.std(dim=(0, 2, 3)).clamp_min(1e-3).tolist()}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of both splits and the number of classes: of all that a network's training and its test depend on."""
        return hashlib.sha256(
            repr((self.train.fingerprint, self.test.fingerprint, len(self.classes))).encode()
        ).hexdigest()


def load_dataset(
    name: str,
    *,
    classes: str | Sequence[str] | None = None,
    n_train: int | None = None,
    seed: int = 0,
    image_size: int | None = None,
    unreadable: str = "refuse",
    progress: bool = True,
) -> Dataset:
    """The data set called `name`, or a part of it.

    Args:
        name: "digits", scikit-learn's 1,797 handwritten digits enlarged from 8x8, with 1,400 of
            them for training; "mnist", "fashion-mnist", "cifar10", "cifar100", "svhn" or "stl10",
            downloaded once by torchvision, in their own order where that is mixed (see `UNORDERED`); or "folder:PATH", images in `PATH/train/<class>/` and
            `PATH/test/<class>/`, in any format that Pillow reads, decoded once, in an order drawn by the
            files' names alone: the first n images are of all classes, on every machine the same.
        classes: which to keep, numbered anew in the order given: "0-4", "cat, dog", "0, 3-5" or a
            list of such; all if None. Numbers are places, but for classes that are all called by numbers.
        n_train: how many training images to keep, drawn at random by `seed`; all if None. With the
            same seed and classes, fewer images are a part of more.
        seed: of that draw.
        image_size: height and width in pixels to resize to, bilinearly; None keeps the images'
            own (16 for digits).
        unreadable: for a folder, "refuse" raises when a file cannot be read, "skip" warns of it.
        progress: show a bar while decoding.

    Raises:
        ValueError: a name, class or number that is unknown or out of range, a folder without the
            layout above, unreadable files, or images of several sizes with no `image_size`.
        ConnectionError: a data set of torchvision's is not there and cannot be downloaded; the
            message says what to put where.
    """
    if unreadable not in UNREADABLE:
        raise ValueError(f"unreadable={unreadable!r} is unknown; use one of {', '.join(UNREADABLE)}")
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size={image_size} must be at least 1")
    if name == "digits":
        dataset = _digits(image_size or DIGITS_SIZE)
    elif name in TORCHVISION:
        dataset = _torchvision(name, image_size)
    elif name.startswith("folder:"):
        dataset = _folder(name, image_size, unreadable, progress)
    else:
        raise ValueError(
            f"dataset={name!r} is unknown; use 'digits', {', '.join(map(repr, TORCHVISION))} or 'folder:PATH'"
        )
    if classes is not None:
        dataset = _with_classes(dataset, classes)
    if n_train is None:
        return dataset
    if not 1 <= n_train <= len(dataset.train):
        raise ValueError(
            f"n_train={n_train} must lie between 1 and the {len(dataset.train)} training images of {dataset.name!r}"
        )
    keep = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(seed))[:n_train]
    return replace(dataset, name=f"{dataset.name}, {n_train} images", train=dataset.train[keep])


def _digits(size: int) -> Dataset:
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = torch.from_numpy(raw.images.astype(np.float32) / 16).unsqueeze(1)
    images = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
    whole = Split(images, torch.from_numpy(raw.target.astype(np.int64)))
    return Dataset("digits", whole[:DIGITS_TRAIN], whole[DIGITS_TRAIN:], tuple(str(digit) for digit in range(10)))


def _folder(name: str, size: int | None, unreadable: str, progress: bool) -> Dataset:
    root = Path(name.removeprefix("folder:")).expanduser()
    for split in ("train", "test"):
        if not (root / split).is_dir():
            raise ValueError(
                f"dataset={name!r}: there is no folder {str(root / split)!r}; images belong in PATH/train/<class>/ and PATH/test/<class>/"
            )
    try:
        *train, classes = decode_folder(root / "train", size, unreadable=unreadable, progress=progress)
        *test, others = decode_folder(root / "test", size, unreadable=unreadable, progress=progress)
    except ValueError as error:
        raise ValueError(f"dataset={name!r}: {error}") from error
    if classes != others:
        raise ValueError(
            f"dataset={name!r}: train and test must hold the same classes; only one of them holds {sorted(set(classes) ^ set(others))[:5]}"
        )
    if train[0].shape[1:] != test[0].shape[1:]:
        raise ValueError(
            f"dataset={name!r}: training images are {_size(train[0])}, test images {_size(test[0])}; give image_size"
        )
    # The name goes onto pages, where nobody needs to know the rest of the path.
    return Dataset(
        f"folder:{root.resolve().name}", Split(_unit(train[0]), train[1]), Split(_unit(test[0]), test[1]), classes
    )


def _size(images: Tensor) -> str:
    return f"{images.shape[3]}x{images.shape[2]}"


def _unit(pixels: Tensor) -> Tensor:
    return pixels / 255  # float32, in one pass


def _torchvision(name: str, size: int | None) -> Dataset:
    import torchvision

    kind, below = TORCHVISION[name]
    made, root = getattr(torchvision.datasets, kind), store_folder() / "downloads"
    by_split = name in ("svhn", "stl10")
    splits = []
    for split in ("train", "test"):
        which = {"split": split} if by_split else {"train": split == "train"}
        try:
            raw = made(str(root), **which, download=True)  # checks what is there before it downloads anything
        except (OSError, RuntimeError) as error:
            raise ConnectionError(
                f"dataset={name!r} is not in {root} and could not be downloaded ({' '.join(str(error).split())}). Where there is a network, "
                f"torchvision.datasets.{kind}(FOLDER, download=True) gets it; put its files into {root / below}, or set $STIR_STORE"
            ) from error
        split = _split(raw, size)
        splits.append(split[_mixed(len(split))] if name in UNORDERED else split)
    classes = getattr(raw, "classes", None) or [str(number) for number in range(10)]
    return Dataset(name, *splits, tuple(classes))


def _mixed(n_images: int) -> Int[Tensor, "n"]:
    """A fixed permutation, by the SHA-256 of each number, in the spirit of `stir.data.folders.mixed_order`."""
    return torch.tensor(sorted(range(n_images), key=lambda place: hashlib.sha256(str(place).encode()).digest()))


def _split(raw: object, size: int | None) -> Split:
    """Grey images [N, H, W] and colour images [N, H, W, C] or [N, C, H, W], as torchvision's data sets hold them."""
    pixels = torch.as_tensor(raw.data)
    labels = torch.as_tensor(np.asarray(raw.targets if hasattr(raw, "targets") else raw.labels), dtype=torch.int64)
    if pixels.ndim == 3:
        pixels = pixels.unsqueeze(1)
    elif pixels.shape[3] == 3:
        pixels = pixels.permute(0, 3, 1, 2)
    images = _unit(pixels.contiguous())
    if size is not None and images.shape[2:] != (size, size):
        images = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True).clamp(
            0, 1
        )  # which rounding may leave
    return Split(images, labels)


def _with_classes(dataset: Dataset, asked: str | Sequence[str]) -> Dataset:
    parts = [part.strip() for text in ([asked] if isinstance(asked, str) else asked) for part in str(text).split(",")]
    keep = [number for part in parts for number in _class_numbers(part, dataset.classes)]
    if len(set(keep)) < len(keep) or len(keep) < 2:
        raise ValueError(f"classes={asked!r} must name at least two different classes, each once")
    renumbered = torch.full((len(dataset.classes),), -1)
    renumbered[keep] = torch.arange(len(keep))

    def part_of(split: Split) -> Split:
        labels = renumbered[split.labels]
        return Split(split.images[labels >= 0], labels[labels >= 0])

    names = tuple(dataset.classes[number] for number in keep)
    return Dataset(f"{dataset.name}, classes {', '.join(parts)}", part_of(dataset.train), part_of(dataset.test), names)


def _class_numbers(part: str, classes: Sequence[str]) -> list[int]:
    """The classes that a name, a number or a range such as "0-4" means; where all are called by numbers, these are meant, not places."""
    if part in classes:
        return [classes.index(part)]
    called = [int(name) for name in classes] if all(name.isdecimal() for name in classes) else range(len(classes))
    first, dash, last = (text.strip() for text in part.partition("-"))
    if first.isdecimal() and (last.isdecimal() or not dash):
        ends = int(first), int(last or first)
        if ends[0] <= ends[1] and all(end in called for end in ends):
            return [place for place, number in enumerate(called) if ends[0] <= number <= ends[1]]
    known = f"numbers from {min(called)} to {max(called)}" if isinstance(called, range) else "their numbers"
    known += f", a range such as '{min(called)}-{max(called)}', or names: {', '.join(classes[:10])}"
    raise ValueError(f"classes: {part!r} is no class; use {known}")
