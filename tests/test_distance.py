"""Relative distances of a linear network, in closed form, and representations that have none."""

import pytest
import torch
from helpers.small_networks import linear
from torch import nn

from stir.inversion.distance import relative_distance, relative_residual
from stir.inversion.invert import invert
from stir.inversion.representation import Representation

QUIET = {"device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def images(digits):
    return digits.test.images[:6]


def test_distance_is_relative_to_the_representation_of_the_image(images):
    model, others = linear(), images.flip(0)
    mapped, others_mapped = (x.flatten(1) @ model[1].weight.T for x in (images, others))
    residual = (others_mapped - mapped) / mapped.norm(dim=1, keepdim=True)
    with Representation(model, images, "1", device="cpu") as represent:
        torch.testing.assert_close(relative_residual(represent, images)(others), residual)
        distance = relative_distance(represent, images, others, batch_size=4)
    torch.testing.assert_close(distance, residual.norm(dim=1))


def test_an_all_zero_representation(images):
    images = torch.cat([images[:2], torch.zeros(1, 1, 16, 16)])
    with pytest.raises(ValueError, match=r"layer='1': 1 image\(s\) have an all-zero representation"):
        invert(linear(), images, layer="1", **QUIET)


def test_a_representation_that_is_not_finite(images):
    class Ratio(nn.Module):
        def forward(self, x):
            return x.flatten(1) / x.amin(dim=(1, 2, 3))[:, None].sign()

    images = torch.cat([images[:2].clamp_min(0.1), torch.zeros(1, 1, 16, 16)])
    # Before any work, wherever the image is.
    with pytest.raises(ValueError, match=r"layer='0': 1 image\(s\) have a non-finite representation"):
        invert(nn.Sequential(Ratio()), images, layer="0", batch_size=1, **QUIET)
