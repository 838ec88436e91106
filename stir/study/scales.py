"""Verdicts on the same hypotheses at several scales, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stir.study import reasons
from stir.study.conclusions import (
    ENOUGH_CONVERGED,
    ORDER,
    UNSETTLED,
    as_markdown,
    judge_again,
    read_verdicts,
    with_measures,
)
from stir.study.multiplicity import after_holm

WORDS = ("supported", "not supported", "contradicted", "not judged")


def at_scales(folders: Mapping[str, Path]) -> pd.DataFrame:
    """Read the verdicts of all findings at each scale, in the order of the book.

    Args:
        folders: label of a scale -> folder of its findings' tables.

    Returns:
        The tables of `stir.study.conclusions.read_verdicts`, one below the other, with the columns scale, the label,
        and after_holm, the verdict after Holm's correction over all hypotheses of this scale.

    Raises:
        ValueError: as `read_verdicts`.
    """
    tables = []
    for scale, folder in folders.items():
        judged = read_verdicts(folder)
        tables.append(judged.assign(scale=scale, after_holm=after_holm(judged)))
    together = pd.concat(tables, ignore_index=True)
    places = {finding: place for place, finding in enumerate(dict.fromkeys([*ORDER, *together.finding]))}
    return together.sort_values("finding", key=lambda names: names.map(places), kind="stable", ignore_index=True)


def disagreements(judged: pd.DataFrame) -> pd.DataFrame:
    """Hypotheses with their verdicts at each scale.

    Args:
        judged: table that `at_scales` returns.

    Returns:
        One row for each hypothesis, in the order of the book, with the columns finding and claim, a column for each
        scale, the verdict or empty if it has none there, and agreement: "same" word; "opposite", one supported and the
        other contradicted; "differs"; or empty where fewer than two scales judged it.
    """
    scales = list(dict.fromkeys(judged.scale))
    rows = []
    for _, group in judged.groupby(["finding", "claim"], sort=False):
        finding, claim = group.iloc[0][["finding", "claim"]]
        verdicts = dict(zip(group.scale, group.verdict, strict=True))
        decided = {word for word in verdicts.values() if word != "not judged"}
        if sum(word != "not judged" for word in verdicts.values()) < 2:
            agreement = ""
        elif {"supported", "contradicted"} <= decided:
            agreement = "opposite"
        else:
            agreement = "same" if len(decided) == 1 else "differs"
        words = {scale: verdicts.get(scale, "") for scale in scales}
        rows.append({"finding": finding, "claim": claim, **words, "agreement": agreement})
    return pd.DataFrame(rows)


def labelled(folders: Sequence[Path]) -> dict[str, Path]:
    """Folders of tables by label: their most frequent data set, followed by the folder's name where others share it.

    Raises:
        ValueError: as `stir.study.conclusions.read_verdicts`, or two folders are the same.
    """
    if len(set(folders)) < len(folders):
        raise ValueError(f"{folders[0]} is named twice; name the folder of another scale, or none")
    # A name may go on with the number of images: "CIFAR-10 (JPEG), 20000 images".
    names = [str(read_verdicts(folder).dataset.mode().iloc[0]).partition(", ")[0] for folder in folders]
    names = [
        f"{name}, {folder.name}" if names.count(name) > 1 else name for name, folder in zip(names, folders, strict=True)
    ]
    return dict(zip(names, folders, strict=True))


def counts(judged: pd.DataFrame) -> dict[str, int]:
    """Numbers of findings, of hypotheses and of their verdicts, at one scale.

    Args:
        judged: rows of the table that `at_scales` returns.
    """
    verdicts = judged.verdict.value_counts()
    decided = judged.verdict.isin(["supported", "contradicted"])
    unchecked = judged.otherwise.str.contains("unchecked")
    otherwise = (judged.otherwise != "") & ~judged.otherwise.str.match(f"unchecked|{UNSETTLED}")
    return {
        "n_findings": judged.finding.nunique(),
        "n_hypotheses": len(judged),
        **{word.replace(" ", "_"): int(verdicts.get(word, 0)) for word in WORDS},
        "n_decided": int(decided.sum()),
        "n_after_holm": int((decided & (judged.after_holm == judged.verdict)).sum()),
        "n_otherwise": int(otherwise.sum()),
        "n_unsettled": int(judged.otherwise.str.startswith(UNSETTLED).sum()),
        "n_unchecked": int(unchecked.sum()),
    }


def in_words(row: pd.Series) -> str:
    """The claim of a row of `disagreements`, with the verdict at each scale that has one."""
    words = {scale: word for scale, word in row.drop(["finding", "claim", "agreement"]).items() if word}
    return f"{row.claim}: {'; '.join(f'{word} with {scale}' for scale, word in words.items())}"


def agreement_summary(both: pd.DataFrame) -> str:
    """Markdown that tells on how many hypotheses scales agree, and names those on which they do not.

    Args:
        both: table that `disagreements` returns.
    """
    judged = both[both.agreement != ""]
    if judged.empty:
        return "No hypothesis was judged at more than one scale."
    numbers = judged.agreement.value_counts()
    same, opposite = int(numbers.get("same", 0)), int(numbers.get("opposite", 0))
    lines = [
        f"Hypotheses judged at both scales: {len(judged)}. The verdicts agree on {same} and differ on "
        f"{len(judged) - same}, with opposite verdicts on {opposite} of these.",
        "",
    ]
    others = judged.loc[judged.agreement != "same"]
    return "\n".join([*lines, *(f"- {as_markdown(in_words(row))}." for _, row in others.iterrows())])


def checked_by_measures(judged: pd.DataFrame, folders: Mapping[str, Path]) -> pd.DataFrame:
    """Add the columns of `stir.study.conclusions.with_measures` at each scale.

    Args:
        judged: table that `at_scales` returns for `folders`.
    """
    groups: Any = judged.groupby("scale")
    parts = [with_measures(rows, judge_again(folders[scale], "measure")) for scale, rows in groups]
    return pd.concat(parts).loc[judged.index]


def with_caveats(judged: pd.DataFrame, folders: Mapping[str, Path]) -> pd.DataFrame:
    """Add the columns of `stir.study.reasons.with_caveats` to each hypothesis.

    Args:
        judged: table that `at_scales` returns for `folders`.
    """
    parts = []
    groups: Any = judged.groupby(["scale", "finding"])
    for (scale, finding), rows in groups:
        pairs = pd.read_csv(folders[scale] / f"{finding}.csv")
        parts.append(reasons.with_caveats(rows, pairs.loc[pairs.measure == pairs.measure.iloc[0]]))
    return pd.concat(parts).loc[judged.index]


def failure_summary(judged: pd.DataFrame) -> str:
    """Markdown with numbers of failed hypotheses: all, those where a cause is unlikely, and those that had no room.

    Args:
        judged: table that `with_caveats` returns, with the columns of `checked_by_measures`.
    """
    failed = judged[judged.verdict.isin(["not supported", "contradicted"])]
    inversion = (failed.otherwise == "") & (failed.converged >= ENOUGH_CONVERGED)
    counts = failed.measures.str.partition(" of ")
    measure = (counts[0] == counts[2]) & (failed.measures != "") & (failed.networks_alone == "")
    return (
        f"Verdicts of *not supported* or *contradicted*, at all scales: {len(failed)}. For {inversion.sum()}, nearly "
        "all images X′ converged and no other solver disagrees, so the inversion is an unlikely cause. For "
        f"{measure.sum()}, all other measures of similarity agree, so the measure is an unlikely cause. For "
        f"{(inversion & measure).sum()}, both hold. {(failed.most_possible < 0).sum()} could not have been supported: "
        "the pixels leave less room than the claim asks for, even if STIR were 1. The section *What is not supported* "
        "of each page has the other causes that the figures suggest, such as chance."
    )
