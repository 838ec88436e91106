"""Hypotheses as data: that one mean over pairs of networks is above another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

# gap: cka less stir. beyond: stir less pixels, what STIR has beyond that of the images' own pixels on the same X'. gap beyond: cka less that.
BEYOND = {"stir": "beyond", "gap": "gap beyond"}
VALUES = ("cka", *BEYOND, *BEYOND.values())
BEYOND_PIXELS = ", beyond the pixels"


@dataclass(frozen=True)
class Quantity:
    """A mean over ordered pairs of different networks, or the difference of two such means.

    Attributes:
        label: how the book calls it.
        value: "stir"; "cka"; "gap", the second less the first; "beyond", the first less the pixel baseline; or "gap beyond", the second less that.
        where: column of the table -> the value, or the list of values, that a pair must have there.
        minus: the same for the pairs whose mean is taken off; None for a single mean.
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
    """That one quantity is larger than another.

    Attributes:
        claim: the hypothesis in words.
        more, less: what is said to be the larger, and the smaller.
    """

    claim: str
    more: Quantity
    less: Quantity

    def beyond_pixels(self) -> Hypothesis:
        """The same of what STIR has beyond the pixel baseline: in both quantities that takes its place.

        Raises:
            ValueError: there is no STIR in one of them, or it is beyond the pixels already.
        """
        for quantity in (self.more, self.less):
            if quantity.value not in BEYOND:
                raise ValueError(
                    f"value={quantity.value!r} of {quantity.label!r} has no pixel baseline; use one of {', '.join(BEYOND)}"
                )
        more, less = (
            replace(each, label=each.label + BEYOND_PIXELS, value=BEYOND[each.value]) for each in (self.more, self.less)
        )
        return Hypothesis(self.claim + BEYOND_PIXELS, more, less)

    def to_json(self) -> str:
        """All of it, as text that `from_json` reads."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Hypothesis:
        """The hypothesis that `to_json` wrote."""
        found = json.loads(text)
        return cls(found["claim"], Quantity(**found["more"]), Quantity(**found["less"]))
