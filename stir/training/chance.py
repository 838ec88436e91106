"""Chance level: the accuracy of always naming the most frequent class."""

from __future__ import annotations

import math
from collections.abc import Sequence

ERRORS = 1.645  # standard errors that an accuracy has to be above chance: one chance in twenty, one-sided


def chance_level(counts: Sequence[int]) -> float:
    """The share of the most frequent class, from the number of images of each."""
    return max(counts) / sum(counts)


def is_at_chance(accuracy: float, counts: Sequence[int]) -> bool:
    """True if an accuracy on so many images of each class may be that of always naming the most frequent one."""
    chance = chance_level(counts)
    return accuracy <= chance + ERRORS * math.sqrt(chance * (1 - chance) / sum(counts))
