"""Folders of images, one folder for each class, decoded once: the store keeps the pixels."""

from __future__ import annotations

import hashlib
import os
import unicodedata
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from stir.files import store_folder, write_atomically

UNREADABLE = ("refuse", "skip")
# Raise after a change that decodes the same files to other pixels or another order; part of the stored file's name.
DECODER_VERSION = 2


def decode_folder(
    root: Path, size: int | None, *, unreadable: str = "refuse", progress: bool = True
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Decode the images in `root/<class>/`, or load their pixels if the store holds them.

    The order of the images depends only on their names and mixes the classes (see `mixed_order`): the first n hold
    the classes in about the proportions of all.

    Args:
        root: a folder of class folders; images in any format that Pillow reads.
        size: height and width in pixels to resize to, bilinearly; None keeps the images' own.
        unreadable: "refuse" raises an error for files that cannot be read, "skip" warns and leaves them out.
        progress: show a bar.

    Returns:
        Pixels uint8 [N, 3, H, W], class numbers [N] and class names.

    Raises:
        ValueError: no class folders, unreadable files, or images of several sizes with no `size`.
    """
    from torchvision.datasets import ImageFolder  # slow to import

    try:
        folder = ImageFolder(str(root), is_valid_file=lambda path: _suffix(path) in _suffixes())
    except FileNotFoundError as error:
        raise ValueError(f"no images in {str(root)!r}: {error}") from error
    samples = mixed_order(folder.samples, root)
    store_path = store_folder() / "images" / f"{_key(root, samples, size)}.safetensors"
    try:
        tensors = load_file(store_path)
    except (OSError, SafetensorError):  # missing or damaged
        tensors = _decode(root, samples, folder.classes, size, unreadable, progress)
        if len(tensors["labels"]) == len(folder):  # else try the unreadable files again next time
            try:
                write_atomically(store_path, lambda path: save_file(tensors, path))
            except (OSError, SafetensorError) as error:
                warnings.warn(
                    f"the decoded images could not be kept in {store_path.parent} ({error}); "
                    "they are decoded again next time",
                    stacklevel=4,
                )
    return tensors["images"], tensors["labels"], tuple(folder.classes)


def mixed_order(samples: list[tuple[str, int]], root: Path) -> list[tuple[str, int]]:
    """Sort (path, class) pairs by the SHA-256 of each path relative to `root`, which mixes the classes.

    Unlike a random draw, this order is the same with every version of every library, on every machine and file
    system, and adding or removing a file leaves the others in their order.
    """

    def sort_key(sample: tuple[str, int]) -> bytes:
        relative = Path(sample[0]).relative_to(root).as_posix()
        # File systems differ in whether they return an accented letter as one character or as two.
        return hashlib.sha256(unicodedata.normalize("NFC", relative).encode(errors="surrogateescape")).digest()

    return sorted(samples, key=sort_key)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


@cache
def _suffixes() -> frozenset[str]:
    """File name endings of all formats that Pillow reads; ImageFolder itself knows fewer."""
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def _key(root: Path, samples: list[tuple[str, int]], size: int | None) -> str:
    """Hash of the names, sizes and dates of all files: hashing their content would take as long as decoding it."""
    digest = hashlib.sha256(repr((DECODER_VERSION, size, str(root.resolve()))).encode())
    for path, label in samples:
        status = os.stat(path)
        digest.update(f"{path}\0{label}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _decode(
    root: Path, samples: list[tuple[str, int]], classes: list[str], size: int | None, unreadable: str, progress: bool
) -> dict[str, Tensor]:
    images, failures = _read_all(samples, size, progress)
    if failures:
        reasons = "; ".join(list(failures.values())[:5]) + ("; ..." if len(failures) > 5 else "")
        message = f"{len(failures)} of {len(samples)} files in {root} cannot be read: {reasons}"
        if unreadable == "refuse" or len(failures) == len(samples):
            raise ValueError(f"{message}. Mend or remove them, or pass unreadable='skip'")
        warnings.warn(f"{message}. They are left out", stacklevel=5)
    readable = [index for index in range(len(samples)) if index not in failures]
    labels = torch.tensor([samples[index][1] for index in readable])
    empty = sorted(set(range(len(classes))) - set(labels.tolist()))
    if empty:
        raise ValueError(
            f"no file of {', '.join(repr(classes[number]) for number in empty)} in {root} can be read; "
            "mend one, or remove the folder"
        )
    images = images[readable] if failures else images
    return {"images": torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), "labels": labels}


def _read_all(samples: list[tuple[str, int]], size: int | None, progress: bool) -> tuple[np.ndarray, dict[int, str]]:
    """Read all files; return pixels uint8 [N, H, W, 3], and by index a message for each file that cannot be read.

    The pixels of an unreadable file are undefined.
    """
    images, first_path, failures = np.empty((0, 0, 0, 3), np.uint8), "", {}
    for index, (path, _) in enumerate(tqdm(samples, desc="decoding", unit="image", disable=not progress, leave=False)):
        try:
            pixels = _read(path, size)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's, of a damaged file
            failures[index] = f"{path} ({error})"
            continue
        if not first_path:
            images, first_path = np.empty((len(samples), *pixels.shape), np.uint8), path
        if pixels.shape != images.shape[1:]:
            raise ValueError(
                f"image_size=None needs images of one size, but {path} is {_size(pixels)} "
                f"and {first_path} is {_size(images[0])}; give image_size"
            )
        images[index] = pixels
    return images, failures


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


@cache
def _formats(suffix: str) -> tuple[str, ...]:
    """All formats that Pillow reads, the one that a file's name implies first.

    Left to itself, Pillow tries several formats on each file, which is slow.
    """
    implied = Image.registered_extensions()[suffix]
    return implied, *(name for name in Image.OPEN if name != implied)


def _read(path: str, size: int | None) -> np.ndarray:
    """Read an image file as RGB pixels uint8 [H, W, 3]."""
    with Image.open(path, formats=_formats(_suffix(path))) as file:
        image: Image.Image = file
        if image.mode.startswith("I;16"):  # Pillow would clip 16-bit values at 255
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.mode != "RGB":  # convert() copies even an RGB image
            image = image.convert("RGB")
        if size is not None and image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(image)
