"""Controversial images of linear networks, of which it is known what they share."""

import pytest
import torch
from helpers.small_networks import linear

from stir.inversion.controversial import controversial
from stir.inversion.invert import invert
from stir.inversion.representation import features
from stir.networks.architectures import build_model

QUIET = {"device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def images(digits):
    return digits.test.images[:6]


@pytest.fixture(scope="module")
def network():
    return build_model("vgg11", 10, width=4, channels=1, seed=3).eval()


@pytest.fixture(scope="module")
def pair(images):
    """Two linear networks that see 12 directions each, 6 of them in common."""
    basis = linear(18)[1].weight.data
    both = [linear(12), linear(12)]
    both[0][1].weight.data = basis[:12].clone()
    both[1][1].weight.data = basis[6:].clone()
    return both


def test_controversial_images_are_alike_to_one_and_not_to_the_other(pair, images):
    given, target = pair
    found = controversial(given, target, images, layer="1", tolerance=0.05, **QUIET)

    def distance(model, x):
        wanted, reached = features(model, images, layer="1", device="cpu"), features(model, x, layer="1", device="cpu")
        return (reached - wanted).norm(dim=1) / wanted.norm(dim=1)

    assert torch.allclose(found.distance, distance(given, found.images), atol=1e-5)
    assert torch.allclose(found.target_distance, distance(target, found.images), atol=1e-5)
    assert found.converged.all() and (found.distance <= 0.05 + 1e-6).all()
    plain = invert(given, images, layer="1", steps=300, **QUIET)
    assert (found.target_distance > 1.5 * distance(target, plain.images)).all()


def test_no_controversy_about_what_one_sees_less_of(images):
    more = linear(12)
    less = linear(4)
    less[1].weight.data = more[1].weight.data[:4].clone()
    found = controversial(more, less, images, layer="1", tolerance=0.01, **QUIET)
    # All that is alike to `more` is alike to `less`: |Bx' - Bx| <= 0.01 |Ax|.
    bound = (
        0.01 * (images.flatten(1) @ more[1].weight.T).norm(dim=1) / (images.flatten(1) @ less[1].weight.T).norm(dim=1)
    )
    assert (found.target_distance <= bound * 1.001 + 1e-5).all()


def test_controversial_images_of_one_network_with_itself(network, images):
    found = controversial(network, network, images, steps=20, tolerance=0.3, **QUIET)
    assert torch.allclose(found.distance, found.target_distance, atol=1e-5)
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in network.modules())


def test_where_nothing_is_within_tolerance_the_nearest_is_kept(network, images):
    found = controversial(network, network, images, steps=3, tolerance=1e-4, **QUIET)
    assert not found.converged.any() and found.distance.isfinite().all()


def test_wrong_arguments_of_controversial(network, images):
    with pytest.raises(ValueError, match="steps=0 must be a whole number, at least 1"):
        controversial(network, network, images, steps=0, **QUIET)
    with pytest.raises(ValueError, match="layer='stage9' does not exist"):
        controversial(network, network, images, layer="stage9", **QUIET)
    with pytest.raises(ValueError, match="solver='paper': controversial images have a solver of their own"):
        controversial(network, network, images, solver="paper", **QUIET)
