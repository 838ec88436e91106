"""Checks of exercises name the usual mistakes."""

import pytest
import torch
from torch import nn

from stir.course import exercises
from stir.course.exercises import measuring
from stir.course.judging import Unmet
from stir.similarity import linear_cka


def cka(x, y, centre=True, over=0, power=2):
    if centre:
        x, y = (each - each.mean(over, keepdim=True) for each in (x, y))
    return ((x.T @ y).norm() ** power / (x.T @ x).norm() / (y.T @ y).norm()).item()


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (dict(centre=False), "centre x and y first"),
        (dict(over=1), "not over the features"),
        (dict(power=1), "the norm in the numerator is squared"),
        (dict(power=3), r"should be 0\.\d+\.$"),
    ],
)
def test_mistakes_in_cka(mistake, message):
    exercises.check_cka(cka)
    with pytest.raises(Unmet, match=message):
        exercises.check_cka(lambda x, y: cka(x, y, **mistake))


def test_mistakes_in_the_number_of_images():
    exercises.check_images_needed(lambda p, score: -((score * p - p) // score))
    with pytest.raises(Unmet, match="the largest number that does not suffice"):
        exercises.check_images_needed(lambda p, score: -((score * p - p) // score) - 1)
    with pytest.raises(Unmet, match="p is still to be taken away"):
        exercises.check_images_needed(lambda p, score: -(-p // score))


def test_mistakes_in_the_table_of_layers(monkeypatch):
    networks = {nn.Identity(): torch.randn(20, 3) for _ in range(4)}
    trained, fresh = [*networks][:2], [*networks][2:]
    monkeypatch.setattr(measuring, "features", lambda network, images, layer: networks[network])
    right = [linear_cka(networks[one], networks[other]) for one, other in (trained, fresh)]
    images = torch.rand(20, 1, 4, 4)
    exercises.check_table_of_layers({"stage1": right}, trained, fresh, images)
    for wrong, message in (
        ({"stage1": right[::-1]}, "trained and fresh are exchanged"),
        ({"stage1": (1.0, right[1])}, "compared with itself"),
        ({"stage1": right[0]}, "should be a pair"),
        ({}, "should be a dictionary"),
    ):
        with pytest.raises(Unmet, match=message):
            exercises.check_table_of_layers(wrong, trained, fresh, images)
