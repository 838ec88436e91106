"""Verdicts on tables whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from stir.verdict import Estimate, mean_over_pairs


def pairs(effects, stir=0.5, cka=0.9, width=0.02):
    """All ordered pairs of networks; each pair's STIR is `stir` plus both networks' effects."""
    rows = [
        {
            "reference": a, "target": b,
            "stir": stir + effects[a] + effects[b], "cka": cka,
            "stir_low": stir - width, "stir_high": stir + width, "cka_low": cka - width, "cka_high": cka + width,
        }
        for a in effects for b in effects if a != b
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_difference_and_words():
    table = pairs({"a": 0.0, "b": 0.0, "c": 0.0})
    gap = mean_over_pairs(table, "cka", "stir")
    assert gap.value == pytest.approx(0.4)
    assert gap.verdict == "supported"
    assert mean_over_pairs(table, "stir", "cka").verdict == "contradicted"
    assert (gap - gap).verdict == "not supported"
    assert str(Estimate(0.5, 0.1, 0)) == "0.50 [0.30, 0.70]"


def test_two_networks_leave_images_only():
    gap = mean_over_pairs(pairs({"a": 0.0, "b": 0.1}), "stir")
    assert gap.freedom == 0
    assert gap.error == pytest.approx(0.02 / 1.959964, rel=1e-4)


def test_interval_covers_the_mean_over_networks():
    generator = np.random.default_rng(0)
    covered = 0
    trials = 400
    for _ in range(trials):
        effects = dict(zip("abcd", 0.1 * generator.standard_normal(4), strict=True))
        low, high = mean_over_pairs(pairs(effects, width=1e-9), "stir").interval
        covered += low <= 0.5 <= high
    assert 0.90 <= covered / trials <= 0.99


def test_refuses_self_pairs_and_several_layers():
    table = pairs({"a": 0.0, "b": 0.0})
    for bad in (table.iloc[:0], table.assign(target=table.reference), pd.concat([table, table])):
        with pytest.raises(ValueError, match="each ordered pair"):
            mean_over_pairs(bad, "stir")
