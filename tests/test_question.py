"""Questions are checked before any work, and their X' are made once for each who needs them."""

import pytest
import torch
from torch import nn

import stir
from stir.scoring.question import Made, Question, check, make_all


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 2)).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def question(images, *, layer=None, given_layer=None, measure="linear-cka", draws=1, also=(), **inversion):
    return Question(
        images, layer, given_layer, measure, draws, {"steps": 3, "tolerance": 1.0, "progress": False, **inversion}, also
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.rand(4, 1, 4, 4)}, "images holds 4 image"),
        ({"measure": "cosine"}, "measure='cosine' is unknown.*linear-cka"),
        ({"also": ("cosine",)}, "measure='cosine' is unknown"),
        ({"also": ("linear-cka",)}, "nor 'linear-cka', which is measured anyway"),
        ({"also": ("rsa", "rsa")}, r"also=\['rsa', 'rsa'\] must hold no measure twice"),
        ({"draws": 0}, "draws=0 must be at least 1"),
        ({"draws": 2, "seeds": torch.rand(6, 1, 4, 4)}, "same at every draw"),
    ],
)
def test_what_has_no_answer_is_refused(images, change, message):
    with pytest.raises(ValueError, match=message):
        question(**{"images": images, **change})
    with pytest.raises(ValueError, match=message):
        check(**{"images": images, **change})


def test_check_takes_what_can_be_answered(images):
    check(images, also=["rsa"], draws=2, steps=3)


def test_each_draw_is_an_inversion_from_seeds_of_its_own(images):
    model = network(0)
    asked = question(images, draws=2, seed=5)
    for seed, drawn in zip((5, 6), asked.draw(asked.maker(model)), strict=True):
        alone = stir.invert(model, images, seed=seed, steps=3, tolerance=1.0, progress=False)
        assert torch.equal(drawn.images, alone.images)


def test_the_reference_is_inverted_at_its_own_layer(images):
    asked = question(images, layer="1", given_layer="2")
    (found,) = asked.draw(asked.maker(network(0)))
    assert torch.equal(found.images, stir.invert(network(0), images, layer="2", steps=3, progress=False).images)


def test_features_are_those_of_the_asked_layer(images):
    model = network(0)
    with question(images, batch_size=4).features_of(model, "1") as see:
        torch.testing.assert_close(see(images), model[:2](images))


def test_images_of_all_draws_come_in_order(images):
    asked = question(images, draws=3)
    draws = asked.draw(asked.maker(network(0)))
    made = Made("a", ["a"], draws)
    assert [torch.equal(part, draw.images) for part, draw in zip(made.images.chunk(3), draws, strict=True)] == [
        True
    ] * 3


def test_one_reference_serves_all_targets(images):
    models = {"a": network(0), "b": network(1)}
    layers = ("1", None)
    for layer, made in zip(
        layers, make_all([question(images, given_layer=layer) for layer in layers], models, False), strict=True
    ):
        assert [(each.reference, list(each.targets)) for each in made] == [("a", ["a", "b"]), ("b", ["a", "b"])]
        for each in made:
            alone = stir.invert(models[each.reference], images, layer=layer, steps=3, progress=False)
            assert torch.equal(each.images, alone.images)


def test_the_worst_case_serves_one_target_alone(images):
    models = {name: network(seed) for seed, name in enumerate("abc")}
    (made,) = make_all([question(images)], models, True)
    assert [(each.reference, *each.targets) for each in made] == [(x, y) for x in "abc" for y in "abc" if x != y]
    for each in made:
        alone = stir.controversial(
            models[each.reference], models[each.targets[0]], images, steps=3, tolerance=1.0, progress=False
        )
        torch.testing.assert_close(
            each.images, alone.images, atol=1e-5, rtol=0
        )  # in a process with fewer threads, perhaps


def test_the_worst_case_has_a_solver_of_its_own(images):
    with pytest.raises(ValueError, match="worst_case=True has a solver of its own"):
        make_all([question(images, solver="paper")], {"a": network(0), "b": network(1)}, True)
