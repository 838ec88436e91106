"""Draws are inversions from seed images of their own."""

import torch
from torch import nn

import stir
from stir.inversion.options import InversionOptions
from stir.scoring.draws import Draws, draw
from stir.scoring.question import Question

IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
SHORT = dict(steps=3, tolerance=1.0, device="cpu", progress=False)


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 2)).eval()


def question(*, seed=0, **changes):
    return Question(IMAGES, options=InversionOptions(seed=seed, **SHORT), **changes)


def test_each_draw_is_an_inversion_from_seeds_of_its_own():
    model = network(0)
    for seed, inversion in zip((5, 6), draw(question(draws=2, seed=5), model), strict=True):
        assert torch.equal(inversion.images, stir.invert(model, IMAGES, seed=seed, **SHORT).images)


def test_the_reference_is_inverted_at_its_own_layer():
    (inversion,) = draw(question(layer="1", given_layer="2"), network(0))
    assert torch.equal(inversion.images, stir.invert(network(0), IMAGES, layer="2", **SHORT).images)


def test_the_worst_case_is_controversial():
    reference, target = network(0), network(1)
    (inversion,) = draw(question(layer="1", given_layer="2", worst_case=True), reference, target)
    alone = stir.controversial(reference, target, IMAGES, layer="1", given_layer="2", **SHORT)
    assert torch.equal(inversion.images, alone.images)


def test_images_of_all_draws_come_in_order():
    inversions = draw(question(draws=3), network(0))
    images = Draws("a", ["a"], inversions).images
    for part, inversion in zip(images.chunk(3), inversions, strict=True):
        assert torch.equal(part, inversion.images)
