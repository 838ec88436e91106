"""Chance level: the accuracy of who has learnt nothing but which class is the most frequent."""

from __future__ import annotations

import math

from jaxtyping import Int
from torch import Tensor

ERRORS = 1.645  # standard errors that an accuracy has to be above chance: one chance in twenty, one-sided


def chance_level(labels: Int[Tensor, "n"]) -> float:
    """The share of the most frequent class."""
    return labels.bincount().max().item() / len(labels)


def is_at_chance(accuracy: float, labels: Int[Tensor, "n"]) -> bool:
    """True if an accuracy on images of these classes may be that of always naming the most frequent one."""
    chance = chance_level(labels)
    return accuracy <= chance + ERRORS * math.sqrt(chance * (1 - chance) / len(labels))
