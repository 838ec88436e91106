"""Pictures of a page are made once."""

import pytest
import torch
from helpers.networks import TINY

import stir
from stir.inversion.representation import Representation
from stir.study import pictures
from stir.training.trained import TrainedModels, trained_models

QUICK = dict(steps=3, device="cpu", progress=False)


@pytest.fixture
def models(small, own_store) -> TrainedModels:
    return trained_models({"a": {}, "b": {"seed": 1}}, architecture="resnet10", dataset=small, **TINY)


def same(one, other):
    pairs = [(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def test_inverted_images_are_those_of_invert_and_made_once(models, small, monkeypatch):
    images = small.test.one_of_each(4)
    plain = stir.invert(models["a"], images, layer="stage1", seeds="uniform", **QUICK)
    first = pictures.inverted(models, "a", images, layer="stage1", seeds="uniform", **QUICK)
    assert same(first, plain)
    monkeypatch.setattr(pictures, "invert", None)
    assert same(pictures.inverted(models, "a", images, layer="stage1", seeds="uniform", **QUICK), plain)
    for changed in ({"layer": "stage2"}, {"steps": 4}, {"seeds": "gaussian"}):
        with pytest.raises(TypeError):  # it would be made now
            pictures.inverted(models, "a", images, **{"layer": "stage1", "seeds": "uniform", **QUICK, **changed})
    with pytest.raises(TypeError):
        pictures.inverted(models, "b", images, layer="stage1", seeds="uniform", **QUICK)


def test_disagreeing_images_are_those_of_controversial_and_made_once(models, small, monkeypatch):
    images = small.test.one_of_each(4)
    plain = stir.controversial(models["a"], models["b"], images, **QUICK)
    assert same(pictures.disagreeing(models, "a", "b", images, **QUICK), plain)
    monkeypatch.setattr(pictures, "controversial", None)
    assert same(pictures.disagreeing(models, "a", "b", images, **QUICK), plain)
    with pytest.raises(TypeError):
        pictures.disagreeing(models, "b", "a", images, **QUICK)
    monkeypatch.undo()
    layers = dict(layer="stage1", given_layer="stage2")
    mixed = pictures.disagreeing(models, "a", "b", images, **layers, **QUICK)
    assert same(mixed, stir.controversial(models["a"], models["b"], images, **layers, **QUICK))
    monkeypatch.setattr(pictures, "controversial", None)
    assert same(pictures.disagreeing(models, "a", "b", images, **layers, **QUICK), mixed)
    with pytest.raises(TypeError):
        pictures.disagreeing(models, "a", "b", images, layer="stage1", **QUICK)


def test_a_descent_is_that_of_a_trajectory_and_made_once(models, small, monkeypatch):
    images = small.test.one_of_each(4)
    way = stir.trajectory(models["a"], images, [0, 1, 3], layer="stage1", **QUICK)
    options = dict(at=[1, 3], seen_by=["a", "b"], layer="stage1", **QUICK)
    first = pictures.descent(models, "a", images, **options)
    monkeypatch.setattr(pictures, "trajectory", None)
    for made in (first, pictures.descent(models, "a", images, **options)):
        assert made.steps == way.steps and list(made.distances) == ["a", "b"]
        for name, seen in made.distances.items():
            assert torch.equal(seen, way.distances(models[name], layer="stage1", device="cpu"))
        assert torch.equal(made.images, (way.images[1:] * 255).round() / 255)
    for changed in ({"at": [2, 3]}, {"seen_by": ["a"]}, {"layer": "stage2"}):
        with pytest.raises(TypeError):  # it would be made now
            pictures.descent(models, "a", images, **options | changed)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sprite_has_every_pixel_in_its_place(channels):
    images = torch.randint(256, (2, 3, channels, 4, 5)) / 255
    made = pictures.Descent((0, 1, 2), pictures.sprite(images), {"a": torch.zeros(3, 3)})
    assert torch.equal(made.images, images)


def test_another_network_sees_inverted_images_once(models, small, monkeypatch):
    images = small.test.one_of_each(4)
    inversion = pictures.inverted(models, "a", images, layer="stage1", **QUICK)
    seen = pictures.seen(models, "b", inversion, layer="stage1", device="cpu")
    represent = Representation(models["b"], images, "stage1", device="cpu")
    with represent:
        features, changed = (represent.in_batches(each) for each in (images, inversion.images))
    torch.testing.assert_close(seen, (changed - features).norm(dim=1) / features.norm(dim=1))
    monkeypatch.setattr(pictures, "relative_distance", None)
    assert torch.equal(pictures.seen(models, "b", inversion, layer="stage1", device="cpu"), seen)
    own = pictures.inverted(models, "a", images, layer="stage1", **QUICK | {"steps": 2})
    for name, of, layer in (("a", inversion, "stage1"), ("b", own, "stage1"), ("b", inversion, "stage2")):
        with pytest.raises(TypeError):  # it would be measured now
            pictures.seen(models, name, of, layer=layer, device="cpu")
