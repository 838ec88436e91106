"""Hypotheses that one mean over pairs of networks is larger than another, as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

# Quantities and their counterparts in excess of the pixel baseline, the similarity of the raw pixels of X and X'.
BEYOND = {"stir": "beyond", "gap": "gap beyond"}
VALUES = ("cka", *BEYOND, *BEYOND.values())
BEYOND_PIXELS = ", beyond the pixels"


@dataclass(frozen=True)
class Quantity:
    """A mean over ordered pairs of different networks, or the difference of two such means.

    Attributes:
        label: its name in the book.
        value: "stir"; "cka"; "gap", CKA less STIR; "beyond", STIR less the pixel baseline; or "gap beyond", CKA less
            "beyond".
        where: condition on pairs, column of the table -> required value, or list of accepted values.
        minus: condition on the pairs whose mean is subtracted; None for a single mean.

    Raises:
        ValueError: an unknown value.
    """

    label: str
    value: str
    where: Mapping[str, object]
    minus: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        if self.value not in VALUES:
            raise ValueError(f"value={self.value!r} is unknown; use one of {', '.join(VALUES)}")

    @property
    def terms(self) -> list[tuple[int, str, Mapping[str, object]]]:
        """Sign, value and condition of each mean."""
        return [(1, self.value, self.where)] + ([(-1, self.value, self.minus)] if self.minus is not None else [])


@dataclass(frozen=True)
class Hypothesis:
    """The hypothesis that one quantity is larger than another.

    Attributes:
        claim: the hypothesis in words.
        more: the quantity said to be larger.
        less: the quantity said to be smaller.
    """

    claim: str
    more: Quantity
    less: Quantity

    def beyond_pixels(self) -> Hypothesis:
        """Return the hypothesis with STIR in excess of the pixel baseline in place of STIR.

        Raises:
            ValueError: a quantity has no STIR in it, or is in excess of the pixels already.
        """
        for quantity in (self.more, self.less):
            if quantity.value not in BEYOND:
                remedy = f"use one of {', '.join(BEYOND)}"
                raise ValueError(f"value={quantity.value!r} of {quantity.label!r} has no pixel baseline; {remedy}")
        more, less = (
            replace(quantity, label=quantity.label + BEYOND_PIXELS, value=BEYOND[quantity.value])
            for quantity in (self.more, self.less)
        )
        return Hypothesis(self.claim + BEYOND_PIXELS, more, less)

    def to_json(self) -> str:
        """Serialize the hypothesis to JSON, in which numbers of NumPy are plain ones.

        Raises:
            TypeError: a condition holds what JSON has no form for, such as a set.
        """
        return json.dumps(asdict(self), ensure_ascii=False, default=_plain)

    @classmethod
    def from_json(cls, text: str) -> Hypothesis:
        """Read a hypothesis that `to_json` serialized."""
        fields = json.loads(text)
        return cls(fields["claim"], Quantity(**fields["more"]), Quantity(**fields["less"]))


def _plain(value: Any) -> Any:
    """A number of NumPy or PyTorch as a plain one."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a condition holds {value!r}, which JSON cannot; use texts, numbers and lists of them")
