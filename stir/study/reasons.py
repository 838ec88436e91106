"""Possible reasons why a hypothesis failed, from the measured figures: chance, room, inversion or measure."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from stir.study.cards import chip, interval, replicates, text
from stir.study.conclusions import ENOUGH_CONVERGED, UNSETTLED
from stir.study.estimates import pairs_where
from stir.study.hypothesis import BEYOND, BEYOND_PIXELS, Hypothesis, Quantity
from stir.study.naming import decimal, otherwise_name

NEAR_ONE = 0.9  # two similarities above it leave little between them
NO_GAP = 0.05  # a gap below it leaves nothing to narrow
ACCURACIES_DIFFER = 0.1  # ten points: as much as may explain a difference by itself


def failed(judged: pd.DataFrame) -> pd.DataFrame:
    """The rows of hypotheses that were judged and not supported, and of those that could not be judged."""
    return judged.loc[judged.verdict != "supported"]


def why(row: pd.Series, table: pd.DataFrame) -> list[str]:
    """Sentences on the possible reasons why a hypothesis was not supported.

    Args:
        row: of the table that `stir.study.conclusions.with_measures` returns.
        table: the finding's measured pairs, by the measure of the page alone.
    """
    hypothesis = Hypothesis.from_json(row.definition)
    return [*_chance(row), *_no_room(row, hypothesis, table), *_inversion(row), *_measures(row)]


def _chance(row: pd.Series) -> Iterator[str]:
    if row.verdict == "not judged":
        yield f"It could not be judged: in one of its means only {row.converged:.0%} of the images X′ converged."
    elif row.verdict == "contradicted":
        yield f"The opposite was measured: the whole interval, {interval(row)}, lies below zero."
    elif not row.replicated:
        yield f"There are too few {replicates(row)} of a kind to tell how it varies from one to another."
    else:
        sign = "has the sign of the claim" if row.difference_value > 0 else "has the opposite sign"
        yield (
            f"The difference {sign}, and its interval, {interval(row)}, includes zero: with {row.networks} "
            f"{replicates(row)} a true difference of as much as {decimal(row.difference_high)} cannot be ruled out."
        )


def _no_room(row: pd.Series, hypothesis: Hypothesis, table: pd.DataFrame) -> Iterator[str]:
    """Lack of room, in words: pixels score high already, a similarity is near 1, or there is hardly a gap."""
    more, less = hypothesis.more, hypothesis.less
    if more.value in BEYOND.values():
        for quantity in (more, less):
            stir, pixels = _mean(quantity, "stir", table), _mean(quantity, "pixels", table)
            yield (
                f"{quantity.label.removesuffix(BEYOND_PIXELS)}: on these X′ the raw pixels score {decimal(pixels)}, "
                f"which leaves room for at most {decimal(1 - pixels)} beyond them; STIR is {decimal(stir)}."
            )
        if (most := most_possible(row, table)) < 0:
            yield (
                f"So there is not enough room for what the claim says: even if STIR were 1, {_high(hypothesis).label}, "
                f"the difference would be {decimal(most)}."
            )
    elif more.value == "gap" and more.minus is None and row.more_value < NO_GAP:
        yield f"The gap that the claim says is the larger one is itself next to nothing ({decimal(row.more_value)})."
    elif more.value in ("cka", "stir") and more.minus is None and min(row.more_value, row.less_value) > NEAR_ONE:
        means = f"{decimal(row.more_value)} and {decimal(row.less_value)}"
        yield f"Both means are near 1 ({means}), which leaves little room for a difference."


def with_caveats(judged: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Add what limits verdicts: `room` and `accuracy`, in words for `stir.study.cards.warnings`; and `most_possible`.

    Args:
        judged: rows of one finding, as `stir.study.conclusions.conclude` returns them.
        table: the finding's measured pairs, by the measure of the page alone.
    """
    rows = [row for _, row in judged.iterrows()]
    return judged.assign(
        room=[_room(row, table) for row in rows],
        accuracy=[_accuracy(Hypothesis.from_json(row.definition), table) for row in rows],
        most_possible=[most_possible(row, table) for row in rows],
    )


