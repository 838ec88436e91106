"""Checks of sessions 4 to 6: intervals, verdicts, hypotheses, reports."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import t as student
from torch import Tensor, nn

from stir.course.judging import Unmet, check_guess, check_number, check_tensor, done, is_number, number, outcome
from stir.scoring.result import StirResult
from stir.similarity.cka import linear_cka
from stir.similarity.intervals import mean_similarity
from stir.study.hypothesis import Hypothesis, Quantity
from stir.study.verdict import judge

SENTENCE = 25  # characters; less is no answer
ROUNDED = 0.0051  # a number of a report may be rounded to two digits


# Session 4


def check_guess_of_width(guesses: Any, x: Tensor, y: Tensor) -> None:
    """Exercise 4.1: guesses of what four times the images do to CKA of x and y, and to its interval."""
    few = len(x) // 4
    some, (low, high) = mean_similarity(linear_cka, x[:few], [y[:few]])
    every, (least, most) = mean_similarity(linear_cka, x, [y])
    outcomes = {"width": (most - least) / (high - low), "change of CKA": every - some}
    done("4.1", check_guess(guesses, outcomes, is_number(-1.0, 2.0), "a number from -1 to 2"))


def check_interval(interval: Any) -> None:
    """Exercise 4.2: `interval(x, y)` is the jackknife's interval of CKA over images."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 3, generator=generator)
    y = x + torch.randn(30, 3, generator=generator)
    value = outcome(interval, x, y, name="interval")
    if not isinstance(value, Sequence) or len(value) != 2:
        raise Unmet("`interval` should return a pair: low, high.")
    cka, right = mean_similarity(linear_cka, x, [y])
    n, without = len(x), [torch.arange(len(x)) != i for i in range(len(x))]
    left_out = np.array([linear_cka(x[each], y[each]) for each in without])
    z, t = np.arctanh(left_out), float(student.ppf(0.975, n - 1))

    def around(half: float) -> tuple[float, float]:
        return math.tanh(math.atanh(cka) - half), math.tanh(math.atanh(cka) + half)

    inflated = math.sqrt((n - 1) ** 2 / n * z.var(ddof=1))
    plain = t * math.sqrt((n - 1) ** 2 / n * left_out.var(ddof=1))
    mistakes = {
        "this is the interval of a mean; to leave out one image changes little, hence the factor (n - 1)² / n.": around(
            t * math.sqrt(z.var(ddof=1) / n)
        ),
        "the factor (n - 1)² / n is missing.": around(t * z.std(ddof=1)),
        "compute on Fisher's z: `math.atanh` before, `math.tanh` after.": (cka - plain, cka + plain),
        "multiply by Student's t, `student.ppf(0.975, n - 1)`.": around(inflated),
        "use Student's t in place of 1.96: there are only 30 images.": around(1.96 * inflated),
    }
    for end, name in enumerate(("lower", "upper")):
        ends = {reason: wrong[end] for reason, wrong in mistakes.items()}
        check_number(value[end], right[end], f"The {name} end of a test interval", ends)
    done("4.2", f"[{right[0]:.3f}, {right[1]:.3f}] around {cka:.3f}, as the package's.")


def check_word(word: Any) -> None:
    """Exercise 4.3: `word(low, high, converged)` is the verdict on a difference."""
    cases = {
        (0.1, 0.3, 1.0): ("supported", "the whole interval lies above 0"),
        (-0.3, -0.1, 1.0): ("contradicted", "the whole interval lies below 0"),
        (-0.1, 0.3, 1.0): ("not supported", "the interval holds 0"),
        (-0.3, 0.1, 0.9): ("not supported", "the interval holds 0"),
        (0.1, 0.3, 0.4): ("not judged", "too few of the images have converged"),
        (-0.3, -0.1, 0.49): ("not judged", "too few of the images have converged"),
        (0.1, 0.3, 0.5): ("supported", "half of the images have converged, which is not fewer than half"),
    }
    for (low, high, converged), (right, reason) in cases.items():
        answer = outcome(word, low, high, converged, name="word")
        if answer != right:
            raise Unmet(f"word({low}, {high}, {converged}) is {answer!r}, and should be {right!r}: {reason}.")
    done("4.3")


