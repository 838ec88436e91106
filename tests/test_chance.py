"""Chance level against draws, and networks that learnt nothing."""

import pytest
import torch

import stir
from stir.training.chance import chance_level, is_at_chance


@pytest.mark.parametrize("shares", [[0.1] * 10, [0.6, 0.4], [0.05, 0.9, 0.05]])
def test_who_learnt_nothing_is_at_chance_nineteen_times_in_twenty(shares):
    generator = torch.Generator().manual_seed(0)
    shares = torch.tensor(shares)
    counts = (200 * shares).round().long().tolist()
    right = torch.rand(4000, 200, generator=generator) < shares.max()  # of each of 200 images, by a guess
    found = [is_at_chance(each, counts) for each in right.float().mean(dim=1).tolist()]
    assert sum(found) / len(found) == pytest.approx(0.95, abs=0.03)
    assert chance_level(counts) == pytest.approx(float(shares.max()))
    assert not is_at_chance(1.0, counts)


@pytest.mark.parametrize("learning_rate", [3.0, 10_000.0])
def test_a_training_that_ends_at_chance_level_is_warned_of(small, own_store, learning_rate):
    settings = dict(dataset=small, width=4, epochs=1, device="cpu", progress=False)
    with pytest.warns(UserWarning, match=r"resnet10.* at chance level.*learning_rate=.* epochs=1"):
        model = stir.trained_model("resnet10", learning_rate=learning_rate, **settings)
    assert is_at_chance(model.card["accuracy"], small.test.counts)