def most_possible(row: pd.Series, table: pd.DataFrame) -> float:
    """The difference of a hypothesis beyond the pixels if STIR were 1 on the side where the claim wants it high.

    The other side stays as measured. Below 0, the claim could not be supported whatever the networks share.

    Args:
        row, table: as in `why`.

    Returns:
        NaN for a hypothesis that does not go beyond the pixels, or whose quantities are themselves differences.
    """
    hypothesis = Hypothesis.from_json(row.definition)
    if hypothesis.more.value not in BEYOND.values() or hypothesis.more.minus or hypothesis.less.minus:
        return math.nan
    high = _high(hypothesis)
    room = 1 - _mean(high, "pixels", table)
    if high is hypothesis.more:
        return room - row.less_value
    return row.more_value - (_mean(high, "cka", table) - room)


def _high(hypothesis: Hypothesis) -> Quantity:
    """The side of a hypothesis on which STIR would have to be high: a gap is small where STIR is high."""
    return hypothesis.less if "gap" in hypothesis.more.value else hypothesis.more


def _room(row: pd.Series, table: pd.DataFrame) -> str:
    """Half a sentence on the room beyond the pixels of a hypothesis that failed there; else nothing."""
    hypothesis = Hypothesis.from_json(row.definition)
    sides = (hypothesis.more, hypothesis.less)
    if row.verdict == "supported" or hypothesis.more.value not in BEYOND.values():
        return ""
    left = [f"{decimal(1 - _mean(side, 'pixels', table))} ({side.label.removesuffix(BEYOND_PIXELS)})" for side in sides]
    most = most_possible(row, table)
    too_little = f", too little for the claim: even a STIR of 1 would give {decimal(most)}" if most < 0 else ""
    return f"the pixels leave room for {' and '.join(left)}{too_little}"


def _accuracy(hypothesis: Hypothesis, table: pd.DataFrame) -> str:
    """Half a sentence on how well the networks of both sides classify, where that differs much; else nothing."""
    if "reference_accuracy" not in table:
        return ""
    more, less = (_accuracies(quantity, table) for quantity in (hypothesis.more, hypothesis.less))
    if max(abs(a - b) for a, b in zip(more, less, strict=True)) < ACCURACIES_DIFFER:
        return ""
    return f"the networks of its two sides differ in accuracy too: {_span(*more)} and {_span(*less)}"


def _accuracies(quantity: Quantity, table: pd.DataFrame) -> tuple[float, float]:
    """The lowest and the highest accuracy of the networks in the pairs of a quantity."""
    pairs = pd.concat([pairs_where(table, where) for _, _, where in quantity.terms])
    both = pairs.loc[:, ["reference_accuracy", "target_accuracy"]].to_numpy()
    return float(both.min()), float(both.max())


def _span(low: float, high: float) -> str:
    ends = f"{low:.0%}", f"{high:.0%}"
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _mean(quantity: Quantity, column: str, table: pd.DataFrame) -> float:
    return float(pairs_where(table, quantity.where).loc[:, column].mean())


def _inversion(row: pd.Series) -> Iterator[str]:
    if row.otherwise.startswith(UNSETTLED):
        yield f"The number of images, or their error, matters more than the solver: {otherwise_name(row.otherwise)}."
    elif row.otherwise.startswith("unchecked"):
        yield f"Whether the inversion matters is open: the verdict {otherwise_name(row.otherwise)}."
    elif row.otherwise:
        yield f"The inversion may matter. The verdict with other solvers: {otherwise_name(row.otherwise)}."
    elif row.converged >= ENOUGH_CONVERGED:
        yield f"The inversion is an unlikely cause: {row.converged:.0%} of X′ converged, and no other solver disagrees."


def _measures(row: pd.Series) -> Iterator[str]:
    if row.get("measures") and row.verdict != "not judged":
        count, _, total = row.measures.partition(" of ")
        if row.get("networks_alone"):
            yield (
                f"The error over images decides: without it the verdict is “{row.networks_alone}”, and {row.measures} "
                "other measures of similarity lead to the same."
            )
        else:
            alone = " The measure is an unlikely cause." if count == total else ""
            yield f"{row.measures} other measures of similarity lead to the same verdict.{alone}"


def as_html(judged: pd.DataFrame, table: pd.DataFrame) -> str:
    """HTML of the hypotheses of a page that are not supported, each with the reasons that the figures give.

    Args:
        judged, table: as in `why`; all rows of the page.
    """
    rows = failed(judged)
    if rows.empty:
        return "<p>Every hypothesis on this page is supported.</p>"
    items = []
    for _, row in rows.iterrows():
        reasons = "".join(f"<li>{text(reason)}</li>" for reason in why(row, table))
        summary = f"<summary>{chip(row.verdict)} {text(row.claim)}</summary>"
        items.append(f'<details class="reasons">{summary}<ul>{reasons}</ul></details>')
    return "".join(items)
