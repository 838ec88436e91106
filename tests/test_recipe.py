"""Recipes: their errors, their attack, and the settings that have an effect."""

import json
from dataclasses import replace

import numpy as np
import pytest

from stir.training.attacks import PGD
from stir.training.recipe import Recipe


def test_the_attack_of_a_recipe():
    assert Recipe().attack is None
    assert Recipe(loss="adversarial-l2", epsilon=0.5, attack_steps=3).attack == PGD("l2", 0.5, 3)
    assert Recipe(loss="adversarial-linf").attack == PGD("linf", 8 / 255, 4)
    assert Recipe(loss="trades").attack == Recipe(loss="mart").attack == PGD("linf", 8 / 255, 4)
    assert Recipe(loss="trades-l2").attack == Recipe(loss="mart-l2").attack == PGD("l2", 0.5, 4)


def test_the_settings_are_what_has_an_effect(unchecked):
    plain = Recipe().settings
    assert Recipe(epsilon=2.0, attack_steps=9, tradeoff=3.0, augmentation_strength=2.0).settings == plain
    assert Recipe(loss="trades").settings == Recipe(loss="trades", epsilon=8 / 255, tradeoff=6.0).settings
    assert Recipe(loss="adversarial-l2", tradeoff=3.0).settings == Recipe(loss="adversarial-l2", epsilon=0.5).settings
    assert Recipe(loss="mart").settings["tradeoff"] == 5.0 and "tradeoff" not in plain
    assert Recipe(label_smoothing=0.1).settings != plain
    one = replace(Recipe(loss="trades", epsilon=1), epochs=np.int64(3))
    other = Recipe(loss="trades", epsilon=1.0, epochs=3)
    assert json.dumps(one.settings) == json.dumps(other.settings)  # so that they have one key


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("loss", "hinge", "loss='hinge' is unknown; use one of standard, adversarial-l2, adversarial-linf"),
        ("augmentation", "blur", "augmentation='blur' is unknown; use one of none, shift, shift-flip"),
        ("epochs", 0, "epochs=0 must be a whole number, at least 1"),
        ("epochs", 2.0, "epochs=2.0 must be a whole number"),
        ("epochs", "3", "epochs='3' must be a whole number"),
        ("batch_size", 0, "batch_size=0 must be a whole number, at least 1"),
        ("learning_rate", 0.0, "learning_rate=0.0 must be above 0"),
        ("learning_rate", float("nan"), "learning_rate=nan must be above 0"),
        ("learning_rate", float("inf"), "learning_rate=inf must be above 0, and finite"),
        ("epsilon", -1.0, "epsilon=-1.0 must be above 0"),
        ("weight_decay", -0.1, "weight_decay=-0.1 must not be negative"),
        ("label_smoothing", 1.0, "label_smoothing=1.0 must not be negative, and less than 1"),
        ("augmentation_strength", 5.0, "augmentation_strength=5.0 must not be negative, and less than 4"),
        ("tradeoff", 0.0, "tradeoff=0.0 must be above 0"),
        ("attack_steps", 0, "attack_steps=0 must be a whole number, at least 1"),
    ],
)
def test_recipe_errors(field, value, text, unchecked):
    with pytest.raises(ValueError, match=text):
        Recipe(**{field: value})
