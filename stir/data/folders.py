"""Folders of images, one folder for each class, decoded once: the store keeps the pixels."""

from __future__ import annotations

import hashlib
import os
import time
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stir.computing.progress import progress_bar
from stir.data.pixels import read_pixels, suffix, suffixes
from stir.files import digest_of, lock, remove_litter, store_folder, write_atomically

UNREADABLE = ("refuse", "skip")
# Raise after a change that decodes the same files to other pixels or another order; part of the stored file's name.
DECODER_VERSION = 3
# Seconds after which a rewritten file surely has another time of change: file systems count in ticks of some ms.
CLOCK_TICK = 0.02


@dataclass(frozen=True)
class ImageFolder:
    """Files of a folder of class folders, in mixed order; hidden files and folders do not count.

    Attributes:
        root: the folder.
        samples: path and class number of each image file.
        classes: names of the class folders, sorted, with each accented letter as one character (NFC).
        real_paths: path of each image file -> the same with links resolved.
        left_out: paths of the files that are no images of a class, by their place or their ending.
    """

    root: Path
    samples: list[tuple[str, int]]
    classes: tuple[str, ...]
    real_paths: dict[str, str]
    left_out: list[str]


def list_folder(root: Path) -> ImageFolder:
    """List the image files in `root/<class>/` and the folders below.

    Raises:
        ValueError: no class folders, one without images or whose name is not UTF-8, two whose names read alike,
            folders that cannot be listed, or links to a place outside the folder above `root`, to a folder that holds
            the link, or to a file that counts already.
    """
    inside = (os.path.realpath(root.parent), os.path.realpath(root))
    samples, left_out, real_paths = [], [], {}
    classes: list[str] = []
    folders: list[str] = []
    # File systems differ in whether they return an accented letter as one character or as two.
    listed = _entries(str(root), inside[1], inside)
    entries = sorted((_composed(name), path, real, is_folder) for name, path, real, is_folder in listed)
    for name, path, real, is_folder in entries:
        if not is_folder:
            left_out.append(path)
            continue
        if classes[-1:] == [name]:  # they are sorted
            raise ValueError(
                f"the names of two class folders in {str(root)!r} read alike, {name!r}, and differ in how their "
                "accents are stored; put their images into one"
            )
        classes.append(name)
        folders.append(path)
        for file, real_file in _files(path, real, inside):
            if suffix(file) in suffixes():
                samples.append((file, len(classes) - 1))
                real_paths[file] = real_file
            else:
                left_out.append(file)
    if not classes:
        raise ValueError(f"there are no class folders in {str(root)!r}")
    for name in classes:
        if os.fsencode(name).decode(errors="replace") != name:
            raise ValueError(
                f"the name of the class folder {shown_path(name)} in {str(root)!r} is not UTF-8; rename it"
            )
    for number in set(range(len(classes))) - {number for _, number in samples}:
        folder = folders[number]
        others = [path for path in left_out if _holds(folder, path)]
        others_text = f" that can be read, only {shown_paths(others)}" if others else ""
        raise ValueError(f"there are no images in the class folder {folder!r}{others_text}")
    refuse_same_files(real_paths)
    return ImageFolder(root, mixed_order(samples, root), tuple(classes), real_paths, left_out)


def refuse_same_files(real_paths: dict[str, str]) -> None:
    """Raise a ValueError if two paths lead to one file, whose image would count twice."""
    first: dict[str, str] = {}
    for path, real in sorted(real_paths.items()):
        if first.setdefault(real, path) != path:
            raise ValueError(
                f"{shown_path(first[real])} and {shown_path(path)} are one file, by a link; remove the link, "
                "or the image counts twice"
            )


