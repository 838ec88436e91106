"""Means over pairs of networks and differences of such means, with their errors over networks and images.

The unit of replication is the network: with other training seeds, the same hypothesis would give other numbers. Images
are the smaller source of error, and are counted too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr as student_cdf
from scipy.special import stdtrit as student_quantile

from stir.similarity.intervals import GROUPS, satterthwaite
from stir.study.hypothesis import Quantity
from stir.study.naming import decimal

SIMILARITIES = ("cka", "stir")  # values that are no differences
# Columns whose intervals make up a quantity's error over images. Pixels have no intervals. They share X and X' with
# STIR, and so part of its error: over 28 pairs of networks on digits the jackknife's error of the difference was on
# average 1.1 times STIR's own, and up to 2.4 times where STIR is nearly 1, then 0.005 instead of 0.002. Both are small
# beside the error over networks.
ERROR_COLUMNS = {"gap": ("cka", "stir"), "beyond": ("stir",), "gap beyond": ("cka", "stir")}


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    Attributes:
        value: the number.
        error: its standard error over networks and images.
        freedom: degrees of freedom of the error; 0 where it is not known at all.
        networks: number of networks, or of units of them, that it rests on.
        replicated: True if there are enough of them to tell how every mean varies with the network.
        similarity: True of a mean of similarities, which lie in [-1, 1] by all measures with names; False of a
            difference.
    """

    value: float
    error: float
    freedom: float
    networks: int
    replicated: bool
    similarity: bool = False

    @property
    def interval(self) -> tuple[float, float]:
        """95% confidence interval; that of a similarity in [-1, 1] is one on Fisher's z scale, and so stays inside.

        Source: Fisher (1921), "On the 'probable error' of a coefficient of correlation deduced from a small sample";
        the error on the z scale is that of the delta method, error / (1 - value^2).
        """
        half_width = self.error * float(student_quantile(self.freedom, 0.975)) if self.freedom else math.nan
        if not self.similarity or not half_width or abs(self.value) > 1:  # as R squared may be, a measure of a user's
            return self.value - half_width, self.value + half_width
        value = min(max(self.value, -1 + 1e-12), 1 - 1e-12)  # where the scale ends
        centre, half_width = math.atanh(value), half_width / (1 - value**2)
        return math.tanh(centre - half_width), math.tanh(centre + half_width)

    @property
    def p_value(self) -> float:
        """Two-sided p-value of a difference of 0, by its interval's t statistic; 1 where there are too few networks."""
        if not self.replicated:
            return 1.0
        if not self.error:
            return float(self.value == 0)
        return float(2 * student_cdf(self.freedom, -abs(self.value) / self.error))

    def __str__(self) -> str:
        return number(self.value, *self.interval)

    @property
    def verdict(self) -> str:
        """Verdict on the hypothesis that the value is above 0: "supported", "not supported" or "contradicted".

        Without replicates it is "not supported": two networks say nothing about networks, however many images they see.
        """
        if not self.replicated:
            return "not supported"
        low, high = self.interval
        if low > 0:
            return "supported"
        return "contradicted" if high < 0 else "not supported"


def number(value: float, low: float, high: float) -> str:
    """Format a value with its interval as the book writes it: "0.63 [0.50, 0.76]".

    An end next to zero has a third digit, so that it can be seen on which side of zero it lies. The space within the
    brackets does not break, so that an interval stays on one line of a narrow column.
    """
    return f"{decimal(value)} [{_end(low)},\N{NO-BREAK SPACE}{_end(high)}]"


def _end(value: float) -> str:
    text = decimal(value)
    return decimal(value, 3) if text == "0.00" and abs(value) >= 0.0005 else text


def pairs_where(table: pd.DataFrame, where: Mapping[str, object]) -> pd.DataFrame:
    """Select the pairs of different networks that meet the condition of a `Quantity`.

    Returns:
        Their rows with the column `gap` and, where pixels were scored, `beyond` and `gap beyond`.

    Raises:
        ValueError: the condition names a column that is not there, or no pair meets it, or it leaves a pair at several
            layers.
    """
    missing = [name for name in where if name not in table]
    if missing:
        raise ValueError(
            f"where={dict(where)} asks for {', '.join(map(repr, missing))}, which the table lacks; "
            f"it has {', '.join(table.columns)}"
        )
    selected = table.reference != table.target
    for name, value in where.items():
        selected &= table.loc[:, name].isin(value if isinstance(value, (list, tuple)) else [value])
    rows = table.loc[selected]
    several = "the same pair several times, as at several layers or by several measures"
    if rows.empty or rows.duplicated(["reference", "target"]).any():
        problem = "no pair of different networks" if rows.empty else several
        raise ValueError(f"where={dict(where)} leaves {problem}; it must leave each ordered pair at most once")
    rows = rows.assign(gap=rows.cka - rows.stir)
    if "pixels" not in rows:
        return rows
    beyond = rows.stir - rows.pixels
    return rows.assign(**{"beyond": beyond, "gap beyond": rows.cka - beyond})


