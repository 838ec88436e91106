"""Images that are known but not read: a data set whose card was kept is loaded only when pixels are needed.

So pages that show kept measurements need no images, and are the same on machines that have none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

FIRST = 1_024  # images of a split that are known one by one
CARD_FORMAT = 2  # of what `describe` returns; raise it with a change
GALLERY = 10  # images of a split that are kept for galleries


def image_fingerprints(images: Tensor) -> list[str]:
    """A short hash of each image [N, C, H, W], of its type, shape and pixels."""
    about = repr((str(images.dtype), tuple(images.shape[1:]))).encode()
    rows = images.detach().cpu().contiguous().flatten(1).view(torch.uint8)  # their bytes; NumPy knows not every type
    return [hashlib.sha256(about + row.numpy().tobytes()).hexdigest()[:16] for row in rows]


class DeferredImages:
    """The first images of a split, known by their fingerprints; `stir.data.images.gather_images` loads them."""

    def __init__(self, fingerprints: list[str], load: Callable[[], Tensor]) -> None:
        self.fingerprints = fingerprints
        self.load = load

    def __len__(self) -> int:
        return len(self.fingerprints)

    def __getitem__(self, index: slice) -> DeferredImages:
        if not isinstance(index, slice) or index.start or index.step not in (None, 1):
            raise TypeError(
                f"images[{index!r}]: of images that are not loaded only the first n, images[:n], can be taken"
            )
        known = self.fingerprints[index]
        return DeferredImages(known, lambda: self.load()[: len(known)])


def fingerprint(images: Tensor | DeferredImages) -> str:
    """SHA-256 of the fingerprints of all images, in their order; the same whether they are loaded or not."""
    known = images.fingerprints if isinstance(images, DeferredImages) else image_fingerprints(images)
    return hashlib.sha256("".join(known).encode()).hexdigest()


def describe(split: Any) -> tuple[dict[str, Any], Tensor]:
    """Description of a `stir.data.splits.Split` for `DeferredSplit`: JSON, and the images of the gallery."""
    card = {
        "shape": list(split.images.shape),
        "fingerprint": split.fingerprint,
        "counts": split.counts,
        "normalization": split.normalization,
        "first": image_fingerprints(split.images[:FIRST]),
    }
    gallery = split.one_of_each(min(GALLERY, len(split)))
    pixels = (gallery * 255).round().to(torch.uint8)
    return card, pixels if torch.equal(pixels / 255, gallery) else gallery


class DeferredSplit:
    """A split like `stir.data.splits.Split` that is loaded when its `images` or `labels` are asked for.

    Args:
        card, gallery: as `describe` returns them.
        load: loads the split.
    """

    def __init__(self, card: Mapping[str, Any], gallery: Tensor, load: Callable[[], Any]) -> None:
        self.shape = torch.Size(card["shape"])
        self.fingerprint: str = card["fingerprint"]
        self.counts: list[int] = card["counts"]
        self.normalization: dict[str, list[float]] = card["normalization"]
        self._first: list[str] = card["first"]
        self._gallery = gallery / 255 if gallery.dtype == torch.uint8 else gallery
        self._load = load
        self._loaded: Any = None  # a Split

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def _split(self) -> Any:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    @property
    def images(self) -> Tensor:
        return self._split.images

    @property
    def labels(self) -> Tensor:
        return self._split.labels

    def __getitem__(self, index: Any) -> Any:
        return self._split[index]

    def take(self, n_images: int) -> Tensor | DeferredImages:
        """The first images, as `Split.take` returns them; those with known fingerprints are not loaded."""
        if 5 <= n_images <= len(self._first):
            return DeferredImages(self._first[:n_images], lambda: self.images[:n_images])
        return self._split.take(n_images)

    def one_of_each(self, n_images: int) -> Tensor:
        """Images for a gallery, as `Split.one_of_each` returns them."""
        return self._gallery[:n_images] if 1 <= n_images <= len(self._gallery) else self._split.one_of_each(n_images)
