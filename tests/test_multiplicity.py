"""Holm's correction, by a worked example and by chance."""

import numpy as np
import pandas as pd
import pytest

from stir.study.multiplicity import after_holm, holm


def test_a_worked_example():
    # Ordered 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1, never below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1]) and holm([0.03]) == pytest.approx([0.03]) and len(holm([])) == 0


def test_chance_alone_is_seldom_believed():
    """Of families of true nulls, at most one in twenty has any rejection; uncorrected, most have."""
    generator = np.random.default_rng(0)
    families = generator.uniform(size=(2_000, 20))
    wrong = np.mean([(holm(family) <= 0.05).any() for family in families])
    assert 0.03 < wrong < 0.065
    assert np.mean((families <= 0.05).any(axis=1)) > 0.5


def test_a_verdict_is_kept_or_becomes_not_supported():
    words = ["supported", "contradicted", "supported", "not judged", "not supported"]
    judged = pd.DataFrame({"verdict": words, "p_value": [0.001, 0.002, 0.04, 1.0, 0.5]})
    assert list(after_holm(judged)) == ["supported", "contradicted", "not supported", "not judged", "not supported"]


def test_what_is_not_judged_is_not_tested():
    # Two tests: times 2 and 1, however many were not judged.
    words, values = ["not judged"] * 8 + ["supported", "contradicted"], [1.0] * 8 + [0.02, 0.04]
    judged = pd.DataFrame({"verdict": words, "p_value": values}, index=range(5, 15))
    assert list(after_holm(judged)) == words
    assert (
        list(after_holm(judged.assign(p_value=[1.0] * 8 + [0.026, 0.04]))) == ["not judged"] * 8 + ["not supported"] * 2
    )
    assert list(after_holm(judged[:8])) == ["not judged"] * 8
