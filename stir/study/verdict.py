"""What a table of pairs says of a hypothesis: two quantities, their difference with its interval, and one word.

The unit of replication is the network: the same hypothesis, tried on other seeds, would give other
numbers. Images are the smaller source of error, and are counted too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from stir.scoring.score import LOW_CONVERGED
from stir.similarity.intervals import GROUPS
from stir.study.hypothesis import Hypothesis, Quantity

# Whose intervals make up the error over images. Pixels have none. They share X and X' with STIR, and so part of its error: over 28 pairs of networks on
# digits the jackknife's error of the difference was 1.1 times STIR's own in the mean, and up to 2.4 times where STIR is nearly 1, then 0.005 instead of 0.002.
# Both are small beside the error over networks.
MEASURED = {"gap": ("cka", "stir"), "beyond": ("stir",), "gap beyond": ("cka", "stir")}


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    Attributes:
        value: the number.
        error: its standard error over networks and images.
        freedom: degrees of freedom of the error; 0 where it is not known at all.
        networks: how many it rests on, or how many units of them.
        replicated: whether there are enough of them to tell how every mean varies with the network.
    """

    value: float
    error: float
    freedom: float
    networks: int
    replicated: bool

    @property
    def interval(self) -> tuple[float, float]:
        """95% confidence interval."""
        reach = self.error * student.ppf(0.975, self.freedom) if self.freedom else math.nan
        return self.value - reach, self.value + reach

    @property
    def p_value(self) -> float:
        """Two-sided p-value of the value being 0, by the interval's own t statistic; 1 where there are too few networks to tell."""
        if not self.replicated:
            return 1.0
        if not self.error:
            return float(self.value == 0)
        return float(2 * student.sf(abs(self.value) / self.error, self.freedom))

    def __str__(self) -> str:
        return number(self.value, *self.interval)

    @property
    def verdict(self) -> str:
        """On the hypothesis that the value is above 0: "supported", "not supported", "contradicted".

        Two networks say nothing about networks, however many images they see: then it is "not supported".
        """
        if not self.replicated:
            return "not supported"
        low, high = self.interval
        if low > 0:
            return "supported"
        return "contradicted" if high < 0 else "not supported"


def number(value: float, low: float, high: float) -> str:
    """A value with its interval, as the book writes it: "0.63 [0.50, 0.76]"."""
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def described(table: pd.DataFrame, networks: Mapping[str, Mapping]) -> pd.DataFrame:
    """The table with what is known of either network of each pair.

    Args:
        table: rows as `stir.pairwise` makes them.
        networks: name -> attributes, such as `{"loss": "standard", "seed": 0}`, the same for all; of
            what has a `name` itself, that is taken.

    Returns:
        For each attribute three columns more: `reference_loss`, `target_loss`, and `same_loss`, whether they agree.
    """
    known = pd.DataFrame(
        {name: {key: getattr(value, "name", value) for key, value in each.items()} for name, each in networks.items()}
    ).T
    more = {}
    for attribute in known.columns:
        sides = {side: table[side].map(known[attribute]).infer_objects() for side in ("reference", "target")}
        more |= {f"{side}_{attribute}": values for side, values in sides.items()}
        more[f"same_{attribute}"] = sides["reference"] == sides["target"]
    return table.assign(**more)


