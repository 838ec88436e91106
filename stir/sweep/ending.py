"""End of a sweep in lines for the terminal: combinations that are done, failed with the reason, or stale since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stir.book.freshness import staleness
from stir.book.places import shown
from stir.sweep.combination import DONE, FAILED, Combination, Outcome


def failures(
    combinations: Sequence[Combination], before: Sequence[str], outcomes: Sequence[Outcome]
) -> dict[Path, str]:
    """Reasons why combinations failed, by their folders; all others of a sweep that came to its end are done.

    A change of the package since they ran makes what is done stale, but does not undo it.

    Args:
        before: the state of each combination before the sweep.
        outcomes: of those that ran.
    """
    reasons = {each.folder: each.failure for each, state in zip(combinations, before, strict=True) if state == FAILED}
    reasons |= {outcome.combination.folder: outcome.failure for outcome in outcomes}
    return {folder: reason for folder, reason in reasons.items() if reason is not None}


def failed_lines(combinations: Sequence[Combination], failed: Mapping[Path, str]) -> list[str]:
    """Lines on failed combinations: parameters, reason, partly executed notebook; none if none failed."""
    if not failed:
        return []
    lines = [f"{len(failed)} of {counted(len(combinations), 'combination')} failed; --retry runs them again:"]
    for each in combinations:
        if each.folder in failed:
            lines.append(f"  {each.words}: {failed[each.folder]}")
            lines += [f"    as far as it came: {shown(each.partial)}"] if each.partial.exists() else []
    return lines


def stale_lines(done: Sequence[Combination]) -> list[str]:
    """A line on combinations whose notebook, package or images have changed since they ran; none if there are none."""
    stale = [each for each in done if each.state != DONE]
    if not stale:
        return []
    reason = staleness(stale[0].notebook, stale[0].values, stale[0].folder)
    return [
        f"{len(stale)} of the {len(done)} that are done are stale; of {stale[0].words}, {reason}. "
        "The same command runs them again."
    ]


def counted(number: int, noun: str) -> str:
    """A number of things: "1 worker", "2 workers"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
