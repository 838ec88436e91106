"""Verdicts on the same hypotheses at several scales, side by side."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from stir.study.conclusions import ORDER, as_markdown, judge_again, read_verdicts
from stir.study.estimates import number
from stir.study.multiplicity import after_holm

# What of a verdict a table has no room for; the page says what each sign means.
OTHERWISE, UNCHECKED, NOT_AFTER_HOLM = "†", "‡", "°"
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
    """Hypotheses with the words that the scales have for them.

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


def as_html(judged: pd.DataFrame, finding: str) -> str:
    """HTML of a table of one finding: a row for each hypothesis, a column for each scale, verdict over difference.

    Args:
        judged: table that `at_scales` returns.
    """
    scales = list(dict.fromkeys(judged.scale))
    rows = judged[judged.finding == finding]
    agreements = disagreements(judged).set_index(["finding", "claim"]).agreement
    heads = "".join(f"<th>{html.escape(scale)}</th>" for scale in scales)
    lines = [f'<table class="glance"><thead><tr><th>hypothesis</th>{heads}</tr></thead><tbody>']
    for claim, group in rows.groupby("claim", sort=False):
        cells = {row["scale"]: _cell(row) for _, row in group.iterrows()}
        kind = agreements[finding, claim] or "single"
        columns = "".join(f"<td>{cells.get(scale, 'not measured')}</td>" for scale in scales)
        lines.append(f'<tr class="{kind}"><td>{html.escape(str(claim))}</td>{columns}</tr>')
    return "\n".join([*lines, "</tbody></table>"])


def _cell(row: pd.Series) -> str:
    """Verdict and difference of a row that `at_scales` returns."""
    signs = ""
    if row.otherwise:
        signs = UNCHECKED if str(row.otherwise).startswith("unchecked") else OTHERWISE
    if row.after_holm != row.verdict:
        signs += NOT_AFTER_HOLM
    difference = number(row.difference_value, row.difference_low, row.difference_high)
    kind = row.verdict.replace(" ", "-")
    title = f' title="{html.escape(str(row.otherwise))}"' if row.otherwise else ""
    return f'<span class="verdict {kind}"{title}>{row.verdict}{signs}</span><br>{html.escape(difference)}'


def labelled(folders: Sequence[Path]) -> dict[str, Path]:
    """Folders of tables by the name of most of their findings' data sets, with their own names where that is one.

    Raises:
        ValueError: as `stir.study.conclusions.read_verdicts`, or two folders are the same.
    """
    if len(set(folders)) < len(folders):
        raise ValueError(f"{folders[0]} is named twice; name the folder of another scale, or none")
    # A name may go on with the number of images: "CIFAR-10 (JPEG), 20000 images".
    names = [str(read_verdicts(folder).dataset.mode().iloc[0]).partition(", ")[0] for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{name}, {folder.name}" for name, folder in zip(names, folders, strict=True)]
    return dict(zip(names, folders, strict=True))


def counts(judged: pd.DataFrame) -> dict[str, int]:
    """Numbers of findings, of hypotheses and of their verdicts, at one scale.

    Args:
        judged: rows of the table that `at_scales` returns.
    """
    verdicts = judged.verdict.value_counts()
    decided = judged.verdict.isin(["supported", "contradicted"])
    unchecked = judged.otherwise.str.contains("unchecked")
    otherwise = (judged.otherwise != "") & ~judged.otherwise.str.startswith("unchecked")
    return {
        "n_findings": judged.finding.nunique(),
        "n_hypotheses": len(judged),
        **{word.replace(" ", "_"): int(verdicts.get(word, 0)) for word in WORDS},
        "n_decided": int(decided.sum()),
        "n_after_holm": int((decided & (judged.after_holm == judged.verdict)).sum()),
        "n_otherwise": int(otherwise.sum()),
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
        f"Hypotheses that were judged at both scales: {len(judged)}. The verdict is the same for {same}, another for "
        f"{len(judged) - same}, and the opposite for {opposite} of these.",
        "",
    ]
    others = judged.loc[judged.agreement != "same"]
    return "\n".join([*lines, *(f"- {as_markdown(in_words(row))}." for _, row in others.iterrows())])


def failures(judged: pd.DataFrame, folders: Mapping[str, Path]) -> pd.DataFrame:
    """Hypotheses that were judged and not supported, with what tells whether the inversion or the measure is at fault.

    Args:
        judged: table that `at_scales` returns for `folders`.

    Returns:
        One row for each, with the columns finding, claim, scale, verdict; converged, the least share of images among
        the means; other solvers, their words where they differ; and other measures, how many of them support it.
    """
    failed = judged.loc[judged.verdict.isin(["not supported", "contradicted"])].copy()
    support = []
    for scale, folder in folders.items():
        again = judge_again(folder, "measure")
        first = again.groupby("finding", sort=False).measure.transform("first")
        others = again[again.measure != first]
        found = others.groupby(["finding", "claim"]).verdict.agg(
            lambda words: f"{(words == 'supported').sum()} of {len(words)}"
        )
        support.append(pd.concat({scale: found}, names=["scale"]))
    measures = pd.concat(support)
    failed["other solvers"] = failed.otherwise.replace("", "the same")
    places = failed[["scale", "finding", "claim"]].itertuples(index=False, name=None)
    failed["other measures"] = [measures.get(place, "") for place in places]
    return failed[["finding", "claim", "scale", "verdict", "converged", "other solvers", "other measures"]]
