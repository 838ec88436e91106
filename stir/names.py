"""Suggestions for a name that does not exist: the nearest of those that do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: object, known: Iterable[str], *, most: int = 1, least: float = 0.6) -> list[str]:
    """Return those of the `known` names that may be meant, the likeliest first.

    Args:
        most: their largest number.
        least: similarity, in [0, 1], from which on a name counts as near.
    """
    return difflib.get_close_matches(str(name), [*known], n=most, cutoff=least)


def suggest(
    name: object,
    known: Iterable[str],
    shown: Iterable[str] = (),
    *,
    most: int = 1,
    least: float = 0.6,
    before: str = "",
) -> str:
    """Return the remedy for an unknown name, as the end of a message: the names that may be meant, or all there are.

    Args:
        shown: the names to list where none is near, if `known` are too many for that.
        most, least: as of `nearest`.
        before: stands before each name where it is used, such as "torchvision:".
    """
    known = list(known)
    near = [repr(f"{before}{each}") for each in nearest(name, known, most=most, least=least)]
    if near:
        return f"did you mean {' or '.join(filter(None, [', '.join(near[:-1]), near[-1]]))}?"
    return f"use one of {', '.join(f'{before}{each}' for each in [*shown] or known)}"
