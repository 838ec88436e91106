"""Image data sets as tensors in [0, 1], whole or in part: embedded digits, torchvision's, folders of images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from stir.data.classes import quoted, selected_numbers
from stir.data.deferred import CARD_FORMAT, DeferredSplit, describe
from stir.data.folders import UNREADABLE, ImageFolder, decode_folder, folder_state, list_folder, refuse_same_files
from stir.files import store_folder
from stir.kept import Found, Record

DIGITS_SIZE = 16
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
# Name -> what it is called, for data sets in the layout of "folder:PATH" that nobody can download from here; their
# folder, or a link to it, lies in the folder of downloads.
FOLDER_DATASETS = {"cifar10-jpeg": "CIFAR-10 (JPEG)"}
# Data sets whose files may hold the classes one after another: their authors do not say that the order is mixed,
# as those of CIFAR and Fashion-MNIST do, and nothing else shows that it is.
UNORDERED = ("stl10",)
# Names of a folder's test split, the first that there is.
TEST_FOLDERS = ("test", "val", "valid", "validation")


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

    @cached_property
    def normalization(self) -> dict[str, list[float]]:
        """`mean` and `std` of each channel; `std` is at least 1e-3, for constant channels."""
        pixels = self.images
        return {"mean": pixels.mean(dim=(0, 2, 3)).tolist(), "std": pixels.std(dim=(0, 2, 3)).clamp_min(1e-3).tolist()}

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

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of both splits and the number of classes: all that training and testing a network depend on."""
        content = self.train.fingerprint, self.test.fingerprint, len(self.classes)
        return hashlib.sha256(repr(content).encode()).hexdigest()


def load_dataset(
    name: str,
    *,
    classes: str | Sequence[str] | None = None,
    n_train: int | None = None,
    seed: int = 0,
    image_size: int | Sequence[int] | None = None,
    unreadable: str = "refuse",
    progress: bool = True,
    deferred: bool = False,
) -> Dataset:
    """Load the data set called `name`, or a part of it.

    Args:
        name: "digits", scikit-learn's 1,797 handwritten digits enlarged from 8x8, with 1,400 of
            them for training; "mnist", "fashion-mnist", "cifar10", "cifar100", "svhn" or "stl10",
            downloaded once by torchvision, in the order of their files if that mixes the classes (see
            `UNORDERED`), else in a fixed mixed one; or "folder:PATH", images in `PATH/train/<class>/`
            and `PATH/test/<class>/` (or else `val`, `valid` or `validation`), in any format that Pillow reads
            except PostScript, decoded once. They become 8-bit RGB, upright by their Exif data, on white where
            they are transparent. A folder's images come in a mixed order that depends only on the file names:
            on every machine the first n images are the same, and of all classes. Hidden files and folders do
            not count; links have to stay inside `PATH`, and lead to no file twice. "cifar10-jpeg" is such a folder
            of CIFAR-10's images, in the store's folder of downloads.
        classes: the classes to keep, renumbered in the given order: "0-4", "cat, dog", "0, 3-5" or a
            list of such; all if None. Numbers are positions in the list of classes; if the names of
            all classes are numbers, they are these names. A name with a comma is an entry of a list, or
            stands in double quotes.
        n_train: number of training images to keep, drawn at random with `seed`; all if None. With the
            same seed and classes, the smaller of two such sets is a subset of the larger.
        seed: of that draw.
        image_size: height and width in pixels to resize to, bilinearly: one number for both, or two; None
            keeps the images' own (16 for digits).
        unreadable: for a folder, "refuse" raises an error for files that cannot be read, "skip" warns of them.
        progress: show a bar while decoding.
        deferred: where the card of this very part of torchvision's or of `FOLDER_DATASETS` was kept, by an earlier call
            or in the evidence, return a data set whose images are loaded only when they are needed; the first thousand
            are known by their fingerprints until then (`stir.data.deferred`).

    Raises:
        ValueError: a name, class or number that is unknown or out of range, a folder without the
            layout above, unreadable files, images of several sizes with no `image_size`, or an `n_train` that
            leaves a class without images.
        ConnectionError: a data set of torchvision's is not in the store and cannot be downloaded; the
            message says where to put which files.
    """
    if unreadable not in UNREADABLE:
        raise ValueError(f"unreadable={unreadable!r} is unknown; use one of {', '.join(UNREADABLE)}")
    size = _height_and_width(image_size)
    load = partial(_load, name, classes, n_train, seed, size, unreadable, progress)
    if not deferred or name not in [*TORCHVISION_DATASETS, *FOLDER_DATASETS]:
        return load()
    asked = {"classes": classes, "n_train": n_train, "seed": seed, "image_size": size, "unreadable": unreadable}
    record = _record(name, **asked)
    found, state = record.find(), _state_of_downloads(name)
    if found is None or state not in (None, found.content["state"]):
        dataset = load()
        (train, train_gallery), (test, test_gallery) = describe(dataset.train), describe(dataset.test)
        card = {"name": dataset.name, "classes": dataset.classes, "train": train, "test": test, "state": state}
        record.keep(card, {"train": train_gallery, "test": test_gallery})
        return dataset
    return _deferred(found, load)


