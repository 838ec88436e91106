"""A trajectory is the way of the very descent that `invert` runs."""

import pytest
import torch

from stir.inversion.invert import invert
from stir.inversion.solvers import SOLVERS
from stir.inversion.trajectory import trajectory
from stir.networks.architectures import build_model

QUICK = {"device": "cpu", "progress": False, "layer": "stage2", "steps": 12}


@pytest.fixture(scope="module")
def images(digits):
    return digits.test.images[:3]


@pytest.fixture(scope="module")
def network():
    return build_model("resnet10", 10, width=4, channels=1, seed=3).eval()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_the_end_is_what_invert_gives_to_the_last_bit(network, images, solver, precision, monkeypatch):
    monkeypatch.setattr("stir.inversion.representation.fast_bf16", lambda device: True)
    options = QUICK | {"solver": solver, "precision": precision, "batch_size": 2}
    alone = invert(network, images, **options)
    way = trajectory(network, images, [0, 1, 5, 12], **options)
    assert way.steps == (0, 1, 5, 12) and way.images.shape == (4, *images.shape)
    for name in ("images", "seeds", "distance", "converged"):
        assert torch.equal(getattr(way.inversion, name), getattr(alone, name))
    assert torch.equal(way.images[-1], alone.images)


def test_it_begins_at_the_seed_images_and_comes_nearer(network, images):
    way = trajectory(network, images, range(13), **QUICK, precision="float32")
    assert torch.equal(way.images[0], way.inversion.seeds.clamp(0, 1))
    distances = way.distances(network, layer="stage2", device="cpu")
    assert distances.shape == (13, 3)
    assert (distances.diff(dim=0) <= 1e-6).all()  # the best so far
    assert (distances[-1] < distances[0] / 2).all()
    torch.testing.assert_close(distances[-1], way.inversion.distance)


def test_some_steps_are_those_of_all(network, images):
    every, some = (trajectory(network, images, at, **QUICK) for at in (range(13), [3, 12]))
    assert torch.equal(every.images[[3, 12]], some.images)


def test_another_network_sees_other_distances(network, images):
    way = trajectory(network, images, [0, 12], **QUICK)
    other = build_model("vgg11", 10, width=4, channels=1, seed=0).eval()
    seen = way.distances(other, layer="stage1", device="cpu", batch_size=2)
    expected = [
        (other.stage1(other.normalize(each)) - other.stage1(other.normalize(images))).mean(dim=(2, 3)).norm(dim=1)
        / other.stage1(other.normalize(images)).mean(dim=(2, 3)).norm(dim=1)
        for each in way.images
    ]
    torch.testing.assert_close(seen, torch.stack(expected).detach())


@pytest.mark.parametrize("at", [[], [3, 1], [1, 1], [-1], [13], [1.5], ["1"]])
def test_wrong_steps(unchecked, network, images, at, monkeypatch):
    monkeypatch.setattr("stir.inversion.trajectory.descents", None)  # before any work
    with pytest.raises(ValueError, match="at=.* must be whole numbers that rise, from 0 to at most the 12 steps"):
        trajectory(network, images, at, **QUICK)
