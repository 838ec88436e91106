"""A data set: images in [0, 1] with their classes, for training and for testing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stir.data.classes import quoted, selected_numbers
from stir.data.deferred import DeferredSplit

T = TypeVar("T")


@dataclass(frozen=True)
class Split:
    """Images in [0, 1], float32, with the class number of each."""

    images: Float[Tensor, "n c h w"]
    labels: Int[Tensor, "n"]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the images and labels."""
        return self._remembered("fingerprint", self._digest)

    def _digest(self) -> str:
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()

    @property
    def shape(self) -> torch.Size:
        """(N, C, H, W)."""
        return self.images.shape

    @property
    def counts(self) -> list[int]:
        """The number of images of each class, up to the last that has any."""
        return self.labels.bincount().tolist()

    @property
    def normalization(self) -> dict[str, list[float]]:
        """`mean` and `std` of each channel; `std` is at least 1e-3, for constant channels."""
        return self._remembered("normalization", self._mean_and_std)

    def _mean_and_std(self) -> dict[str, list[float]]:
        pixels = self.images
        return {"mean": pixels.mean(dim=(0, 2, 3)).tolist(), "std": pixels.std(dim=(0, 2, 3)).clamp_min(1e-3).tolist()}

    def _remembered(self, name: str, compute: Callable[[], T]) -> T:
        """The result of `compute`, computed again once a tensor operation has changed the images or labels in place."""
        tensors = self.images, self.labels
        if any(tensor.is_inference() for tensor in tensors):  # these do not count their changes
            return compute()
        state = [(tensor.data_ptr(), tensor._version) for tensor in tensors]
        if vars(self).get(name, (None,))[0] != state:
            vars(self)[name] = state, compute()
        return vars(self)[name][1]

    def __getitem__(self, index: Tensor | slice) -> Split:
        return Split(self.images[index], self.labels[index])

    def take(self, n_images: int) -> Float[Tensor, "n c h w"]:
        """Return the first `n_images` images: at least 5, the fewest for a similarity with an interval.

        Raises:
            ValueError: `n_images` is below 5, or above the number of images.
        """
        if not 5 <= n_images <= len(self):
            raise ValueError(f"n_images={n_images} must lie between 5 and {len(self)}")
        return self.images[:n_images]

    def one_of_each(self, n_images: int) -> Float[Tensor, "n c h w"]:
        """Return `n_images` images for a gallery: the first of each class by class number, then the second of each, ...

        Raises:
            ValueError: `n_images` is below 1, or above the number of images.
        """
        if not 1 <= n_images <= len(self):
            raise ValueError(f"n_images={n_images} must lie between 1 and {len(self)}")
        rounds = torch.zeros_like(self.labels)  # 0 for the first image of a class, 1 for the second, ...
        for label in self.labels.unique():
            members = self.labels == label
            rounds[members] = torch.arange(int(members.sum()))
        order = torch.argsort(rounds * (int(self.labels.max()) + 1) + self.labels)
        return self.images[order[:n_images]]


@dataclass(frozen=True)
class Dataset:
    """A training and a test split over the same classes.

    Attributes:
        name: what `load_dataset` was asked for, in words.
        train, test: images [N, C, H, W] in [0, 1] and labels [N], numbers of `classes`.
        classes: names, in the order of their numbers.
    """

    name: str
    train: Split | DeferredSplit
    test: Split | DeferredSplit
    classes: tuple[str, ...]

    @property
    def channels(self) -> int:
        """C, of an image."""
        return self.train.shape[1]

    @property
    def normalization(self) -> dict[str, list[float]]:
        """`mean` and `std` of each channel of the training images; `std` is at least 1e-3, for constant channels."""
        return self.train.normalization

    @property
    def fingerprint(self) -> str:
        """SHA-256 of both splits and the number of classes: all that training and testing a network depend on."""
        content = self.train.fingerprint, self.test.fingerprint, len(self.classes)
        return hashlib.sha256(repr(content).encode()).hexdigest()


def with_classes(dataset: Dataset, selection: str | Sequence[str]) -> Dataset:
    """Some of the classes, renumbered in the order that `selection` names them."""
    parts, numbers = selected_numbers(selection, dataset.classes)
    new_numbers = torch.full((len(dataset.classes),), -1)  # -1 marks the classes to drop
    new_numbers[numbers] = torch.arange(len(numbers))

    def select(split: Split | DeferredSplit) -> Split:
        labels = new_numbers[split.labels]
        return Split(split.images[labels >= 0], labels[labels >= 0])

    names = tuple(dataset.classes[number] for number in numbers)
    return Dataset(
        f"{dataset.name}, classes {', '.join(map(quoted, parts))}", select(dataset.train), select(dataset.test), names
    )


def with_some(dataset: Dataset, n_train: int, seed: int) -> Dataset:
    """`n_train` of the training images, drawn at random with `seed`.

    Raises:
        ValueError: there are not so many, or a class is left without any.
    """
    if not 1 <= n_train <= len(dataset.train):
        raise too_few(n_train, len(dataset.train), dataset.name)
    subset = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(seed))[:n_train]
    train = dataset.train[subset]
    empty = sorted(set(range(len(dataset.classes))) - set(train.labels.tolist()))
    if empty:
        raise ValueError(
            f"n_train={n_train} leaves no training image of {', '.join(repr(dataset.classes[each]) for each in empty)} "
            f"with seed={seed}; take more images, another seed or fewer classes"
        )
    return replace(dataset, name=f"{dataset.name}, {n_train} images", train=train)


def too_few(n_train: int, available: int, name: str) -> ValueError:
    """The error of asking for more training images than there are."""
    return ValueError(f"n_train={n_train} must lie between 1 and the {available} training images of {name!r}")
