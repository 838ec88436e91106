"""Agreement of the verdicts by several measures or several solvers: counted, and in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from stir.study.cards import opening

OPPOSITE = {"supported": "contradicted", "contradicted": "supported"}


def verdicts_by(again: pd.DataFrame, by: str) -> pd.DataFrame:
    """Verdicts on each hypothesis by each measure or solver.

    Args:
        again: table that `stir.study.conclusions.judge_again` returns.
        by: "measure" or "solver".

    Returns:
        A row for each hypothesis, named by its finding and claim, in their order, and a column for each measure or
        solver, in theirs; empty where there is no verdict.
    """
    columns, rows = (list(dict.fromkeys(names)) for names in (again[by], hypotheses(again)))
    table = again.assign(hypothesis=hypotheses(again)).pivot(index="hypothesis", columns=by, values="verdict")
    return table.reindex(index=rows, columns=columns).rename_axis(columns=None)


def hypotheses(judged: pd.DataFrame) -> pd.Series:
    """Name of each row's hypothesis among those of all findings: its finding and its claim."""
    return judged.finding + ": " + judged.claim


def agreement(verdicts: pd.DataFrame, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Count on how many hypotheses each measure or solver has the word of the first, or the opposite.

    Args:
        verdicts: table that `verdicts_by` returns.
        names: how the book writes the columns, where it is otherwise.

    Returns:
        A row for each but the first: the number of its verdicts, of those that are the same, and the opposite.
    """
    first, others = verdicts.iloc[:, 0], verdicts.iloc[:, 1:]
    counts = pd.DataFrame(
        {
            "verdicts": others.notna().sum(),
            f"the same as by {(names or {}).get(verdicts.columns[0], verdicts.columns[0])}": others.eq(
                first, axis=0
            ).sum(),
            "the opposite": others.eq(first.map(OPPOSITE), axis=0).sum(),
        }
    )
    return counts.rename(index=dict(names or {}))


def changed(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table of `verdicts_by` with more than one word."""
    return verdicts.loc[verdicts.apply(lambda row: row.dropna().nunique() > 1, axis=1)]


def answer(verdicts: pd.DataFrame, choice: str, about: Sequence[str] = ()) -> str:
    """HTML of the answer that a page opens with: the number of verdicts that another measure or solver changes.

    Args:
        verdicts: table that `verdicts_by` returns.
        choice: what is chosen: "measure" or "solver".
        about: sentences on what the counts rest on.
    """
    other = changed(verdicts)
    to_opposite = other.iloc[:, 1:].eq(other.iloc[:, 0].map(OPPOSITE), axis=0).any(axis=1).sum()
    words = (
        f"Another {choice} changes the verdict on {len(other)} of {len(verdicts)} hypotheses, "
        f"and reverses it on {to_opposite or 'none'}."
    )
    return opening(words, *about)
