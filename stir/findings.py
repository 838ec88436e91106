"""What the notebooks of all findings do alike: find mistakes first, list their networks, keep what they measured and judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from torch import Tensor, nn

from stir.files import write_whole
from stir.inversion import invert
from stir.similarity import get_measure
from stir.verdict import Hypothesis, judge

SUFFIX = "-verdicts.csv"
# The paper's four, then what goes beyond: the order of the book.
ORDER = ("initialization", "architecture", "loss", "dataset", "robustness", "updates", "controversial")


def rehearse(
    models: Mapping[str, nn.Module], images: Tensor, *, layers: Sequence[str | None] = (None,), measures: Sequence[str] = (), **inversion
) -> None:
    """Take one step of every inversion to come, on two images and untrained networks: a mistake shows before hours of training.

    Args:
        models: such as `stir.store.untrained_models` returns.
        images: [N, C, H, W] in [0, 1].
        layers, measures: that will be asked for.
        **inversion: arguments of `stir.invert`.

    Raises:
        ValueError: as `stir.invert` does, or for an unknown measure.
    """
    for measure in measures:
        get_measure(measure)
    if len(set(measures)) < len(measures):
        raise ValueError(f"measures={list(measures)} holds one twice")
    for model in models.values():
        for layer in layers:
            invert(model, images[:2], layer=layer, **{**inversion, "steps": min(inversion.get("steps", 1), 1)})


def accuracies(models: Mapping[str, nn.Module], about: Mapping[str, Mapping]) -> pd.DataFrame:
    """How accurate the networks of each kind are, in means over the kind's networks.

    Args:
        models: name -> network, as `stir.trained_models` returns them.
        about: name -> attributes, of which `kind` tells what is averaged.

    Returns:
        One row a kind: how many `networks`, their `accuracy` on the test images and what is left of it under the store's
        attacks (`stir.store.ATTACKS`), in [0, 1], and the `seconds to train` one.
    """
    rows = []
    for name, model in models.items():
        robust = model.card["robust_accuracy"]
        shares = {"accuracy": model.card["accuracy"], "under L2 attack": robust["l2"], "under L∞ attack": robust["linf"]}
        rows.append({"kind": about[name]["kind"], "networks": 1} | shares | {"seconds to train": model.card["seconds"]})
    made = pd.DataFrame(rows).groupby("kind", sort=False)
    return made.mean().assign(networks=made.networks.sum())


def diagnostics(table: pd.DataFrame, by: Sequence[str] = ("reference_kind",)) -> pd.DataFrame:
    """How well the inversion worked for each kind of reference, in means over its networks.

    Args:
        table: rows as `stir.pairwise` makes them, by one measure, `stir.verdict.described`.
        by: the columns that tell what is averaged.

    Returns:
        The columns distance_median, distance_p90, converged and ceiling.
    """
    own = table[table.reference == table.target]
    return own.groupby([*by], sort=False)[["distance_median", "distance_p90", "converged", "ceiling"]].mean()


def conclude(finding: str, question: str, hypotheses: Sequence[Hypothesis], table: pd.DataFrame) -> pd.DataFrame:
    """Judge the hypotheses, and keep what was measured and what follows from it in the current folder.

    Args:
        finding: name of the notebook; the files are `<finding>.csv` and `<finding>-verdicts.csv`.
        question: what the finding asks, in one sentence.
        hypotheses: in the order of the page.
        table: all that was measured, `stir.verdict.described`.

    Returns:
        As `stir.verdict.judge`, with the columns finding and question before the others.
    """
    judged = judge(hypotheses, table)
    judged.insert(0, "finding", finding)
    judged.insert(1, "question", question)
    for name, made in {f"{finding}.csv": table, f"{finding}{SUFFIX}": judged}.items():
        write_whole(Path(name), lambda path, made=made: made.to_csv(path, index=False))
    return judged


def tables_in(folder: Path) -> list[Path]:
    """The tables of all findings in `folder`, those of the book in its order: for each, what was measured and the verdicts."""
    names = sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))
    return [folder / f"{name}{end}" for name in sorted(names, key=[*ORDER, *names].index) for end in (".csv", SUFFIX)]


def read_verdicts(folder: Path) -> pd.DataFrame:
    """The verdicts of all findings whose tables are in `folder`.

    Raises:
        ValueError: there is none.
    """
    found = [pd.read_csv(path) for path in tables_in(folder)[1::2]]
    if not found:
        raise ValueError(f"tables={str(folder)!r} holds no {'*' + SUFFIX}; run the findings first, or name the folder of their tables")
    return pd.concat(found, ignore_index=True)


def judge_again(folder: Path, measure: str) -> pd.DataFrame:
    """The verdicts of all findings in `folder`, judged anew by another measure, the networks alone in their intervals.

    Returns:
        As `conclude`; a finding in which the measure refused a pair, or was not asked, is left out.
    """
    made = []
    for finding, kept in read_verdicts(folder).groupby("finding", sort=False):
        table = pd.read_csv(folder / f"{finding}.csv")
        # Intervals over images are there for the first measure only; without them all are judged alike.
        bounds = [f"{value}_{end}" for value in ("stir", "cka") for end in ("low", "high")]
        rows = table[table.measure == measure].assign(**dict.fromkeys(bounds, float("nan")))
        complete = (table.measure == table.measure.iloc[0]).sum()
        if len(rows) == complete:
            again = judge([Hypothesis.from_json(text) for text in kept.definition], rows)
            made.append(again.assign(finding=finding, question=kept.question.to_numpy()))
    return pd.concat(made, ignore_index=True) if made else read_verdicts(folder).iloc[:0]