def check_without(without: Any, table: pd.DataFrame) -> None:
    """Exercise 4.4: name -> the difference of the means without that network."""
    names = list(dict.fromkeys(table.reference))
    if not isinstance(without, Mapping) or set(without) != set(names):
        raise Unmet(f"`without` should have a number for each of {', '.join(names)}.")
    for name in names:
        rows = table.loc[(table.reference != name) & (table.target != name)]
        mistakes = {
            "leave the network out as a target too.": _difference(table.loc[table.reference != name]),
            "leave the network out as a reference too.": _difference(table.loc[table.target != name]),
            "no network is left out.": _difference(table),
            "a network given itself is no pair of different networks.": _difference(rows, own=True),
            "this is standard less robust.": -_difference(rows),
        }
        check_number(without[name], _difference(rows), f"The difference without {name!r}", mistakes)
    spread = max(without.values()) - min(without.values())
    done("4.4", f"One network more or less moves it by up to {spread:.2f}.")


def _difference(table: pd.DataFrame, own: bool = False) -> float:
    """Mean STIR of pairs of robust networks less that of standard ones."""
    pairs = table if own else table.loc[table.reference != table.target]
    robust, standard = (
        pairs.loc[(pairs.reference_loss == loss) & (pairs.target_loss == loss)].stir.mean()
        for loss in ("adversarial-l2", "standard")
    )
    return float(robust - standard)


# Session 5


def check_noted(guess: Any, question: Any, questions: Collection[str]) -> None:
    """Exercise 5.1: a question was chosen, and a difference predicted."""
    if question not in questions:
        raise Unmet(f"`question` should be one of {', '.join(questions)}.")
    check_guess(guess, {"difference": 0.0}, is_number(-1.0, 1.0), "a number from -1 to 1")
    done("5.1", f"Noted: {guess['difference']:+.2f}. It is compared at the end.")


def check_hypothesis(hypothesis: Any) -> None:
    """Exercise 5.2: the hypothesis that pairs of the same kind share more than others."""
    if hypothesis is ...:
        raise Unmet("The hypothesis is still missing.")
    if not isinstance(hypothesis, Hypothesis):
        raise Unmet("`hypothesis` should be a stir.Hypothesis(claim, more, less).")
    more, less = hypothesis.more, hypothesis.less
    for quantity in (more, less):
        if quantity.value != "stir":
            raise Unmet(f"The value of {quantity.label!r} is {quantity.value!r}, and should be 'stir'.")
    if (dict(more.where), dict(less.where)) == ({"same_kind": False}, {"same_kind": True}):
        raise Unmet("`more` and `less` are exchanged: the claim is that pairs of the same kind share more.")
    for quantity, same in ((more, True), (less, False)):
        if dict(quantity.where) != {"same_kind": same}:
            condition = f"{dict(quantity.where)}, and should be {{'same_kind': {same}}}"
            raise Unmet(f"The condition of {quantity.label!r} is {condition}.")
    if len(hypothesis.claim) < SENTENCE:
        raise Unmet("Write the claim as a sentence.")
    done("5.2")


