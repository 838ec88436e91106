"""Checkpoints of trainings, and loading of states."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from stir.files import digest_of, write_atomically


@dataclass(frozen=True)
class Checkpoint:
    """State of a training after an epoch.

    Attributes:
        tensors: weights, buffers and momenta, by name, on the CPU.
        curve: the learning curve so far.
        rates: learning rate of the next step, for each parameter group.
        made_by: everything that determines the training, as JSON.
    """

    tensors: dict[str, Tensor]
    curve: list[dict[str, float]]
    rates: list[float]
    made_by: str

    def write(self, path: Path) -> None:
        """Write to `path`, whole or not at all.

        Raises:
            OSError, SafetensorError: the file cannot be written.
        """
        metadata = {"curve": json.dumps(self.curve), "rate": json.dumps(self.rates), "made_by": self.made_by}
        metadata["sha256"] = digest_of(self.tensors, *metadata.values())
        write_atomically(path, lambda partial: save_file(self.tensors, partial, metadata=metadata))

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read what `write` wrote.

        Raises:
            OSError, ValueError, KeyError, TypeError, SafetensorError: the file is damaged.
        """
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, `file` is no dict
            metadata = file.metadata()
        curve, rates, made_by = metadata["curve"], metadata["rate"], metadata["made_by"]
        if metadata["sha256"] != digest_of(tensors, curve, rates, made_by):
            raise ValueError("its checksum is wrong")
        curve, rates = json.loads(curve), json.loads(rates)
        are_lists = isinstance(curve, list) and isinstance(rates, list)
        if not are_lists or not all(isinstance(epoch, dict) for epoch in curve):
            raise ValueError("its learning curve or rates are no lists")
        if not all(isinstance(number, float) for numbers in (rates, *map(dict.values, curve)) for number in numbers):
            raise ValueError("its learning curve or rates are no numbers")
        return cls(tensors, curve, rates, made_by)


def load_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Load all of `state` into `model`, or nothing.

    Raises:
        ValueError: names or shapes differ.
    """
    own = model.state_dict()
    wrong = sorted(own.keys() ^ state.keys()) or [
        name for name, tensor in own.items() if tensor.shape != state[name].shape
    ]
    if wrong:
        raise ValueError(f"it is of another network, by its {wrong[0]!r}")
    model.load_state_dict(state)
