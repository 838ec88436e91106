"""Warnings of scores that say less than they seem to say."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence, Sized
from typing import Any

import pandas as pd

from stir.scoring.question import Question
from stir.similarity.measures import name_of

LOW_CEILING = 0.95
LOW_CONVERGED = 0.5  # with half of them converged, the mean still describes most X'
# Images that did not converge bias a worst case without bound, as they differ in what the reference does see. Between
# robust networks on digits, 51% converged, it was 0.50 with them and 0.64 without.
LOW_CONVERGED_WORST = 0.9
# The columns that a score has to be above, and what scores so much.
BASELINES = {
    "floor": "a target to which X' say nothing about X",
    "pixels": "the images themselves as pixels",
    "untrained": "the target's architecture with fresh weights",
}
Row = Mapping[Any, Any]  # by the names of `stir.scoring.result.COLUMNS`
SHOWN = 3  # rows that a warning names


def warn_of_scores(table: pd.DataFrame, question: Question) -> None:
    """Warn of poor inversions, and of scores that are not above a baseline: each once for all rows.

    Args:
        table: rows with the columns of `stir.scoring.result.COLUMNS`.
        question: that they answer, at whatever layer.
    """
    scores: list[Row] = [row for row in table.to_dict("records") if row["measure"] == name_of(question.measure)]
    _warn_of_inversions(scores, question)
    # A worst case may well lie there, and what a network has in common with itself says nothing.
    if not question.worst_case:
        _warn_of_baselines([row for row in scores if row["reference"] != row["target"]])


def _warn_of_inversions(scores: Sequence[Row], question: Question) -> None:
    worst_case = question.worst_case
    least = LOW_CONVERGED_WORST if worst_case else LOW_CONVERGED
    # The X' of a worst case are one target's, all others those of all targets.
    columns = ["reference", "reference_layer", *(["target"] if worst_case else [])]
    inversions = {tuple(row[column] for column in columns): row for row in scores}.values()
    poor = [row for row in inversions if row["ceiling"] < LOW_CEILING or row["converged"] < least]
    if not poor:
        return
    ended = [
        f"{row['reference']!r} at layer {row['reference_layer']!r}"
        + (f" against {row['target']!r}" if worst_case else "")
        + f" ended with ceiling {row['ceiling']:.3f} and {row['converged']:.0%} of the images within "
        f"{question.options.tolerance:g}"
        for row in sorted(poor, key=lambda row: (row["converged"], row["ceiling"]))[:SHOWN]
    ]
    warnings.warn(
        f"{_count(poor, inversions, 'inversions are poor')}inverting {'; '.join(ended)}: "
        f"{'the worst case' if worst_case else 'STIR'} is not to be trusted; use more than steps={poor[0]['steps']}"
        f"{' or a larger tolerance' if worst_case else ''}",
        stacklevel=4,
    )


def _warn_of_baselines(scores: Sequence[Row]) -> None:
    low = [row for row in scores if _baselines_of(row)]
    if not low:
        return
    lowest = sorted(low, key=lambda row: min(row["stir_low"] - row[name] for name in _baselines_of(row)))
    named = [
        f"STIR({row['target']} | {row['reference']}) at layer {row['target_layer']!r} is {row['stir']:.3f} "
        f"[{row['stir_low']:.3f}, {row['stir_high']:.3f}], which does not lie above "
        + " and ".join(f"{name} {row[name]:.3f}" for name in _baselines_of(row))
        for row in lowest[:SHOWN]
    ]
    meant = [meaning for name, meaning in BASELINES.items() if any(name in _baselines_of(row) for row in low)]
    warnings.warn(
        f"{_count(low, scores, 'scores are not above their baselines')}{'; '.join(named)}: so much scores, without "
        f"having learnt an invariance, {' and '.join(meant)}; more images make intervals narrower",
        stacklevel=4,
    )


def _baselines_of(row: Row) -> list[str]:
    """The baselines that the interval of a score includes or lies below; unknown ones, NaN, are not among them."""
    return [name for name in BASELINES if row["stir_low"] <= row[name]]


def _count(some: Sized, rows: Sized, what: str) -> str:
    """The beginning of a sentence about some of several rows; nothing for a single one."""
    if len(rows) == 1:
        return ""
    return f"{len(some)} of {len(rows)} {what}{', the worst first' if len(some) > 1 else ''}: "


def warn_of_one_seed(question: Question) -> None:
    if question.seeds == "gaussian-shared" and question.draws == 1:
        warnings.warn(
            "seeds='gaussian-shared' with draws=1: the intervals leave out how STIR varies with the one seed image; "
            "use draws=3 or more to have it counted",
            stacklevel=3,
        )
