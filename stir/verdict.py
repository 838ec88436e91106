"""What a table of pairs says of a hypothesis: a difference, its interval, and one word.

The unit of replication is the network: the same hypothesis, tried on other seeds, would give other
numbers. Images are the smaller source of error, and are counted too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student


@dataclass(frozen=True)
class Estimate:
    """A mean over pairs of networks with its standard error.

    Attributes:
        value: the mean.
        error: its standard error over networks and images; over images alone if `freedom` is 0.
        freedom: networks less 1; 0 where there are too few of them to tell how they vary.
    """

    value: float
    error: float
    freedom: int

    @property
    def interval(self) -> tuple[float, float]:
        """95% confidence interval."""
        reach = self.error * (student.ppf(0.975, self.freedom) if self.freedom else norm.ppf(0.975))
        return self.value - reach, self.value + reach

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference of two estimates from disjoint networks."""
        freedom = min(self.freedom, other.freedom)
        return Estimate(self.value - other.value, math.hypot(self.error, other.error), freedom)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.2f} [{low:.2f}, {high:.2f}]"

    @property
    def verdict(self) -> str:
        """On the hypothesis that the value is above 0: "supported", "not supported", "contradicted"."""
        low, high = self.interval
        if low > 0:
            return "supported"
        return "contradicted" if high < 0 else "not supported"


def mean_over_pairs(pairs: pd.DataFrame, plus: str, minus: str | None = None) -> Estimate:
    """Mean of the column `plus`, less that of `minus`, over ordered pairs of different networks.

    The error over networks is the jackknife's that leaves out one network, and so all of its pairs,
    at a time. That over images is the mean of the pairs' own, since all pairs share the images.

    Args:
        pairs: rows as `stir.pairwise` makes them, at one layer, none with itself.
        plus, minus: "stir" or "cka".

    Raises:
        ValueError: no rows, or rows at several layers or of a network with itself.
    """
    if pairs.empty or (pairs.reference == pairs.target).any() or pairs.duplicated(["reference", "target"]).any():
        raise ValueError("pairs must hold each ordered pair of different networks once, at one layer")
    columns = [plus] if minus is None else [plus, minus]
    value = pairs[plus] - (0 if minus is None else pairs[minus])
    over_images = math.hypot(*(((pairs[f"{name}_high"] - pairs[f"{name}_low"]) / 2 / norm.ppf(0.975)).mean() for name in columns))
    networks = sorted({*pairs.reference, *pairs.target})
    count = len(networks)
    if count < 3:
        return Estimate(value.mean(), over_images, 0)
    left = pd.Series([value[(pairs.reference != name) & (pairs.target != name)].mean() for name in networks])
    over_networks = math.sqrt((count - 1) ** 2 / count * left.var())
    return Estimate(value.mean(), math.hypot(over_networks, over_images), count - 1)
