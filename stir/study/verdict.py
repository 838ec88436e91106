"""Verdicts on hypotheses from a table of pairs: two quantities, their difference with its interval, and one word."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd

from stir.scoring.cautions import LOW_CONVERGED
from stir.study.estimates import Estimate, estimate, number, pairs_where
from stir.study.hypothesis import Hypothesis
from stir.study.naming import otherwise_name

__all__ = ["Estimate", "described", "estimate", "judge", "number", "pairs_where", "shown", "word"]


def described(table: pd.DataFrame, networks: Mapping[str, Mapping]) -> pd.DataFrame:
    """Add the attributes of both networks to each pair.

    Args:
        table: rows as `stir.pairwise` makes them.
        networks: name -> attributes, such as `{"loss": "standard", "seed": 0}`; None for one that a network does not
            have, as a standard network has no radius, is the same as leaving it out. An attribute that has a `name`
            itself, such as a data set, is represented by it.

    Returns:
        The table with three more columns for each attribute, such as `reference_loss`, `target_loss`, and `same_loss`,
        True if the two are equal, or if neither network has it.
    """
    attributes = pd.DataFrame(
        {name: {key: getattr(value, "name", value) for key, value in own.items()} for name, own in networks.items()}
    ).T
    columns = {}
    for attribute in attributes.columns:
        by_network = attributes.loc[:, attribute]
        sides = {side: table.loc[:, side].map(by_network).infer_objects() for side in ("reference", "target")}
        columns |= {f"{side}_{attribute}": values for side, values in sides.items()}
        # What is missing is unequal even to itself.
        without = by_network.index[by_network.isna()]
        neither = table.reference.isin(without) & table.target.isin(without)
        columns[f"same_{attribute}"] = (sides["reference"] == sides["target"]) | neither
    return table.assign(**columns)


def judge(hypotheses: Sequence[Hypothesis], table: pd.DataFrame, measure: str | None = None) -> pd.DataFrame:
    """Judge hypotheses: both quantities and their difference with 95% intervals, and the verdict.

    Besides those of `Estimate` there is the verdict "not judged". It means that in one of the means the share of images
    that converged is below `LOW_CONVERGED`, or below the column converged_needed if there is one, so that its X' are
    not what STIR is about; or that the measure refused features that a mean needs.

    Args:
        hypotheses: the hypotheses to judge.
        table: rows as `stir.pairwise` makes them, `described`.
        measure: the measure to judge by; None for that of the table's first row.

    Returns:
        One row for each hypothesis, with the columns claim; more, less: labels; more_value, more_low, more_high, and so
        for less and difference; verdict; p_value of the difference, 1 where it is not judged; converged, the share of
        the images, the least among the means that depend on X'; networks, the number of them, or of chains of their
        versions (see `stir.study.estimates.estimate`), and replicates, which of the two; replicated, True if the
        intervals count them; images, their number; measure; definition, the hypothesis as JSON.
    """
    measure = measure or table.measure.iloc[0]
    rows = table.loc[table.measure == measure]
    return pd.DataFrame(
        [
            _judge_one(hypothesis, rows) | {"measure": measure, "definition": hypothesis.to_json()}
            for hypothesis in hypotheses
        ]
    )


def _judge_one(hypothesis: Hypothesis, rows: pd.DataFrame) -> dict[str, object]:
    difference = estimate(rows, hypothesis.more, hypothesis.less)
    result: dict[str, object] = {
        "claim": hypothesis.claim,
        "more": hypothesis.more.label,
        "less": hypothesis.less.label,
    }
    estimates = {
        "more": estimate(rows, hypothesis.more),
        "less": estimate(rows, hypothesis.less),
        "difference": difference,
    }
    for name, each in estimates.items():
        result |= {f"{name}_value": each.value, f"{name}_low": each.interval[0], f"{name}_high": each.interval[1]}
    share, enough = _converged(hypothesis, rows)
    enough = enough and not math.isnan(difference.value)
    return result | {
        "verdict": difference.verdict if enough else "not judged",
        "p_value": difference.p_value if enough else 1.0,
        "converged": share,
        "networks": difference.networks,
        "replicates": "chains" if "reference_unit" in rows else "networks",
        "replicated": difference.replicated,
        "images": int(rows.n_images.max()),
    }


def _converged(hypothesis: Hypothesis, rows: pd.DataFrame) -> tuple[float, bool]:
    """Least share of converged images among the means that depend on X', 1 if none does; True if each has enough."""
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
    """Verdict of one row that `judge` made, followed by what other solvers say where they disagree.

    Other solvers' verdicts are in the column `otherwise` (`stir.study.conclusions.conclude`).
    """
    return row.verdict + (f", but {otherwise_name(row.otherwise)}" if row.get("otherwise") else "")


def shown(judged: pd.DataFrame) -> pd.DataFrame:
    """Format the table that `judge` returns as the book shows it: in HTML, in which claims and labels are text."""

    def text(row: pd.Series, name: str) -> str:
        return number(*(getattr(row, f"{name}_{part}") for part in ("value", "low", "high")))

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
    return pd.DataFrame(rows).map(partial(html.escape, quote=False))
