"""What findings conclude: judged, judged again by other solvers and other measures, kept as tables and read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from stir.files import write_atomically
from stir.inversion.solvers import DEFAULT_SOLVER
from stir.study.hypothesis import BEYOND_PIXELS, Hypothesis
from stir.study.verdict import judge

SUFFIX, BY_SOLVER = "-verdicts.csv", "-solvers.csv"
FULLY = 0.9  # share of converged images below which a solver's verdict counts for nothing beside another's
# The paper's four, then what goes beyond: the order of the book.
ORDER = ("initialization", "architecture", "loss", "dataset", "robustness", "updates", "controversial")


def by_solvers(
    measured: Callable[..., pd.DataFrame],
    images: object,
    measurement: Mapping[str, object],
    solvers: Sequence[str],
    steps: int | None = None,
) -> pd.DataFrame:
    """What a finding measures, measured again with X' of the page's solver and of others, on the same images.

    Args:
        measured: makes a finding's table, `described`, from images and further arguments of `stir.pairwise`.
        images: what to hand it, fewer than the page's where time is short.
        measurement: those of the page, as `stir.study.findings.settings` returns them; of its measures the first alone is asked for.
        solvers: the other solvers.
        steps: of each of the others; None for its own number.

    Returns:
        The tables one below the other. The column solver is the one asked for, also of worst cases, which have one of their own.
    """
    own = measurement.get("solver", DEFAULT_SOLVER)
    options = {own: {}} | {solver: {"solver": solver, "steps": steps} for solver in solvers if solver != own}
    return pd.concat(
        [
            measured(images, **measurement | {"also": []} | option).assign(solver=solver)
            for solver, option in options.items()
        ],
        ignore_index=True,
    )


def conclude(
    finding: str,
    question: str,
    hypotheses: Sequence[Hypothesis],
    table: pd.DataFrame,
    again: pd.DataFrame,
    *,
    dataset: str,
) -> pd.DataFrame:
    """Judge the hypotheses, and keep what was measured and what follows from it in the current folder.

    Args:
        finding: name of the notebook; the files are `<finding>.csv`, `<finding>-solvers.csv` and `<finding>-verdicts.csv`.
        question: what the finding asks, in one sentence.
        hypotheses: in the order of the page.
        table: all that was measured, `described`.
        again: the same with other solvers, as `by_solvers` returns it.
        dataset: what the networks and the images are of, in words.

    Returns:
        As `stir.study.verdict.judge`, with the columns finding, question and dataset before the others, and `otherwise` after them: what other
        solvers say, empty where they agree.
    """
    judged = judge(hypotheses, table)
    judged["otherwise"] = disagreement(judged, _judge_alike(hypotheses, again, "solver"))
    for place, (column, value) in enumerate({"finding": finding, "question": question, "dataset": dataset}.items()):
        judged.insert(place, column, value)
    for name, made in {f"{finding}.csv": table, f"{finding}{BY_SOLVER}": again, f"{finding}{SUFFIX}": judged}.items():
        write_atomically(Path(name), lambda path, made=made: made.to_csv(path, index=False))
    return judged


def _judge_alike(hypotheses: Sequence[Hypothesis], table: pd.DataFrame, by: str) -> pd.DataFrame:
    """The verdicts by each value of the column `by`, the networks alone in their intervals."""
    # Some rows have no intervals over images, or are of few images; without these intervals all are judged alike.
    bounds = [f"{value}_{end}" for value in ("stir", "cka") for end in ("low", "high")]
    table = table.assign(**dict.fromkeys(bounds, float("nan")))
    return pd.concat(
        [judge(hypotheses, rows).assign(**{by: name}) for name, rows in table.groupby(by, sort=False)],
        ignore_index=True,
    )


def disagreement(judged: pd.DataFrame, again: pd.DataFrame) -> list[str]:
    """What other solvers say of each hypothesis, in words; empty where they agree, or came too short to say anything.

    A solver disagrees that contradicts the verdict and also what the page's own solver says of the same images. One by which too few images
    converged leaves the verdict unchecked.

    Args:
        judged: as `stir.study.verdict.judge` makes it.
        again: the same under each solver, the page's own first, with the column solver.
    """
    own, *others = (rows.reset_index(drop=True) for _, rows in again.groupby("solver", sort=False))
    said = []
    for place, here in enumerate(judged.verdict):
        names: dict[str, list[str]] = {}
        for row in (other.loc[place] for other in others):
            if row.converged < FULLY:
                names.setdefault("unchecked", []).append(f"{row.solver} ({row.converged:.0%} converged)")
            elif row.verdict not in (here, own.verdict[place], "not judged"):
                word = "not" if row.verdict == "not supported" and here != "not judged" else row.verdict
                names.setdefault(word, []).append(row.solver)
        if "unchecked" in names:
            names["unchecked"] = names.pop("unchecked")  # last
        parts = [f"{word} by the solver{'s' * (len(which) > 1)} {' and '.join(which)}" for word, which in names.items()]
        said.append(", ".join(parts))
    return said


def left_beyond_pixels(judged: pd.DataFrame) -> str:
    """What is left of the hypotheses that are judged beyond the pixels as well, in words.

    Args:
        judged: as `conclude` returns it.
    """
    verdicts = dict(zip(judged.claim, judged.verdict, strict=True))
    both = {
        claim: (said, verdicts[claim + BEYOND_PIXELS])
        for claim, said in verdicts.items()
        if claim + BEYOND_PIXELS in verdicts
    }
    supported = [beyond for said, beyond in both.values() if said == "supported"]
    lines = [
        f"Hypotheses that are judged on what STIR has beyond the pixels' own similarity as well: {len(both)}. Supported of these: {len(supported)}; "
        f"supported beyond the pixels too: {supported.count('supported')}."
    ]
    lines += [
        f"- *{claim}*: {said}; beyond the pixels {beyond}." for claim, (said, beyond) in both.items() if beyond != said
    ]
    return "\n".join([lines[0], "", *lines[1:]])


def tables_in(folder: Path, ends: Sequence[str] = (".csv", BY_SOLVER, SUFFIX)) -> list[Path]:
    """The tables of all findings in `folder`, those of the book in its order: of each finding what was measured, the same by solver, the verdicts."""
    names = sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))
    paths = [folder / f"{name}{end}" for name in sorted(names, key=[*ORDER, *names].index) for end in ends]
    return [path for path in paths if path.exists()]


def read_verdicts(folder: Path) -> pd.DataFrame:
    """The verdicts of all findings whose tables are in `folder`.

    Raises:
        ValueError: there is none.
    """
    found = [pd.read_csv(path, dtype={"otherwise": str}) for path in tables_in(folder, [SUFFIX])]
    if not found:
        raise ValueError(
            f"tables={str(folder)!r} holds no {'*' + SUFFIX}; run the findings first, or name the folder of their tables"
        )
    return pd.concat(found, ignore_index=True).fillna({"otherwise": ""})


def judge_again(folder: Path, by: str) -> pd.DataFrame:
    """The verdicts of all findings in `folder`, judged anew by each "measure" or each "solver", the networks alone in their intervals.

    Args:
        folder: of the findings' tables.
        by: what varies.

    Returns:
        As `conclude`, with the column `by`; a finding is left out for a measure that refused a pair, or was not asked.
    """
    made = []
    for finding, kept in read_verdicts(folder).groupby("finding", sort=False):
        table = pd.read_csv(folder / f"{finding}{'.csv' if by == 'measure' else BY_SOLVER}")
        counts = table[by].value_counts()
        complete = table[table[by].map(counts) == counts[table[by].iloc[0]]]
        again = _judge_alike([Hypothesis.from_json(text) for text in kept.definition], complete, by)
        again = again.dropna(subset="difference_value")  # what is beyond pixels that the measure refuses
        made.append(again.assign(finding=finding, question=kept.question.iloc[0], dataset=kept.dataset.iloc[0]))
    return pd.concat(made, ignore_index=True)
