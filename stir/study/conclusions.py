"""Conclusions of findings: judged, judged again by other solvers and measures, stored as tables and read again."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from stir.files import write_atomically
from stir.inversion.solvers import DEFAULT_SOLVER
from stir.study.hypothesis import BEYOND_PIXELS, Hypothesis
from stir.study.verdict import judge

# Endings of a finding's tables by its name: the verdicts, and the pairs measured with each solver.
VERDICTS, BY_SOLVER = "-verdicts.csv", "-solvers.csv"
ENOUGH_CONVERGED = 0.9  # share of converged images below which a solver's verdict is no check on another's
UNSETTLED = "unsettled"  # a verdict that no solver has on the fewer images of the check; all have one other
# Findings in the order of the book: the paper's four, then those beyond it.
ORDER = ("initialization", "architecture", "loss", "dataset", "robustness", "updates", "controversial")


def by_solvers(
    measure_pairs: Callable[..., pd.DataFrame],
    images: object,
    measurement: Mapping[str, Any],
    solvers: Sequence[str],
    steps: int | None = None,
) -> pd.DataFrame:
    """Measure the pairs of a finding with X' of the page's solver and of others, on the same images.

    Args:
        measure_pairs: returns a finding's table, `described`, from images and further arguments of `stir.pairwise`.
        images: its first argument; fewer than the page's save time.
        measurement: arguments of the page, as `stir.study.findings.settings` returns them; only the first of its
            measures is used.
        solvers: the other solvers.
        steps: number for each other solver; None for its default.

    Returns:
        The concatenated tables. The column solver names the solver of the average case, in the rows of worst cases too.
    """
    own = measurement.get("solver", DEFAULT_SOLVER)
    options = {own: {}} | {solver: {"solver": solver, "steps": steps} for solver in solvers if solver != own}
    tables = [
        measure_pairs(images, **{**measurement, "also": [], **changed}).assign(solver=solver)
        for solver, changed in options.items()
    ]
    return pd.concat(tables, ignore_index=True)


def conclude(
    finding: str,
    question: str,
    hypotheses: Sequence[Hypothesis],
    table: pd.DataFrame,
    again: pd.DataFrame,
    *,
    dataset: str,
) -> pd.DataFrame:
    """Judge the hypotheses, and write the measured pairs and the verdicts to the current folder.

    Args:
        finding: name of the notebook; the files are `<finding>.csv`, `<finding>-solvers.csv` and
            `<finding>-verdicts.csv`.
        question: of the finding, in one sentence.
        hypotheses: in the order of the page.
        table: all measured pairs, `described`.
        again: the pairs measured with each solver, as `by_solvers` returns them.
        dataset: description of the data set of networks and images.

    Returns:
        The table of `stir.study.verdict.judge`, with the columns finding, question and dataset before the others, and
        `otherwise` after them: other solvers' verdicts in words, empty where they agree; and, where the table has one,
        its `recipe`, last as in all three files.
    """
    judged = judge(hypotheses, table)
    steps = again.groupby("solver", sort=False).steps.first()
    by_solver = _judge_by(hypotheses, again, "solver")
    judged["otherwise"] = disagreement(judged, by_solver.assign(steps=by_solver.solver.map(steps)))
    for position, (column, value) in enumerate({"finding": finding, "question": question, "dataset": dataset}.items()):
        judged.insert(position, column, value)
    if "recipe" in table:
        judged["recipe"] = table.recipe.iloc[0]
        # Last, so that the columns of tables stay where they are.
        table, again = (
            rows.reindex(columns=[*rows.columns.drop("recipe", errors="ignore"), "recipe"]) for rows in (table, again)
        )
    tables = {f"{finding}.csv": table, f"{finding}{BY_SOLVER}": again, f"{finding}{VERDICTS}": judged}
    for name, content in tables.items():
        write_atomically(Path(name), partial(content.to_csv, index=False))
    return judged


def _judge_by(hypotheses: Sequence[Hypothesis], table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Judge by each value of the column `by`, with intervals over networks alone."""
    # Some rows have no intervals over images, or are of few images; without them all rows are judged alike.
    bounds = [f"{value}_{end}" for value in ("stir", "cka") for end in ("low", "high")]
    table = table.assign(**dict.fromkeys(bounds, float("nan")))
    return pd.concat(
        [judge(hypotheses, rows).assign(**{by: name}) for name, rows in table.groupby(by, sort=False)],
        ignore_index=True,
    )


