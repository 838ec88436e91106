"""Warnings of scores that are easily over-interpreted."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from stir.inversion.options import InversionOptions
from stir.scoring.result import REFUSED
from stir.similarity.measures import Measure, name_of

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
SHOWN = 3  # rows that a warning names


def warn_of_scores(table: pd.DataFrame, measure: str | Measure, worst_case: bool, tolerance: float) -> None:
    """Warn of poor inversions, of scores that are not above a baseline, and of NaN: each once for all rows.

    Args:
        table: rows with the columns of `stir.scoring.result.COLUMNS`.
        measure, worst_case, tolerance: of the question that they answer, as in `stir.score`.
    """
    _warn_of_nan(table)
    scores = table.loc[table.measure == name_of(measure)]
    _warn_of_inversions(scores, worst_case, tolerance)
    # A worst case may well lie there, and what a network has in common with itself says nothing.
    if not worst_case:
        _warn_of_baselines(scores.loc[scores.reference != scores.target])


def warn_of_refusals(
    table: pd.DataFrame, measure: str | Measure, also: Sequence[str | Measure], refusals: Sequence[Mapping[str, Any]]
) -> None:
    """Warn of further measures that have left out pairs: once for each measure, with its reason for one of them.

    Args:
        table: rows with the columns of `stir.scoring.result.COLUMNS`.
        measure, also: of the question that they answer, as in `stir.pairwise`.
        refusals: rows with the reason as `stir.scoring.result.REFUSED`, where it is known.
    """
    pairs = int((table.measure == name_of(measure)).sum())
    for name in map(name_of, also):
        left_out = pairs - int((table.measure == name).sum())
        if left_out:
            known = next((row for row in refusals if row["measure"] == name), None)
            reason = "it cannot compare them"
            if known is not None:
                at = f"STIR({known['target']} | {known['reference']}) at layer {known['target_layer']!r}"
                reason = f"of {at}, {known[REFUSED]}"
            warnings.warn(f"{name} is left out for {left_out} of {pairs} pairs: {reason}", stacklevel=3)


def _warn_of_nan(table: pd.DataFrame) -> None:
    """Warn of each measure that returned NaN, as one with a name never does."""
    for name, rows in table.groupby("measure", sort=False):
        unknown = rows.loc[rows[["stir", "cka", "ceiling"]].isna().any(axis=1)]
        if not unknown.empty:
            first = unknown.iloc[0]
            warnings.warn(
                f"{name} returned NaN for {len(unknown)} of {len(rows)} pairs, such as STIR({first.target} | "
                f"{first.reference}) at layer {first.target_layer!r}; let it raise a ValueError that says why it "
                "cannot compare them",
                stacklevel=4,
            )


def _warn_of_inversions(scores: pd.DataFrame, worst_case: bool, tolerance: float) -> None:
    least = LOW_CONVERGED_WORST if worst_case else LOW_CONVERGED
    # The X' of a worst case are one target's, all others those of all targets.
    inversions = scores.drop_duplicates(["reference", "reference_layer", *(["target"] if worst_case else [])])
    poor = inversions.loc[(inversions.ceiling < LOW_CEILING) | (inversions.converged < least)]
    if poor.empty:
        return
    ended = [
        f"{row['reference']!r} at layer {row['reference_layer']!r}"
        + (f" against {row['target']!r}" if worst_case else "")
        + f" ended with ceiling {row['ceiling']:.3f} and {row['converged']:.0%} of the images within {tolerance:g}"
        for row in poor.sort_values(["converged", "ceiling"], kind="stable").head(SHOWN).to_dict("records")
    ]
    # Findings judge by several solvers, each with its own number of steps. A worst case has always the same solver.
    beyond = f"steps={poor.steps.iloc[0]}"
    beyond += " or a larger tolerance" if worst_case else f" of the solver {poor.solver.iloc[0]!r}"
    warnings.warn(
        f"{_count(poor, inversions, 'inversions are poor')}inverting {'; '.join(ended)}: "
        f"{'the worst case' if worst_case else 'STIR'} is not to be trusted; use more than {beyond}",
        stacklevel=4,
    )


def _warn_of_baselines(scores: pd.DataFrame) -> None:
    above = scores[[*BASELINES]].rsub(scores.stir_low, axis=0)  # NaN where there is no baseline or no interval
    low = scores.loc[(above <= 0).any(axis=1)]
    if low.empty:
        return
    lowest = low.loc[above.loc[low.index].min(axis=1).sort_values(kind="stable").index]
    named = [
        f"STIR({row['target']} | {row['reference']}) at layer {row['target_layer']!r} is {row['stir']:.3f} "
        f"[{row['stir_low']:.3f}, {row['stir_high']:.3f}], which does not lie above "
        + " and ".join(f"{name} {row[name]:.3f}" for name in BASELINES if row["stir_low"] <= row[name])
        for row in lowest.head(SHOWN).to_dict("records")
    ]
    meant = [meaning for name, meaning in BASELINES.items() if bool((above[name] <= 0).any())]
    # Where the score itself lies above its baselines, only its interval is too wide.
    wide = (low[[*BASELINES]].rsub(low.stir, axis=0).min(axis=1) > 0).any()
    advice = "; more images make intervals narrower" if wide else ""
    warnings.warn(
        f"{_count(low, scores, 'scores are not above their baselines')}{'; '.join(named)}: so much scores, without "
        f"having learnt an invariance, {' and '.join(meant)}{advice}",
        stacklevel=4,
    )


def _count(some: pd.DataFrame, rows: pd.DataFrame, what: str) -> str:
    """The beginning of a sentence about some of several rows; nothing for a single one."""
    if len(rows) == 1:
        return ""
    return f"{len(some)} of {len(rows)} {what}{', the worst first' if len(some) > 1 else ''}: "


def warn_of_one_seed(options: InversionOptions, draws: int) -> None:
    """Warn of intervals that cannot count the seed image, of which one draw for all images has only one."""
    if isinstance(options.seeds, str) and options.seeds == "gaussian-shared" and draws == 1:
        warnings.warn(
            "seeds='gaussian-shared' with draws=1: the intervals leave out how STIR varies with the one seed image; "
            "use draws=3 or more to have it counted",
            stacklevel=3,
        )