def pairs_where(table: pd.DataFrame, where: Mapping[str, object]) -> pd.DataFrame:
    """The rows of different networks that meet the condition of a `Quantity`, with the columns `gap` and, where pixels were scored, `beyond` and `gap beyond`.

    Raises:
        ValueError: the condition names a column that is not there, or no pair meets it, or it leaves a pair at several layers.
    """
    missing = [name for name in where if name not in table]
    if missing:
        raise ValueError(
            f"where={dict(where)} asks for {', '.join(map(repr, missing))}, which the table lacks; it has {', '.join(table.columns)}"
        )
    kept = table.reference != table.target
    for name, wanted in where.items():
        kept &= table[name].isin(wanted if isinstance(wanted, (list, tuple)) else [wanted])
    rows = table[kept]
    if rows.empty or rows.duplicated(["reference", "target"]).any():
        found = (
            "no pair of different networks"
            if rows.empty
            else "the same pair several times, as at several layers or by several measures"
        )
        raise ValueError(f"where={dict(where)} leaves {found}; it must leave each ordered pair at most once")
    rows = rows.assign(gap=rows.cka - rows.stir)
    if "pixels" not in rows:
        return rows
    beyond = rows.stir - rows.pixels
    return rows.assign(**{"beyond": beyond, "gap beyond": rows.cka - beyond})


def estimate(table: pd.DataFrame, more: Quantity, less: Quantity | None = None) -> Estimate:
    """The quantity `more`, less the quantity `less`, with its error.

    The error over networks is the jackknife's, which leaves out one network, and so all of its
    pairs, at a time; or one unit, where the table has the columns reference_unit and target_unit
    (see `described`), such as a chain of versions that share their seed. Networks that play the same part in all the means, as references and as
    targets, count as a sample of their own. A network without which a mean would be empty is taken
    as given, like one whose part nobody else plays. The error over images is the mean of the pairs'
    own, since all pairs share the images; where a table has no intervals, it counts as 0.
    Satterthwaite's rule gives the degrees of freedom of both together.

    Args:
        table: rows as `stir.pairwise` makes them, with the columns that the conditions name.

    Raises:
        ValueError: as `pairs_where`; or the table lacks the score of the pixels.

    Source: Arvesen (1969), "Jackknifing U-statistics"; Satterthwaite (1946), "An approximate
    distribution of estimates of variance components".
    """
    terms = more.terms + ([(-sign, value, where) for sign, value, where in less.terms] if less else [])
    chosen = [(sign, value, pairs_where(table, where)) for sign, value, where in terms]
    lacking = [value for _, value, rows in chosen if value not in rows]
    if lacking:
        raise ValueError(f"value={lacking[0]!r} needs the score of the pixels, which the table lacks; measure again")
    sides = ("reference_unit", "target_unit") if "reference_unit" in table else ("reference", "target")
    parts: dict[str, set] = {}
    for place, (_, _, rows) in enumerate(chosen):
        for side in sides:
            for name in rows[side].unique():
                parts.setdefault(name, set()).add((place, side))
    means = [(sign, rows[value].to_numpy(), *(rows[side].to_numpy() for side in sides)) for sign, value, rows in chosen]
    samples: dict[frozenset, list[float]] = {}
    for name, part in parts.items():
        left = _sum(means, without=name)
        if not math.isnan(left):
            samples.setdefault(frozenset(part), []).append(left)
    # Variance and degrees of freedom of each source.
    sources = [
        ((n - 1) ** 2 / n * float(np.var(left, ddof=1)), n - 1) for left in samples.values() if (n := len(left)) > 1
    ]
    varied = {place for part, left in samples.items() if len(left) > 1 for place, _ in part}
    replicated = len(varied) == len(chosen)
    sources += [(_image_error(value, rows) ** 2, _image_freedom(rows)) for _, value, rows in chosen]
    variance = sum(each for each, _ in sources)
    spread = sum(each**2 / freedom for each, freedom in sources)
    # Where nothing varies the rule is 0 / 0.
    freedom = variance**2 / spread if spread else float(sum(freedom for _, freedom in sources))
    return Estimate(_sum(means), math.sqrt(variance), freedom, len(parts), replicated)


def _sum(means: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]], without: str | None = None) -> float:
    """The means with their signs, NaN if one is empty."""
    total = 0.0
    for sign, values, references, targets in means:
        kept = values[(references != without) & (targets != without)]
        total += sign * kept.mean() if len(kept) else math.nan
    return float(total)


