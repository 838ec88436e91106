"""Names and numbers as the book writes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from numbers import Real
from typing import Any

import pandas as pd

from stir.inversion.layers import PENULTIMATE
from stir.similarity.measures import short_name

LOSS_NAMES = {
    "adversarial-l2": "adversarial (L2)",
    "adversarial-linf": "adversarial (L∞)",
    "trades": "TRADES (L∞)",
    "trades-l2": "TRADES (L2)",
    "mart": "MART (L∞)",
    "mart-l2": "MART (L2)",
}

SOLVER_NAMES = {"paper": "the authors’ algorithm"}
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
# Columns of tables -> their headings, on all pages.
HEADINGS = {
    "stir": "STIR",
    "stir_low": "from",
    "stir_high": "to",
    "cka": "CKA",
    "pixels": "pixels",
    "untrained": "untrained",
    "distance_median": "median distance",
    "distance_p90": "90% are nearer than",
    "converged": "converged",
    "ceiling": "ceiling",
    "moved": "moved",
    "towards": "towards",
    # Counts of the findings at a glance.
    "n_findings": "findings",
    "n_hypotheses": "hypotheses",
    "not_supported": "not supported",
    "not_judged": "not judged",
    "n_decided": "supported or contradicted",
    "n_after_holm": "of these, upheld by Holm’s correction",
    "n_otherwise": "another verdict by another solver",
    "n_unsettled": "another verdict by all solvers that converged, on the fewer images of the check",
    "n_unchecked": "not checked by a solver that converged too seldom",
    # Measurements of `make bench`.
    "efficiency": "efficiency of a step",
    "time-per-image": "time of an image, among many over among few",
    "memory-GiB": "memory of 10,000 images, GiB",
    "adversarial-training": "speed of adversarial training",
    "clean-points": "accuracy differs by, points",
    "robust-points": "robust accuracy differs by, points",
    "load-first-seconds": "loading images the first time, s",
    "load-again-seconds": "loading images again, s",
    "recipe-accuracy": "the recipe’s accuracy",
    "recipe-robust": "the recipe’s robust accuracy",
    "recipe-seconds": "training by the recipe, s",
    "image-step-microseconds": "a step of an image, µs",
    "image-steps-per-second": "image-steps a second",
    "training-images-per-second": "training images a second",
}
SHADES = 255  # of an 8-bit image, in which radii in the L∞ norm are counted
# Words for a verdict that other solvers do not share (`stir.study.conclusions.disagreement`).
OTHERWISE = {"not": "not so", "unchecked": "could not be checked"}


def loss_name(loss: str) -> str:
    """Name of a loss as the book writes it."""
    return LOSS_NAMES.get(loss, loss)


def measure_name(table: pd.DataFrame) -> str:
    """Name of the plain similarity in a table as the book writes it: CKA, for linear CKA, or that of the measure."""
    return short_name(table.measure.iloc[0] if "measure" in table else "linear-cka")


def layer_name(layer: str) -> str:
    """Name of a layer in a sentence: "the last layer" for `penultimate`, "the first stage" for `stage1`.

    Tables and figures have the parameter's own value. The glossary has both words.
    """
    if layer == PENULTIMATE:
        return "the last layer"
    number = re.fullmatch(r"stage([1-9])", layer)
    if number and int(number[1]) <= len(ORDINALS):
        return f"the {ORDINALS[int(number[1]) - 1]} stage"
    return f"the layer “{layer}”"


def solver_name(solver: str) -> str:
    """Name of a solver in a sentence: "the authors’ algorithm", or "the solver “nearest”"."""
    return SOLVER_NAMES.get(solver, f"the solver “{solver}”")


def otherwise_name(otherwise: str) -> str:
    """Verdict of other solvers as the book writes it: "could not be checked by the authors’ algorithm".

    Args:
        otherwise: as `stir.study.conclusions.disagreement` writes it.
    """

    def in_words(match: re.Match) -> str:
        parts = (each.partition(" ") for each in match[2].split(" and "))
        solvers = [solver_name(name) + space + share for name, space, share in parts]
        return f"{OTHERWISE.get(match[1], match[1])} by {' and '.join(solvers)}"

    words = re.sub(r"(\w+) by the solvers? ([^,]+)", in_words, otherwise)
    return re.sub(
        r"unsettled \(([^)]*)\)", r"“\1” by all solvers that converged, on the fewer images of the check", words
    )


def decimal(value: float, places: int = 2, signed: bool = False) -> str:
    """Format a number as the book writes it: with a minus sign, "−0.02", and no sign before zero.

    Args:
        value: the number; NaN is "nan".
        places: digits after the point.
        signed: with a plus sign before numbers above zero.
    """
    digits = f"{value:+.{places}f}"
    sign, digits = digits[:1], digits[1:]
    if digits.strip("0.") in ("", "nan"):  # zero once it is rounded
        return digits
    return {"-": "\N{MINUS SIGN}", "+": "+" if signed else ""}[sign] + digits


def radius(value: object) -> str:
    """Radius of a ball as the book writes it: 0.03137, which is 8/255 to the digits given, as "8/255"."""
    text = str(value)
    _, _, digits = text.partition(".")
    if len(digits.lstrip("0")) > 3:  # fewer are typed for their own sake: 0.2 is no 51/255
        shades = round(float(text) * SHADES)
        if f"{shades / SHADES:.{len(digits)}f}" == text:
            return f"{shades}/{SHADES}"
    return text


def seconds(value: float) -> str:
    """Format a time in seconds as the book writes it: a short one with a digit after the point, so that it is not 0."""
    return decimal(value, 0 if value >= 9.5 else 1)


def decimals(places: int = 2) -> Callable[[Any], Any]:
    """Formatter for a styled table: numbers by `decimal` with `places` digits, all else unchanged."""
    return lambda value: decimal(float(value), places) if isinstance(value, Real) else value
