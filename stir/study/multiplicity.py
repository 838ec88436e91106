"""Correction of verdicts for multiplicity: of many hypotheses, some are "supported" by chance alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

LEVEL = 0.05  # family-wise error rate: the probability of at least one false verdict


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's corrected p-values, in [0, 1]: to reject those up to `LEVEL` keeps the family-wise error rate at `LEVEL`.

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def after_holm(judged: pd.DataFrame) -> pd.Series:
    """Verdicts after Holm's correction over all rows; a verdict that it does not uphold becomes "not supported".

    Rows that are not judged test nothing, and do not count.

    Args:
        judged: rows as `stir.study.verdict.judge` makes them, one family of hypotheses.
    """
    family = judged.verdict != "not judged"
    upheld = pd.Series(True, index=judged.index)
    upheld[family] = holm(judged.p_value[family].to_numpy()) <= LEVEL
    decided = judged.verdict.isin(["supported", "contradicted"])
    return judged.verdict.where(~decided | upheld, "not supported")
