"""Data sets in folders, of a user's own or among the downloads: PATH/train/<class>/ and PATH/test/<class>/."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor

from stir.data.folders import ImageFolder, decode_folder, folder_state, list_folder, refuse_same_files
from stir.data.splits import Dataset, Split
from stir.files import store_folder

# Name -> what it is called, for data sets in the layout of "folder:PATH" that nobody can download from here; their
# folder, or a link to it, lies in the folder of downloads.
FOLDER_DATASETS = {"cifar10-jpeg": "CIFAR-10 (JPEG)"}
# Names of a folder's test split: the first that holds class folders, as test images often come without labels.
TEST_FOLDERS = ("test", "val", "valid", "validation")


def list_splits(name: str, root: Path) -> tuple[ImageFolder, ImageFolder]:
    """The files of both splits of a folder, called `name` in messages."""
    layout = "images belong in PATH/train/<class>/ and PATH/test/<class>/"
    test_roots = [root / split for split in TEST_FOLDERS if (root / split).is_dir()] or [root / TEST_FOLDERS[0]]
    test_root = next(filter(_has_folders, test_roots), test_roots[0])
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


def _has_folders(path: Path) -> bool:
    """True of a folder that holds others; False also of one that cannot be read."""
    try:
        return any(each.is_dir() and not each.name.startswith(".") for each in path.iterdir())
    except OSError:
        return False


def folder_of(name: str) -> Path:
    """The folder that "folder:PATH" names."""
    return Path(os.path.expanduser(name.removeprefix("folder:")))


def load_folder(name: str, size: tuple[int, int] | None, unreadable: str, progress: bool) -> Dataset:
    """The data set "folder:PATH", decoded or from the store; the arguments are those of `load_dataset`."""
    root = folder_of(name)
    train_folder, test_folder = list_splits(name, root)
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
    train, test = Split(train_pixels / 255, train_labels), Split(test_pixels / 255, test_labels)
    # The name goes onto published pages: it leaves out the path above the folder, which is private.
    return Dataset(f"folder:{root.resolve().name}", train, test, train_folder.classes)


class MissingImagesError(ValueError):
    """A data set of `FOLDER_DATASETS` is not in its place."""


def place_of(name: str) -> Path:
    """Path at which the folder of one of `FOLDER_DATASETS`, or a link to it, has to be."""
    return store_folder() / "downloads" / name


def download_folder(name: str) -> Path:
    """Folder of one of `FOLDER_DATASETS`.

    Raises:
        MissingImagesError: it is not there; with the remedy.
    """
    root = place_of(name)
    if not root.is_dir():
        raise MissingImagesError(
            f"dataset={name!r}: the images of {FOLDER_DATASETS[name]} are needed, and are not in {root}; put them "
            "there, as train/<class>/*.jpg and test/<class>/*.jpg, or a link to such a folder"
        )
    return root.resolve()


def load_download(name: str, size: tuple[int, int] | None, unreadable: str, progress: bool) -> Dataset:
    """One of `FOLDER_DATASETS`; the arguments are those of `load_dataset`."""
    dataset = load_folder(f"folder:{download_folder(name)}", size, unreadable, progress)
    return replace(dataset, name=FOLDER_DATASETS[name])


def state_of_downloads(name: str) -> str | None:
    """State of the files of such a folder; None for other data sets, and where there is none."""
    root = store_folder() / "downloads" / name
    if name not in FOLDER_DATASETS or not root.is_dir():
        return None
    return "".join(folder_state(list_folder(path)) for path in (root / "train", root / "test") if path.is_dir())


def _size(images: Tensor) -> str:
    return f"{images.shape[3]}x{images.shape[2]}"
