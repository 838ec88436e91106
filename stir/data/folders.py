"""Folders of images, one a class, decoded once: the pixels are kept in the store."""

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
# Raise when the same files come to give other pixels, or the same in another order.
FORMAT = 2


def decode_folder(
    root: Path, size: int | None, *, unreadable: str = "refuse", progress: bool = True
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Pixels uint8 [N, 3, H, W], class numbers [N] and class names of the images in `root/<class>/`.

    The order of the images is drawn once, by their names alone (see `mixed_order`), so that the first n hold
    the classes in about the proportions of all.

    Args:
        root: a folder of class folders; images in any format that Pillow reads.
        size: height and width to resize to, bilinearly; None keeps the images' own.
        unreadable: "refuse" raises when a file cannot be read, "skip" warns and goes on without it.
        progress: show a bar.

    Raises:
        ValueError: no class folders, unreadable files, or images of several sizes with no `size`.
    """
    from torchvision.datasets import ImageFolder  # which takes a second

    try:
        folder = ImageFolder(str(root), is_valid_file=lambda path: _suffix(path) in _suffixes())
    except FileNotFoundError as error:
        raise ValueError(f"no images in {str(root)!r}: {error}") from error
    samples = mixed_order(folder.samples, root)
    kept = store_folder() / "images" / f"{_key(root, samples, size)}.safetensors"
    try:
        tensors = load_file(kept)
    except (OSError, SafetensorError):  # not there, or damaged: decoding gives it again
        tensors = _decode(root, samples, folder.classes, size, unreadable, progress)
        if len(tensors["labels"]) == len(folder):  # files that could not be read may be mended
            try:
                write_atomically(kept, lambda path: save_file(tensors, path))
            except (OSError, SafetensorError) as error:
                warnings.warn(
                    f"the decoded images could not be kept in {kept.parent} ({error}); they are decoded again next time",
                    stacklevel=4,
                )
    return tensors["images"], tensors["labels"], tuple(folder.classes)


def mixed_order(samples: list[tuple[str, int]], root: Path) -> list[tuple[str, int]]:
    """The same (path, class) pairs in an order that mixes the classes: by the SHA-256 of each path below `root`.

    No generator is involved, so the order is the same with every version of every library, on every machine and
    file system; and a file that is added or removed leaves the others in their order.
    """

    def place(sample: tuple[str, int]) -> bytes:
        below = Path(sample[0]).relative_to(root).as_posix()
        # Some file systems return accented letters composed, others in parts.
        return hashlib.sha256(unicodedata.normalize("NFC", below).encode(errors="surrogateescape")).digest()

    return sorted(samples, key=place)


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


@cache
def _suffixes() -> frozenset[str]:
    """Of all formats that Pillow reads, which are more than ImageFolder's own."""
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def _key(root: Path, samples: list[tuple[str, int]], size: int | None) -> str:
    """Hash of names, lengths and dates of all files: reading them all would take as long as decoding."""
    found = hashlib.sha256(repr((FORMAT, size, str(root.resolve()))).encode())
    for path, label in samples:
        state = os.stat(path)
        found.update(f"{path}\0{label}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return found.hexdigest()[:16]


def _decode(
    root: Path, samples: list[tuple[str, int]], classes: list[str], size: int | None, unreadable: str, progress: bool
) -> dict[str, Tensor]:
    images, first, failed = None, None, {}
    for index, (path, _) in enumerate(tqdm(samples, desc="decoding", unit="image", disable=not progress, leave=False)):
        try:
            pixels = _read(path, size)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's, of a damaged file
            failed[index] = f"{path} ({error})"
            continue
        if images is None:
            images, first = np.empty((len(samples), *pixels.shape), np.uint8), path
        if pixels.shape != images.shape[1:]:
            (height, width), (first_height, first_width) = pixels.shape[:2], images.shape[1:3]
            raise ValueError(
                f"image_size=None needs images of one size, but {path} is {width}x{height} and {first} is {first_width}x{first_height}; give image_size"
            )
        images[index] = pixels
    if failed:
        some = "; ".join(list(failed.values())[:5]) + ("; ..." if len(failed) > 5 else "")
        told = f"{len(failed)} of {len(samples)} files in {root} cannot be read: {some}"
        if unreadable == "refuse" or images is None:
            raise ValueError(f"{told}. Mend or remove them, or pass unreadable='skip'")
        warnings.warn(f"{told}. They are left out", stacklevel=5)
    good = [index for index in range(len(samples)) if index not in failed]
    labels = torch.tensor([samples[index][1] for index in good])
    empty = set(range(len(classes))) - set(labels.tolist())
    if empty:
        raise ValueError(
            f"no file of {', '.join(repr(classes[number]) for number in sorted(empty))} in {root} can be read; mend one, or remove the folder"
        )
    images = images if not failed else images[good]
    return {"images": torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), "labels": labels}


@cache
def _formats(suffix: str) -> tuple[str, ...]:
    """All that Pillow reads, the one that a file's name promises first: left to itself it tries several of them on each file."""
    promised = Image.registered_extensions()[suffix]
    return promised, *(kind for kind in Image.OPEN if kind != promised)


def _read(path: str, size: int | None) -> np.ndarray:
    with Image.open(path, formats=_formats(_suffix(path))) as file:
        if file.mode.startswith("I;16"):  # whose values Pillow would cut off at 255
            file = Image.fromarray((np.asarray(file) >> 8).astype(np.uint8))
        image = file if file.mode == "RGB" else file.convert("RGB")  # which copies even what needs no change
        if size is not None and image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(image)
