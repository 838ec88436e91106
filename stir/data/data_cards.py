"""Cards of data sets: what is known of one before its images are loaded, kept as a measurement is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from stir.data.deferred import CARD_FORMAT, DeferredSplit, describe
from stir.data.splits import Dataset, Split
from stir.kept import Found, Record


def record_of(name: str, **asked: Any) -> Record:
    """Place in the stores of the card of a data set, which is `asked` for by arguments of `load_dataset`."""
    return Record({"kind": "data set", "format": CARD_FORMAT, "name": name, **asked})


def is_of(found: Found, state: str | None) -> bool:
    """Whether a kept card is of the files that are here, whose `state` is None where nothing is known of them."""
    return state in (None, found.content["state"])


def known_or_loaded(record: Record, state: str | None, load: Callable[[], Dataset]) -> Dataset:
    """The data set whose card was kept, without its images; or loaded now, its card kept.

    Args:
        state: of its files, None where nothing is known of them.
        load: loads it.
    """
    found = record.find()
    if found is not None and is_of(found, state):
        return _deferred(found, load)
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


def _deferred(found: Found, load: Callable[[], Dataset]) -> Dataset:
    """The data set that `found` describes, which loads itself when its images are needed."""
    card, loader = found.content, _Loader(found.content, load)
    train, test = (
        DeferredSplit(card[split], found.tensors[split], partial(loader.split, split)) for split in ("train", "test")
    )
    return Dataset(card["name"], train, test, tuple(card["classes"]))