def _record(name: str, **asked: Any) -> Record:
    """Place in the stores of the card of a data set, which is `asked` for by arguments of `load_dataset`."""
    return Record({"kind": "data set", "format": CARD_FORMAT, "name": name, **asked})


class _Loader:
    """Loads the data set of a card once, when it is needed, also in another process."""

    def __init__(self, card: Mapping[str, Any], load: Callable[[], Dataset]) -> None:
        self._card, self._load = card, load
        self._dataset: Dataset | None = None

    def split(self, name: str) -> Split | DeferredSplit:
        if self._dataset is None:
            dataset = self._load()
            for each in ("train", "test"):
                if getattr(dataset, each).fingerprint != self._card[each]["fingerprint"]:
                    raise ValueError(
                        f"the {each} images of {self._card['name']} here are others than those that were measured on; "
                        "put those back, or measure these: stir run --fresh"
                    )
            self._dataset = dataset
        return getattr(self._dataset, name)


def _deferred(found: Found, load: Callable[[], Dataset]) -> Dataset:
    """The data set that `found` describes, which loads itself when its images are needed."""
    card, loader = found.content, _Loader(found.content, load)
    train, test = (
        DeferredSplit(card[split], found.tensors[split], partial(loader.split, split)) for split in ("train", "test")
    )
    return Dataset(card["name"], train, test, tuple(card["classes"]))


def _load(
    name: str,
    classes: str | Sequence[str] | None,
    n_train: int | None,
    seed: int,
    size: tuple[int, int] | None,
    unreadable: str,
    progress: bool,
) -> Dataset:
    """Load a data set, whole or in part; the arguments are those of `load_dataset`."""
    if name == "digits":
        dataset = _digits(size or (DIGITS_SIZE, DIGITS_SIZE))
    elif name in TORCHVISION_DATASETS:
        dataset = _torchvision(name, size)
    elif name in FOLDER_DATASETS:
        dataset = _folder_of_downloads(name, size, unreadable, progress)
    elif name.startswith("folder:"):
        dataset = _folder(name, size, unreadable, progress)
    else:
        raise _unknown(name)
    if classes is not None:
        dataset = _with_classes(dataset, classes)
    if n_train is None:
        return dataset
    if not 1 <= n_train <= len(dataset.train):
        raise _too_few(n_train, len(dataset.train), dataset.name)
    subset = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(seed))[:n_train]
    train = dataset.train[subset]
    empty = sorted(set(range(len(dataset.classes))) - set(train.labels.tolist()))
    if empty:
        raise ValueError(
            f"n_train={n_train} leaves no training image of {', '.join(repr(dataset.classes[each]) for each in empty)} "
            f"with seed={seed}; take more images, another seed or fewer classes"
        )
    return replace(dataset, name=f"{dataset.name}, {n_train} images", train=train)


def check_dataset(
    name: str,
    *,
    classes: str | Sequence[str] | None = None,
    n_train: int | None = None,
    image_size: int | Sequence[int] | None = None,
    unreadable: str = "refuse",
) -> int | None:
    """Check what can be known of a data set without reading its images.

    Args:
        as of `load_dataset`.

    Returns:
        The number of test images; None where that is not known: of torchvision's, or of some of a folder's classes.

    Raises:
        ValueError: as `load_dataset`, of the name, the layout of a folder, the arguments, or data that are not there.
    """
    size = _height_and_width(image_size)
    if name == "digits":
        return len(_load(name, classes, n_train, 0, size, unreadable, progress=False).test)
    if name in TORCHVISION_DATASETS:
        return None
    if name in FOLDER_DATASETS:
        asked = {"classes": classes, "n_train": n_train, "seed": 0, "image_size": size, "unreadable": unreadable}
        found = _record(name, **asked).find()
        if found is not None and _state_of_downloads(name) in (None, found.content["state"]):
            return found.content["test"]["shape"][0]
        root = _downloads(name)
    elif name.startswith("folder:"):
        root = Path(os.path.expanduser(name.removeprefix("folder:")))
    else:
        raise _unknown(name)
    train, test = _listed(name, root)
    if classes is not None:
        selected_numbers(classes, train.classes)
        return None
    if n_train is not None and n_train > len(train.samples):
        raise _too_few(n_train, len(train.samples), name)
    return len(test.samples)


def _unknown(name: str) -> ValueError:
    named = ["digits", *TORCHVISION_DATASETS, *FOLDER_DATASETS]
    return ValueError(f"dataset={name!r} is unknown; use {', '.join(map(repr, named))} or 'folder:PATH'")