def disagreement(judged: pd.DataFrame, again: pd.DataFrame) -> list[str]:
    """Describe other solvers' verdicts on each hypothesis where they differ.

    A solver disagrees if its verdict differs both from the page's and from that of the page's own solver on the same
    images. One by which too few images converged leaves the verdict unchecked. Where on those images neither the page's
    own solver nor any other has the page's verdict, they all have one other, and the check leaves it unsettled.

    Args:
        judged: table of `stir.study.verdict.judge`.
        again: its rows under each solver, with the columns solver and steps, those of the page's own solver first.

    Returns:
        For each hypothesis some words, empty where solvers agree, or did not judge it.
    """
    own, *others = (rows.reset_index(drop=True) for _, rows in again.groupby("solver", sort=False))
    descriptions = []
    for index, verdict in enumerate(judged.verdict):
        solvers: dict[str, list[str]] = {}
        found = [own.verdict[index]]
        for row in (other.loc[index] for other in others):
            if row.converged < ENOUGH_CONVERGED:
                # Rounded down: 90% would be enough.
                share = math.floor(100 * row.converged)
                solvers.setdefault("unchecked", []).append(
                    f"{row.solver} ({share}% converged in {row.steps} steps; {ENOUGH_CONVERGED:.0%} needed)"
                )
                continue
            found.append(row.verdict)
            if row.verdict not in (verdict, own.verdict[index], "not judged"):
                word = "not" if row.verdict == "not supported" and verdict != "not judged" else row.verdict
                solvers.setdefault(word, []).append(row.solver)
        if "unchecked" in solvers:
            solvers["unchecked"] = solvers.pop("unchecked")  # last
        parts = [
            f"{word} by the solver{'s' * (len(names) > 1)} {' and '.join(names)}" for word, names in solvers.items()
        ]
        if len(found) > 1 and not solvers.keys() - {"unchecked"} and not {verdict, "not judged"} & {*found}:
            parts.insert(0, f"{UNSETTLED} ({own.verdict[index]})")
        descriptions.append(", ".join(parts))
    return descriptions


def beyond_pixels_summary(judged: pd.DataFrame) -> str:
    """Compare in words the verdicts on STIR with those in excess of the pixel baseline, where both were judged.

    Args:
        judged: table that `conclude` returns.
    """
    verdicts = dict(zip(judged.claim, judged.verdict, strict=True))
    both = {
        claim: (verdict, verdicts[claim + BEYOND_PIXELS])
        for claim, verdict in verdicts.items()
        if claim + BEYOND_PIXELS in verdicts
    }
    supported = [beyond for verdict, beyond in both.values() if verdict == "supported"]
    counts = (
        f"Hypotheses also judged on how far STIR exceeds the pixels' own similarity: {len(both)}. "
        f"Of these, supported: {len(supported)}; supported beyond the pixels too: {supported.count('supported')}."
    )
    changes = [
        f"- *{as_markdown(claim)}*: {verdict}; beyond the pixels {beyond}."
        for claim, (verdict, beyond) in both.items()
        if beyond != verdict
    ]
    return "\n".join([counts, "", *changes])


def as_markdown(text: str) -> str:
    """Markdown that shows `text` letter for letter: neither as HTML, nor as Markdown or mathematics."""
    text = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"&#{ord(each)};" if each in "\\`*_{}[]|$~" else each for each in text)


def tables_in(folder: Path, endings: Sequence[str] = (".csv", BY_SOLVER, VERDICTS)) -> list[Path]:
    """List the tables of all findings in `folder`, those of the book first, in its order.

    Args:
        folder: of the findings' tables.
        endings: of the tables wanted, in the order that those of one finding have: the measured pairs, those by solver,
            the verdicts.
    """
    names = sorted(path.name.removesuffix(VERDICTS) for path in folder.glob(f"*{VERDICTS}"))
    paths = [folder / f"{name}{ending}" for name in sorted(names, key=[*ORDER, *names].index) for ending in endings]
    return [path for path in paths if path.exists()]


def read_verdicts(folder: Path) -> pd.DataFrame:
    """Read the verdicts of all findings whose tables are in `folder`.

    Raises:
        ValueError: there is none, or a table names another finding than its file.
    """
    tables = [_read_verdicts(path) for path in tables_in(folder, [VERDICTS])]
    if not tables:
        remedy = "run the findings first, or name the folder of their tables"
        raise ValueError(f"tables={str(folder)!r} holds no {'*' + VERDICTS}; {remedy}")
    return pd.concat(tables, ignore_index=True).fillna({"otherwise": ""})


def _read_verdicts(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype={"otherwise": str})
    # The name leads to the finding's other tables and to its page.
    name = path.name.removesuffix(VERDICTS)
    if "finding" not in table or set(table.finding) != {name}:
        raise ValueError(f"{path} must hold the verdicts of the finding {name!r} alone; run it again")
    return table