def _image_freedom(rows: pd.DataFrame) -> int:
    return min(GROUPS, int(rows.n_images.min())) - 1


def _image_error(value: str, rows: pd.DataFrame) -> float:
    columns = MEASURED.get(value, (value,))
    reach = student.ppf(0.975, _image_freedom(rows))
    return math.hypot(
        *(((rows[f"{name}_high"] - rows[f"{name}_low"]) / 2 / reach).fillna(0).mean() for name in columns)
    )


def judge(hypotheses: Sequence[Hypothesis], table: pd.DataFrame, measure: str | None = None) -> pd.DataFrame:
    """One row for each hypothesis: both quantities and their difference with 95% intervals, and the verdict.

    Besides those of `Estimate` there is the verdict "not judged": the share of the images that converged, in one of the means, is below `LOW_CONVERGED`, or
    below what the column converged_needed says if there is one, so that its X' are not what STIR is about; or the measure refused what a mean is of.

    Args:
        hypotheses: what to judge.
        table: rows as `stir.pairwise` makes them, `described`.
        measure: whose rows to judge by; None for those of the table's first row.

    Returns:
        Columns claim; more, less: labels; more_value, more_low, more_high, and so for less and
        difference; verdict; p_value of the difference, 1 where it is not judged; converged, the share of the images, the
        least among the means that depend on X'; networks, how many; replicated, whether the intervals count them; images, how
        many; measure; definition, the hypothesis as JSON.
    """
    measure = measure or table.measure.iloc[0]
    rows = table[table.measure == measure]
    judged = []
    for each in hypotheses:
        difference = estimate(rows, each.more, each.less)
        found = {"claim": each.claim, "more": each.more.label, "less": each.less.label}
        for name, made in {
            "more": estimate(rows, each.more),
            "less": estimate(rows, each.less),
            "difference": difference,
        }.items():
            found |= {f"{name}_value": made.value, f"{name}_low": made.interval[0], f"{name}_high": made.interval[1]}
        share, enough = _converged(each, rows)
        enough = enough and not math.isnan(difference.value)
        found |= {
            "verdict": difference.verdict if enough else "not judged",
            "p_value": difference.p_value if enough else 1.0,
            "converged": share,
        }
        found |= {
            "networks": difference.networks,
            "replicated": difference.replicated,
            "images": int(rows.n_images.max()),
        }
        judged.append(found | {"measure": measure, "definition": each.to_json()})
    return pd.DataFrame(judged)


def _converged(hypothesis: Hypothesis, rows: pd.DataFrame) -> tuple[float, bool]:
    """The least share of converged images among the means that depend on X', 1 if none does, and whether it is enough in each."""
    least, enough = 1.0, True
    for _, value, where in hypothesis.more.terms + hypothesis.less.terms:
        if value != "cka":
            pairs = pairs_where(rows, where)
            share = float(pairs.converged.mean())
            least = min(least, share)
            needed = float(pairs.converged_needed.max()) if "converged_needed" in pairs else LOW_CONVERGED
            enough = enough and share >= needed
    return least, enough


def word(row: pd.Series) -> str:
    """The verdict of one row that `judge` made, with what other solvers say (`stir.study.conclusions.conclude`) where they say otherwise."""
    return row.verdict + (f", but {row.otherwise}" if row.get("otherwise") else "")


def shown(judged: pd.DataFrame) -> pd.DataFrame:
    """What `judge` found, as the book shows it."""

    def text(row: pd.Series, name: str) -> str:
        return number(*(row[f"{name}_{part}"] for part in ("value", "low", "high")))

    rows = [
        {
            "hypothesis": row.claim,
            "is this": f"{row.more}: {text(row, 'more')}",
            "above that?": f"{row.less}: {text(row, 'less')}",
            "difference": text(row, "difference") + ("" if row.replicated else " (over images alone)"),
            "verdict": word(row),
        }
        for _, row in judged.iterrows()
    ]
    return pd.DataFrame(rows)
