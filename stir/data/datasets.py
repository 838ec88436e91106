"""Image data sets as tensors in [0, 1], whole or in part: embedded digits, torchvision's, folders of images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from stir.data.classes import selected_numbers
from stir.data.data_cards import is_current, known_or_loaded, record_of
from stir.data.folders import UNREADABLE
from stir.data.libraries import (
    TORCHVISION_DATASETS,
    UNORDERED,
    is_downloaded,
    load_sklearn_digits,
    load_torchvision,
    missing_download,
)
from stir.data.splits import Dataset, Split, too_few, with_classes, with_some
from stir.data.trees import (
    FOLDER_DATASETS,
    download_folder,
    folder_of,
    list_splits,
    load_download,
    load_folder,
    place_of,
    state_of_downloads,
)

__all__ = [
    "FOLDER_DATASETS",
    "TORCHVISION_DATASETS",
    "UNORDERED",
    "Dataset",
    "Split",
    "check_dataset",
    "is_here",
    "load_dataset",
    "missing_download",
]


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
            and `PATH/test/<class>/` (or else `val`, `valid` or `validation`, the first with folders of classes),
            in any format that Pillow reads except PostScript, decoded once. They become 8-bit RGB, upright by their
            Exif data, on white where they are transparent. A folder's images come in a mixed order that depends only on
            the file names: on every machine the first n images are the same, and of all classes. Hidden files and
            folders do not count; links have to stay inside `PATH`, and lead to no file twice. "cifar10-jpeg" is such a
            folder of CIFAR-10's images, in the store's folder of downloads.
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
    arguments = {"classes": classes, "n_train": n_train, "seed": seed, "image_size": size, "unreadable": unreadable}
    return known_or_loaded(record_of(name, **arguments), state_of_downloads(name), load)


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
        dataset = load_sklearn_digits(size)
    elif name in TORCHVISION_DATASETS:
        dataset = load_torchvision(name, size)
    elif name in FOLDER_DATASETS:
        dataset = load_download(name, size, unreadable, progress)
    elif name.startswith("folder:"):
        dataset = load_folder(name, size, unreadable, progress)
    else:
        raise _unknown(name)
    if classes is not None:
        dataset = with_classes(dataset, classes)
    return dataset if n_train is None else with_some(dataset, n_train, seed)


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
        ValueError: as `load_dataset`, of the name, the layout of a folder, the arguments, or data that are not there
            and cannot be downloaded.
    """
    size = _height_and_width(image_size)
    if name == "digits":
        return len(_load(name, classes, n_train, 0, size, unreadable, progress=False).test)
    arguments = {"classes": classes, "n_train": n_train, "seed": 0, "image_size": size, "unreadable": unreadable}
    if name in [*TORCHVISION_DATASETS, *FOLDER_DATASETS]:
        stored = record_of(name, **arguments).find()
        if stored is not None and is_current(stored, state_of_downloads(name)):
            return stored.content["test"]["shape"][0]
    if name in TORCHVISION_DATASETS:
        missing_download(name)
        return None
    if name in FOLDER_DATASETS:
        root = download_folder(name)
    elif name.startswith("folder:"):
        root = folder_of(name)
    else:
        raise _unknown(name)
    train, test = list_splits(name, root)
    if classes is not None:
        selected_numbers(classes, train.classes)
        return None
    if n_train is not None and n_train > len(train.samples):
        raise too_few(n_train, len(train.samples), name)
    return len(test.samples)


def is_here(name: str) -> bool:
    """True if the images of a data set, whose name is known, need no download."""
    if name in FOLDER_DATASETS:
        return place_of(name).is_dir()
    return name not in TORCHVISION_DATASETS or is_downloaded(name)


def _unknown(name: str) -> ValueError:
    named = ["digits", *TORCHVISION_DATASETS, *FOLDER_DATASETS]
    return ValueError(f"dataset={name!r} is unknown; use {', '.join(map(repr, named))} or 'folder:PATH'")


def _height_and_width(image_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if image_size is None:
        return None
    sizes: list[Any] = [*image_size] if isinstance(image_size, Sequence) else [image_size, image_size]
    if len(sizes) != 2 or not all(isinstance(size, (int, np.integer)) and size >= 1 for size in sizes):
        raise ValueError(
            f"image_size={image_size!r} must be a whole number, at least 1, or two such, as (height, width)"
        )
    return int(sizes[0]), int(sizes[1])
