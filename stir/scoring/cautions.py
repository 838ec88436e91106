"""Warnings of scores that say less than they seem to say."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from stir.scoring.question import Question
from stir.scoring.result import StirResult

LOW_CEILING = 0.95
LOW_CONVERGED = 0.5  # with half of them converged, the mean still describes most X'
# Images that did not converge bias a worst case without bound, as they differ in what the reference does see. Between
# robust networks on digits, 51% converged, it was 0.50 with them and 0.64 without.
LOW_CONVERGED_WORST = 0.9


def warn_if_poor(result: StirResult) -> None:
    least = LOW_CONVERGED_WORST if result.worst_case else LOW_CONVERGED
    if result.ceiling < LOW_CEILING or result.converged < least:
        against = f" against {result.target!r}" if result.worst_case else ""
        remedy = " or a larger tolerance" if result.worst_case else ""
        warnings.warn(
            f"inverting {result.reference!r} at layer {result.reference_layer!r}{against} ended with ceiling "
            f"{result.ceiling:.3f} and {result.converged:.0%} of the images within {result.inversion.tolerance:g}: "
            f"{'the worst case' if result.worst_case else 'STIR'} is not to be trusted; use more than "
            f"steps={result.inversion.steps}{remedy}",
            stacklevel=4,
        )


def warn_of_floor(results: Sequence[StirResult]) -> None:
    """Warn of intervals that include the floor, once for all.

    Not of a worst case, which may well be there; nor of the baselines, below which a third of the pairs of networks in
    the book are: those stand beside each score.
    """
    low = [result for result in results if result.interval[0] <= result.floor and not result.worst_case]
    if low:
        first = low[0]
        warnings.warn(
            f"{len(low)} of {len(results)} scores have an interval that includes the floor, the score of X' that say "
            f"nothing about X: STIR({first.target} | {first.reference}) at layer {first.target_layer!r} is "
            f"{first.value:.3f} [{first.interval[0]:.3f}, {first.interval[1]:.3f}] with floor {first.floor:.3f}; they "
            "show no shared invariance; more images make intervals narrower",
            stacklevel=4,
        )


def warn_of_one_seed(question: Question) -> None:
    if question.seeds == "gaussian-shared" and question.draws == 1:
        warnings.warn(
            "seeds='gaussian-shared' with draws=1: the intervals leave out how STIR varies with the one seed image; "
            "use draws=3 or more to have it counted",
            stacklevel=3,
        )