def _too_few(n_train: int, available: int, name: str) -> ValueError:
    return ValueError(f"n_train={n_train} must lie between 1 and the {available} training images of {name!r}")


def _height_and_width(image_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if image_size is None:
        return None
    sizes: list[Any] = [*image_size] if isinstance(image_size, Sequence) else [image_size, image_size]
    if len(sizes) != 2 or not all(isinstance(size, (int, np.integer)) and size >= 1 for size in sizes):
        raise ValueError(
            f"image_size={image_size!r} must be a whole number, at least 1, or two such, as (height, width)"
        )
    return int(sizes[0]), int(sizes[1])


def _digits(size: tuple[int, int]) -> Dataset:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(np.asarray(pixels, np.float32).reshape(-1, 1, 8, 8) / 16)
    images = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
    whole = Split(images, torch.from_numpy(np.asarray(labels, np.int64)))
    return Dataset("digits", whole[:DIGITS_TRAIN], whole[DIGITS_TRAIN:], tuple(str(digit) for digit in range(10)))


def _listed(name: str, root: Path) -> tuple[ImageFolder, ImageFolder]:
    """The files of both splits of a folder, called `name` in messages."""
    layout = "images belong in PATH/train/<class>/ and PATH/test/<class>/"
    test_root = next((root / split for split in TEST_FOLDERS if (root / split).is_dir()), root / TEST_FOLDERS[0])
    for split in (root / "train", test_root):
        if not split.is_dir():
            raise ValueError(f"dataset={name!r}: there is no folder {str(split)!r}; {layout}")
    try:
        train_folder, test_folder = list_folder(root / "train"), list_folder(test_root)
        refuse_same_files(train_folder.real_paths | test_folder.real_paths)
        if train_folder.classes != test_folder.classes:
            different = sorted(set(train_folder.classes) ^ set(test_folder.classes))
            raise ValueError(
                f"train and {test_root.name} must hold the same classes; only one of them holds {different[:5]}"
            )
    except ValueError as error:
        raise ValueError(f"dataset={name!r}: {error}") from error
    return train_folder, test_folder


def _folder(name: str, size: tuple[int, int] | None, unreadable: str, progress: bool) -> Dataset:
    root = Path(os.path.expanduser(name.removeprefix("folder:")))
    train_folder, test_folder = _listed(name, root)
    decode = partial(decode_folder, size=size, unreadable=unreadable, progress=progress)
    try:
        train_pixels, train_labels = decode(train_folder)
        test_pixels, test_labels = decode(test_folder)
    except ValueError as error:
        raise ValueError(f"dataset={name!r}: {error}") from error
    if train_pixels.shape[1:] != test_pixels.shape[1:]:
        raise ValueError(
            f"dataset={name!r}: training images are {_size(train_pixels)}, test images {_size(test_pixels)}; "
            "give image_size"
        )
    train, test = Split(_to_unit(train_pixels), train_labels), Split(_to_unit(test_pixels), test_labels)
    # The name goes onto published pages: it leaves out the path above the folder, which is private.
    return Dataset(f"folder:{root.resolve().name}", train, test, train_folder.classes)


def _downloads(name: str) -> Path:
    """Folder of one of `FOLDER_DATASETS`, which has to be there."""
    root = store_folder() / "downloads" / name
    if not root.is_dir():
        raise ValueError(
            f"dataset={name!r}: the images of {FOLDER_DATASETS[name]} are needed, and are not in {root}; put them "
            "there, as train/<class>/*.jpg and test/<class>/*.jpg, or a link to such a folder"
        )
    return root.resolve()


def _folder_of_downloads(name: str, size: tuple[int, int] | None, unreadable: str, progress: bool) -> Dataset:
    dataset = _folder(f"folder:{_downloads(name)}", size, unreadable, progress)
    return replace(dataset, name=FOLDER_DATASETS[name])


def _state_of_downloads(name: str) -> str | None:
    """State of the files of such a folder; None for other data sets, and where there is none."""
    root = store_folder() / "downloads" / name
    if name not in FOLDER_DATASETS or not root.is_dir():
        return None
    return "".join(folder_state(list_folder(path)) for path in (root / "train", root / "test") if path.is_dir())


def _size(images: Tensor) -> str:
    return f"{images.shape[3]}x{images.shape[2]}"


def _to_unit(pixels: Tensor) -> Tensor:
    """Map uint8 pixels to float32 in [0, 1]."""
    return pixels / 255


def _torchvision(name: str, size: tuple[int, int] | None) -> Dataset:
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
    images = _to_unit(pixels.contiguous())
    if size is not None and images.shape[2:] != size:
        resized = F.interpolate(images, size=size, mode="bilinear", antialias=True)
        images = resized.clamp(0, 1)  # rounding may overshoot
    return Split(images, labels)


def _with_classes(dataset: Dataset, selection: str | Sequence[str]) -> Dataset:
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