def check_conclusion(conclusion: Any, guess: Any, table: pd.DataFrame) -> None:
    """Exercise 5.3: the verdicts, the difference, and a sentence on the limits."""
    same, other = Quantity("same", "stir", {"same_kind": True}), Quantity("other", "stir", {"same_kind": False})
    hypothesis = Hypothesis("same above other", same, other)
    judged = judge([hypothesis, hypothesis.beyond_pixels()], table)
    wanted = dict(zip(("word", "beyond the pixels"), judged.verdict))
    if not isinstance(conclusion, Mapping):
        raise Unmet("`conclusion` should be a dictionary.")
    for name, right in wanted.items():
        if conclusion.get(name, ...) is ...:
            raise Unmet(f"`conclusion[{name!r}]` is still missing.")
        if conclusion[name] != right:
            raise Unmet(f"`conclusion[{name!r}]` is {conclusion[name]!r}, and the verdict is {right!r}.")
    difference = float(judged.difference_value.iloc[0])
    wrong = {"this is the difference beyond the pixels.": float(judged.difference_value.iloc[1])}
    check_number(conclusion.get("difference", ...), difference, "The difference", wrong)
    _check_sentences({"limits": conclusion.get("limits", ...)})
    table_of = check_guess(guess, {"difference": difference}, is_number(-1.0, 1.0), "a number from -1 to 1")
    done("5.3", table_of)


def _check_sentences(texts: Mapping[str, Any]) -> None:
    for name, text in texts.items():
        if text is ...:
            raise Unmet(f"{name!r} is still missing: write a sentence.")
        if not isinstance(text, str) or len(text) < SENTENCE:
            raise Unmet(f"{name!r} should be a sentence, not {text!r}.")


# Session 6


def check_wrapped(wrapped: Any, mine: nn.Module, images: Tensor, mean: float, std: float) -> None:
    """Exercise 6.1: a network that takes images in [0, 1], of one that takes normalized ones."""
    if not isinstance(wrapped, nn.Module):
        raise Unmet("`wrapped` is still missing: it should be a torch.nn.Module.")
    with torch.no_grad():
        value, wanted = wrapped(images), mine((images - mean) / std)
        mistakes = {
            "the images are not normalized before your network.": mine(images),
            "the images are normalized twice.": mine(((images - mean) / std - mean) / std),
            "divide by std, after mean is taken away.": mine((images - std) / mean),
        }
    check_tensor(value, wanted, "What `wrapped` says of the images", mistakes)
    done("6.1")


def check_guess_of_score(guesses: Any, result: StirResult) -> None:
    """Exercise 6.2: guesses of STIR and its baselines."""
    outcomes = {"STIR": result.value, "pixels": result.pixels, "untrained": result.untrained}
    done("6.2", check_guess(guesses, outcomes, is_number(0.0, 1.0), "a number from 0 to 1"))


def check_report(report: Any, result: StirResult) -> None:
    """Exercise 6.3: `report(result)` has all that a STIR value has to be told with."""
    reported = outcome(report, result, name="report")
    row = result.as_row()
    wanted = {name: row[name] for name in ("stir", "cka", "ceiling", "converged", "pixels", "untrained", "floor")}
    wanted |= {name: row[name] for name in ("seeds", "solver", "steps", "measure")}
    wanted |= {"interval": result.interval, "layer": result.target_taken, "images": row["n_images"]}
    if not isinstance(reported, Mapping):
        raise Unmet("`report` should return a dictionary.")
    missing = [name for name in wanted if name not in reported]
    if missing:
        raise Unmet(f"The report lacks {', '.join(missing)}.")
    for name, right in wanted.items():
        if name in ("layer", "interval"):
            continue  # there are several ways to say it
        if isinstance(right, float) and abs(number(reported[name], f"The report's {name}") - right) <= ROUNDED:
            continue
        if reported[name] != right:
            raise Unmet(f"The report's {name} is {reported[name]!r}, and should be {right!r}.")
    done("6.3", "Another group could repeat this, if you add the networks.")


def check_plan(plan: Any) -> None:
    """Exercise 6.4: a sentence on each part of a project."""
    parts = ("question", "networks", "hypothesis", "must fail", "would refute")
    if not isinstance(plan, Mapping):
        raise Unmet(f"`plan` should be a dictionary with {', '.join(parts)}.")
    _check_sentences({part: plan.get(part, ...) for part in parts})
    done("6.4", "Show it to another group before you compute anything.")
