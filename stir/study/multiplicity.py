"""Verdicts of many hypotheses at once: some of them would be "supported" by chance alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

LEVEL = 0.05  # the chance of one false verdict or more among all of them


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """p-values, in [0, 1], corrected so that those of at most `LEVEL` hold together.

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def after_holm(judged: pd.DataFrame) -> pd.Series:
    """The verdicts that are left when all rows, as `stir.study.verdict.judge` makes them, are one family: those not kept are "not supported"."""
    decided = judged.verdict.isin(["supported", "contradicted"])
    return judged.verdict.where(~decided | (holm(judged.p_value.to_numpy()) <= LEVEL), "not supported")