def estimate(table: pd.DataFrame, more: Quantity, less: Quantity | None = None) -> Estimate:
    """Estimate the quantity `more`, less the quantity `less`, with its error.

    The error over networks is the jackknife's, which leaves out one network, and so all of its pairs, at a time; or
    one unit, such as a chain of versions that share their seed, where the table has the columns reference_unit and
    target_unit (see `stir.study.verdict.described`). Networks that take the same part in all the means, as references
    and as targets, count as one sample. A network without which a mean would be empty is taken as given, like one whose
    part no other network takes. The error over images is the mean of the pairs' own, since all pairs share the images;
    where a table has no intervals, it counts as 0. Satterthwaite's rule gives the degrees of freedom of both together.

    Args:
        table: rows as `stir.pairwise` makes them, with the columns that the conditions name.

    Raises:
        ValueError: as `pairs_where`; or the table lacks the score of the pixels.

    Source: Arvesen (1969), "Jackknifing U-statistics"; Satterthwaite (1946), "An approximate distribution of estimates
    of variance components".
    """
    terms = more.terms + ([(-sign, value, where) for sign, value, where in less.terms] if less else [])
    selected = [(sign, value, pairs_where(table, where)) for sign, value, where in terms]
    missing = [value for _, value, rows in selected if value not in rows]
    if missing:
        raise ValueError(f"value={missing[0]!r} needs the score of the pixels, which the table lacks; measure again")
    suffix = "_unit" if "reference_unit" in table else ""
    means = [_Mean.of(sign, value, rows, suffix) for sign, value, rows in selected]
    parts = _parts(means)
    samples: dict[frozenset, list[float]] = {}
    for name, part in parts.items():
        value = _sum(means, without=name)
        if not math.isnan(value):
            samples.setdefault(part, []).append(value)
    samples = {part: values for part, values in samples.items() if len(values) > 1}
    varied = {index for part in samples for index, _ in part}
    # Variance and degrees of freedom of each source.
    sources = [
        ((n - 1) ** 2 / n * float(np.var(values, ddof=1)), n - 1)
        for values, n in ((values, len(values)) for values in samples.values())
    ]
    sources += [(_image_error(value, rows) ** 2, _image_freedom(rows)) for _, value, rows in selected]
    variance, freedom = satterthwaite(sources)
    similarity = len(means) == 1 and more.value in SIMILARITIES
    return Estimate(_sum(means), math.sqrt(variance), freedom, len(parts), len(varied) == len(means), similarity)


class _Mean(NamedTuple):
    """A mean over pairs, with its sign in an estimate."""

    sign: int
    values: np.ndarray  # of each pair
    references: np.ndarray  # names of networks, or of their units
    targets: np.ndarray

    @classmethod
    def of(cls, sign: int, value: str, rows: pd.DataFrame, suffix: str) -> _Mean:
        columns = [rows.loc[:, name].to_numpy() for name in (value, f"reference{suffix}", f"target{suffix}")]
        return cls(sign, *columns)


def _parts(means: Sequence[_Mean]) -> dict[str, frozenset]:
    """Network or unit -> the means that it is part of, as pairs of an index and "reference" or "target"."""
    parts: dict[str, set] = {}
    for index, mean in enumerate(means):
        for side, names in (("reference", mean.references), ("target", mean.targets)):
            for name in pd.unique(names):
                parts.setdefault(name, set()).add((index, side))
    return {name: frozenset(part) for name, part in parts.items()}


def _sum(means: Sequence[_Mean], without: str | None = None) -> float:
    """Sum of the means with their signs, without the pairs of one network; NaN if a mean is empty."""
    total = 0.0
    for mean in means:
        remaining = mean.values[(mean.references != without) & (mean.targets != without)]
        total += mean.sign * remaining.mean() if len(remaining) else math.nan
    return float(total)


def _image_freedom(rows: pd.DataFrame) -> int:
    return min(GROUPS, int(rows.n_images.min())) - 1


def _image_error(value: str, rows: pd.DataFrame) -> float:
    """Standard error over images of the mean of a value over pairs."""
    quantile = student_quantile(_image_freedom(rows), 0.975)
    errors = []
    for name in ERROR_COLUMNS.get(value, (value,)):
        half_widths = (rows.loc[:, f"{name}_high"] - rows.loc[:, f"{name}_low"]) / 2
        errors.append(float((half_widths / quantile).fillna(0).mean()))
    return math.hypot(*errors)
