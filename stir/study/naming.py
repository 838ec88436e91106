"""Names of losses and measures as the book writes them."""

from __future__ import annotations

import pandas as pd

LOSS_NAMES = {
    "adversarial-l2": "adversarial (L2)",
    "adversarial-linf": "adversarial (L∞)",
    "trades": "TRADES (L∞)",
    "trades-l2": "TRADES (L2)",
    "mart": "MART (L∞)",
    "mart-l2": "MART (L2)",
}


def loss_name(loss: str) -> str:
    """Name of a loss as the book writes it."""
    return LOSS_NAMES.get(loss, loss)


def measure_name(table: pd.DataFrame) -> str:
    """Name of the plain similarity in a table as the book writes it: CKA, for linear CKA, or that of the measure."""
    name: str = table.measure.iloc[0] if "measure" in table else "linear-cka"
    return name.removeprefix("linear-").replace("cka", "CKA")
