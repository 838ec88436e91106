"""Tensors in a module's output: a tensor, a tuple, a dict, or an object of Hugging Face's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor


def tensors_in(output: object) -> Iterator[Tensor]:
    """All tensors in tuples, lists, mappings and data classes, in their order."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):  # Hugging Face's ModelOutput is one
        for value in output.values():
            yield from tensors_in(value)
    elif isinstance(output, (tuple, list)):
        for value in output:
            yield from tensors_in(value)
    elif is_dataclass(output):
        for field in fields(output):
            yield from tensors_in(getattr(output, field.name))


def first_tensor(output: object) -> Tensor | None:
    """The first of `tensors_in`."""
    return next(tensors_in(output), None)


def logits_in(output: Any) -> Tensor | None:
    """The attribute or entry "logits" of a network's output; where there is none, the first tensor."""
    named = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    return named if isinstance(named, Tensor) else first_tensor(output)


def logits_of(output: object) -> Float[Tensor, "n k"]:
    """The logits as `logits_in` returns them, checked to be of shape [N, K].

    Raises:
        ValueError: there are no logits [N, K].
    """
    logits = logits_in(output)
    if logits is None or logits.ndim != 2:
        got = f"a {type(output).__name__}" if logits is None else f"a tensor of shape {tuple(logits.shape)}"
        raise ValueError(
            f"the network's output must be logits [N, K], or hold them under the name 'logits' or as its first tensor, "
            f"not {got}; wrap it in a module that returns the logits"
        )
    return logits
