"""Cards of data sets: what is known of a data set without loading its images, kept like a measurement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from stir.data.deferred import CARD_FORMAT, DeferredSplit, describe
from stir.data.splits import Dataset, Split
from stir.kept import Record, Stored


def record_of(name: str, **arguments: Any) -> Record:
    """Place in the stores of the card of a data set, for these arguments of `load_dataset`."""
    return Record({"kind": "data set", "format": CARD_FORMAT, "name": name, **arguments})


def is_current(stored: Stored, state: str | None) -> bool:
    """True if a stored card matches the `state` of the files on this machine, or if that is unknown, None."""
    return state in (None, stored.content["state"])


def known_or_loaded(record: Record, state: str | None, load: Callable[[], Dataset]) -> Dataset:
    """The data set as its kept card describes it, without its images; or else loaded now, and its card kept.

    Args:
        state: of its files, None where nothing is known of them.
        load: loads it.
    """
    stored = record.find()
    if stored is not None and is_current(stored, state):
        return _deferred(stored, load)
    dataset = load()
    (train, train_gallery), (test, test_gallery) = describe(dataset.train), describe(dataset.test)
    card = {"name": dataset.name, "classes": dataset.classes, "train": train, "test": test, "state": state}
    record.keep(card, {"train": train_gallery, "test": test_gallery})
    return dataset


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


def _deferred(stored: Stored, load: Callable[[], Dataset]) -> Dataset:
    """The data set that `stored` describes, which loads itself when its images are needed."""
    card, loader = stored.content, _Loader(stored.content, load)
    train, test = (
        DeferredSplit(card[split], stored.tensors[split], partial(loader.split, split)) for split in ("train", "test")
    )
    return Dataset(card["name"], train, test, tuple(card["classes"]))