def mixture(judged: pd.DataFrame) -> str:
    """Sentence on the training settings in which findings differ, as after runs with other parameters.

    A setting that a finding varies itself is left out, for this finding.

    Args:
        judged: table that `read_verdicts` returns; with the column `scale`, if it has one, the words begin with it.

    Returns:
        A Markdown sentence; empty if all were trained alike.
    """
    if "recipe" not in judged:
        return ""
    values: dict[str, dict[str, str]] = {}
    for finding, recipe in judged.dropna(subset="recipe").groupby("finding", sort=False).recipe.first().items():
        for setting, value in json.loads(recipe).items():
            if not isinstance(value, list):
                values.setdefault(setting, {})[str(finding)] = str(value)
    parts = [
        f"{setting.replace('_', ' ')} {by_finding(each)}"
        for setting, each in values.items()
        if len({*each.values()}) > 1
    ]
    scale = f"{judged.scale.iloc[0]}: not" if "scale" in judged else "Not"
    text = f"{scale} all networks were trained alike: {'; '.join(parts)}." if parts else ""
    return as_markdown(text)


def by_finding(values: Mapping[str, str], between: str = ", ") -> str:
    """Texts of findings in words: "8 (initialization, loss), 10 (dataset)", or one alone where all have the same.

    Args:
        values: finding -> text.
        between: what stands between the texts.
    """
    findings: dict[str, list[str]] = {}
    for finding, value in values.items():
        findings.setdefault(value, []).append(finding)
    if len(findings) == 1:
        return next(iter(findings))
    return between.join(f"{value} ({', '.join(names)})" for value, names in findings.items())


def judge_again(folder: Path, by: str) -> pd.DataFrame:
    """Judge all findings in `folder` again by each measure or each solver, with intervals over networks alone.

    Args:
        folder: of the findings' tables.
        by: "measure" or "solver".

    Returns:
        The tables of `stir.study.verdict.judge` with the columns finding, question, dataset and `by`. A finding is left
        out for a measure that refused a pair, or was not used in it.

    Raises:
        ValueError: as `read_verdicts`; or the tables of a finding are of networks that were trained in two ways.
    """
    tables = []
    for finding, judged in read_verdicts(folder).groupby("finding", sort=False):
        table = pd.read_csv(folder / f"{finding}{'.csv' if by == 'measure' else BY_SOLVER}")
        if "recipe" in judged and "recipe" in table and set(table.recipe) != set(judged.recipe):
            raise ValueError(f"the tables of {finding!r} in {folder} are of networks with two recipes; run it again")
        tables.append(judge_finding_again(judged, table, by))
    return pd.concat(tables, ignore_index=True)


def judge_finding_again(judged: pd.DataFrame, table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Judge one finding again by each measure or each solver, as `judge_again` does with all in a folder.

    Args:
        judged: table that `conclude` returns.
        table: its measured pairs; for solvers those measured with each.
        by: "measure" or "solver".
    """
    varied = table.loc[:, by]
    counts = varied.value_counts()
    complete = table.loc[varied.map(counts) == counts[varied.iloc[0]]]
    again = _judge_by([Hypothesis.from_json(text) for text in judged.definition], complete, by)
    again = again.dropna(subset="difference_value")  # in excess of pixels that the measure refuses
    named = {name: judged[name].iloc[0] for name in ("finding", "question", "dataset")}
    return again.assign(**named)


def with_measures(judged: pd.DataFrame, again: pd.DataFrame) -> pd.DataFrame:
    """Add the columns `measures` and `networks_alone`, of other measures of similarity.

    `measures` is how many of them have the verdict of the first measure, such as "4 of 6", all judged with intervals
    over networks alone, as only the first has others. `networks_alone` is that verdict where it is not the page's.

    Args:
        judged: table that `conclude` returns, or of several findings.
        again: the same judged by each measure, as `judge_again` returns it.
    """
    places = ["finding", "claim"]
    is_first = again.measure == again.groupby("finding", sort=False).measure.transform("first")
    first = again[is_first].set_index(places).verdict
    others = again.loc[~is_first]
    same = others.verdict.to_numpy() == first.reindex(pd.MultiIndex.from_frame(others.loc[:, places])).to_numpy()
    counted = others.assign(same=same).groupby(places, sort=False).same.agg(lambda each: f"{each.sum()} of {len(each)}")
    index = pd.MultiIndex.from_frame(judged.loc[:, places])
    alone = first.reindex(index).fillna("").to_numpy()
    return judged.assign(
        measures=counted.reindex(index).fillna("").to_numpy(),
        networks_alone=[each if each != own else "" for each, own in zip(alone, judged.verdict, strict=True)],
    )