def _entries(folder: str, real: str, inside: tuple[str, ...]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield name, path, path with links resolved, and if it is a folder, of all that is not hidden in a folder."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise ValueError(f"the folder {shown_path(folder)} cannot be read ({error.strerror})") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if not entry.is_symlink():
            yield entry.name, entry.path, os.path.join(real, entry.name), entry.is_dir()
            continue
        target = os.path.realpath(entry.path)
        if not any(_holds(folder, target) for folder in inside):
            raise ValueError(
                f"the link {shown_path(entry.path)} leads out of the folder, to {shown_path(target)}; "
                "put the images themselves there (cp -rL copies a folder with what its links lead to)"
            )
        if _holds(target, real):
            raise ValueError(
                f"the link {shown_path(entry.path)} leads to a folder that holds it, so that images would count "
                "many times; remove it"
            )
        yield entry.name, entry.path, target, os.path.isdir(target)


def _composed(name: str) -> str:
    """The name with each accented letter as one character."""
    return unicodedata.normalize("NFC", name)


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _files(folder: str, real: str, inside: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield each file in a folder and the folders below, and its path with links resolved."""
    for _, path, real_path, is_folder in _entries(folder, real, inside):
        if is_folder:
            yield from _files(path, real_path, inside)
        else:
            yield path, real_path


def shown_path(path: str) -> str:
    """Path as one line of text for a message; bytes that are not UTF-8, and line breaks, as escapes."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def shown_paths(paths: list[str]) -> str:
    """The first five paths in their order as text for a message, and dots for the others."""
    return ", ".join(map(shown_path, sorted(paths)[:5])) + (", ..." if len(paths) > 5 else "")


def decode_folder(
    folder: ImageFolder, size: tuple[int, int] | None, *, unreadable: str = "refuse", progress: bool = True
) -> tuple[Tensor, Tensor]:
    """Decode the images of a folder, or load their pixels if the store holds them.

    The store's pixels are used only if their checksum is right and each file's size, times of writing and change,
    and place on the disk are those of the files that were decoded: no rewriting or swapping of files keeps all four.

    Args:
        folder: from `list_folder`.
        size: height and width in pixels to resize to, bilinearly; None keeps the images' own.
        unreadable: "refuse" raises an error for files that cannot be read, "skip" warns and leaves them out.
        progress: show a bar.

    Returns:
        Pixels uint8 [N, 3, H, W] and class numbers [N].

    Raises:
        ValueError: unreadable files, or images of several sizes with no `size`.
    """
    if folder.left_out:
        warnings.warn(
            f"{len(folder.left_out)} files in {folder.root} are left out, since they lie in no class folder or their "
            f"names end as no image's that is read here: {shown_paths(folder.left_out)}",
            stacklevel=4,
        )
    store_path, state = _store_path(folder, size), folder_state(folder)
    tensors = _load(store_path, state)
    if tensors is None:
        tensors = _decode(folder, size, unreadable, progress)
        if len(tensors["labels"]) == len(folder.samples):  # else try the unreadable files again next time
            try:
                _save(store_path, state, tensors)
            except (OSError, SafetensorError) as error:
                warnings.warn(
                    f"the decoded images could not be kept in {store_path.parent} ({error}); "
                    "they are decoded again next time",
                    stacklevel=4,
                )
    return tensors["images"], tensors["labels"]


def mixed_order(samples: list[tuple[str, int]], root: Path) -> list[tuple[str, int]]:
    """Sort (path, class) pairs by the SHA-256 of each path relative to `root`, which mixes the classes.

    Unlike a random draw, this order is the same with every version of every library, on every machine and file
    system, and adding or removing a file leaves the others in their order.
    """

    def sort_key(sample: tuple[str, int]) -> bytes:
        relative = Path(sample[0]).relative_to(root).as_posix()
        return hashlib.sha256(_composed(relative).encode(errors="surrogateescape")).digest()

    return sorted(samples, key=sort_key)


def _images_folder() -> Path:
    return store_folder() / "images"


def _store_path(folder: ImageFolder, size: tuple[int, int] | None) -> Path:
    """Path of a folder's pixels in the store: one for each size, so that new pixels replace the old ones."""
    key = hashlib.sha256(repr((os.path.realpath(folder.root), size)).encode(errors="surrogateescape")).hexdigest()
    return _images_folder() / f"{key[:16]}.{DECODER_VERSION}.safetensors"


def image_litter() -> list[Path]:
    """Files of killed runs, and pixels that other versions decoded."""
    current = f".{DECODER_VERSION}.safetensors"
    partial, pixels = (_images_folder().glob(pattern) for pattern in ("*.partial", "*.safetensors"))
    return sorted([*partial, *(path for path in pixels if not path.name.endswith(current))])


def folder_state(folder: ImageFolder) -> str:
    """Hash of the names, sizes, times and places of all files.

    Hashing their content instead takes, for the 60,000 files of CIFAR-10, 3 times as long if they are in memory (0.7 s
    against 0.2 s) and as long as decoding them (5.5 s against 6 s) if they are not.
    """
    hasher, latest = hashlib.sha256(), 0
    for path, label in folder.samples:
        try:
            status = os.stat(path)
        except OSError:  # a broken link
            hasher.update(os.fsencode(path) + b"\0missing\n")
            continue
        parts = label, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
        hasher.update(os.fsencode(path) + f"\0{parts}\n".encode())
        latest = max(latest, status.st_mtime_ns, status.st_ctime_ns)
    if abs(time.time() - latest / 1e9) < CLOCK_TICK:  # else a change right after this would leave the times as they are
        time.sleep(CLOCK_TICK)
    return hasher.hexdigest()


def _load(path: Path, state: str) -> dict[str, Tensor] | None:
    """Load the pixels that files of this state were decoded to; None if the store lacks them or they are damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("state") != state:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, `file` is no dict
    except (OSError, SafetensorError):
        return None
    return tensors if metadata.get("sha256") == digest_of(tensors, state) else None


def _save(path: Path, state: str, tensors: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"state": state, "sha256": digest_of(tensors, state)}
    with lock(path):
        write_atomically(path, lambda partial: save_file(tensors, partial, metadata=metadata))
    remove_litter(image_litter)


def _decode(folder: ImageFolder, size: tuple[int, int] | None, unreadable: str, progress: bool) -> dict[str, Tensor]:
    samples, classes = folder.samples, folder.classes
    images, failures = _read_all(samples, size, progress)
    if failures:
        reasons = "; ".join(list(failures.values())[:5]) + ("; ..." if len(failures) > 5 else "")
        message = f"{len(failures)} of {len(samples)} files in {folder.root} cannot be read: {reasons}"
        if unreadable == "refuse" or len(failures) == len(samples):
            raise ValueError(f"{message}. Mend or remove them, or pass unreadable='skip'")
        warnings.warn(f"{message}. They are left out", stacklevel=5)
    readable = [index for index in range(len(samples)) if index not in failures]
    labels = torch.tensor([samples[index][1] for index in readable])
    empty = sorted(set(range(len(classes))) - set(labels.tolist()))
    if empty:
        raise ValueError(
            f"no file of {', '.join(repr(classes[number]) for number in empty)} in {folder.root} can be read; "
            "mend one, or remove the folder"
        )
    images = images[readable] if failures else images
    return {"images": torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), "labels": labels}


def _read_all(
    samples: list[tuple[str, int]], size: tuple[int, int] | None, progress: bool
) -> tuple[np.ndarray, dict[int, str]]:
    """Read all files; return pixels uint8 [N, H, W, 3], and by index a message for each file that cannot be read.

    The pixels of an unreadable file are undefined.
    """
    images, first_path, failures = np.empty((0, 0, 0, 3), np.uint8), "", {}
    for index, (path, _) in enumerate(
        progress_bar(samples, total=len(samples), desc="decoding", unit="image", show=progress)
    ):
        try:
            pixels = read_pixels(path, size)
        except MemoryError:
            raise
        except Exception as error:  # a damaged file makes Pillow's readers raise exceptions of any kind
            reason = " ".join(str(error).split()) or type(error).__name__
            failures[index] = f"{shown_path(path)} ({reason})"
            continue
        if not first_path:
            images, first_path = np.empty((len(samples), *pixels.shape), np.uint8), path
        if pixels.shape != images.shape[1:]:
            raise ValueError(
                f"image_size=None needs images of one size, but {shown_path(path)} is {_size(pixels)} "
                f"and {shown_path(first_path)} is {_size(images[0])}; give image_size"
            )
        images[index] = pixels
    return images, failures


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
