"""Trained networks by name, read from the store when they are asked for."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from stir.training.request import TrainedModel, TrainingRequest, warn_of_chance


class TrainedModels(Mapping[str, TrainedModel]):
    """Trained networks by name. Each is read from the store when it is asked for, and anew each time.

    So what is done to a network after it was read, such as pruning it, never passes for the one that `cards` describe,
    and a page of kept measurements reads no weights.

    """

    def __init__(
        self,
        requests: Mapping[str, TrainingRequest],
        device: torch.device,
        progress: bool,
        trained: Mapping[str, TrainedModel],
    ) -> None:
        self._cards: dict[str, dict[str, Any]] = {}  # shared with those that `only` returns
        for name, request in requests.items():
            card = request.entry.card()  # which notes that it is used
            self._cards[name] = trained[name].card if card is None else card
            warn_of_chance(self._cards[name], repr(name))
        self._requests, self._device, self._progress = requests, device, progress
        self._trained = {name: trained[name] for name in trained if not requests[name].entry.exists}  # a full disk

    def __getitem__(self, name: str) -> TrainedModel:
        """Read a network from the store; if it is not there, as where there is the evidence alone, train it now."""
        if name in self._trained:
            return copy.deepcopy(self._trained[name])
        model = self._requests[name].fetch(self._device, self._progress)
        self._cards[name] = model.card  # of another training, where the weights were gone
        return model

    def __contains__(self, name: object) -> bool:
        return name in self._requests

    def __iter__(self) -> Iterator[str]:
        return iter(self._requests)

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def cards(self) -> dict[str, dict[str, Any]]:
        """Name -> the card, as `trained_model` describes it."""
        return {name: self._cards[name] for name in self._requests}

    def key(self, name: str) -> str:
        """Identity of a network: the hash of everything that made it, and that of its weights.

        The same settings make weights that differ by rounding on another machine.
        """
        card = self._cards[name]
        return f"{self._requests[name].entry.key} {card.get('weights_sha256', card.get('sha256'))}"

    def only(self, names: Iterable[str]) -> TrainedModels:
        """Some of the networks, in the order of `names`."""
        some = copy.copy(self)
        some._requests = {name: self._requests[name] for name in names}
        return some
