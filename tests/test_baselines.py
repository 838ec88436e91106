"""The baselines against closed forms, and against networks made by hand."""

import math
import threading

import pytest
import torch
from torch import nn

import stir
from stir.scoring.baselines import FRESH_SEED, Baselines, with_fresh_weights
from stir.scoring.question import Made, Question
from stir.similarity import linear_cka


@pytest.fixture(scope="module")
def images():
    return torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def network(seed, width=8):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 2)).eval()


def question(images, *, layer="1", measure="linear-cka", draws=1, also=(), **inversion):
    return Question(images, layer, layer, measure, draws, {"device": "cpu", "progress": False, **inversion}, also)


def made(images, again):
    """X' as they are given, one set a draw."""
    zeros = torch.zeros(len(images))
    return Made(
        "reference", ["target"], [stir.Inversion(each, images, zeros, zeros == 0, 1, 0.1, images) for each in again]
    )


@pytest.mark.parametrize("architecture", ["resnet10", "resnet10-noskip", "vgg11", "wide-resnet16-4", "vit"])
def test_fresh_weights_are_those_of_a_new_network(architecture):
    sizes = dict(num_classes=3, width=4, channels=1, mean=[0.3], std=[0.2])
    used = stir.build_model(architecture, seed=1, **sizes).train()
    used(torch.rand(8, 1, 16, 16)).sum().backward()
    torch.optim.SGD(used.parameters(), 0.1).step()
    before = {name: tensor.clone() for name, tensor in used.state_dict().items()}
    fresh, truth = (
        with_fresh_weights(used, seed=5).state_dict(),
        stir.build_model(architecture, seed=5, **sizes).state_dict(),
    )
    assert fresh.keys() == truth.keys()
    assert all(
        torch.equal(fresh[name], truth[name]) for name in truth
    )  # the normalization's constants and the norms' statistics among them
    assert all(torch.equal(tensor, before[name]) for name, tensor in used.state_dict().items())


def test_fresh_weights_leave_the_random_stream_alone():
    model = network(0)
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    with_fresh_weights(model)
    assert torch.equal(torch.rand(2), wanted)


class Scale(nn.Module):
    """A module whose weights nobody knows how to draw."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * self.factor


def test_weights_that_cannot_be_drawn_anew_are_named():
    with pytest.raises(ValueError, match="Scale has parameters and no `reset_parameters`"):
        with_fresh_weights(nn.Sequential(nn.Linear(2, 2), Scale()))
    locked = network(0)
    locked.lock = threading.Lock()
    with pytest.raises(ValueError, match="Sequential cannot be copied"):
        with_fresh_weights(locked)


def test_without_fresh_weights_there_is_no_number(images):
    own = network(1)
    scaled = nn.Sequential(own[0], own[1], Scale(), own[3])
    result = stir.score(scaled, given=network(0), images=images, layer="1", seeds="uniform", steps=60, progress=False)
    assert math.isnan(result.untrained) and 0 < result.pixels < 1 and 0 < result.value <= 1


def test_pixels_that_did_not_change_score_one(images):
    asked = question(images, also=("rsa", "mean-cca"))
    scores = Baselines(asked).pixels(made(images, [images.clone()]))
    assert (
        scores["linear-cka"] == pytest.approx(1)
        and scores["rsa"] == pytest.approx(1)
        and scores["mean-cca"] == pytest.approx(1)
    )


def test_pixels_of_a_projection_have_a_closed_form():
    """x' = z + A^+ A (x - z) for seeds near gray, which stay inside [0, 1]: of pixels the same number, whatever the target is."""
    generator = torch.Generator().manual_seed(4)
    images, seeds = (0.5 + 0.04 * torch.randn(100, 1, 4, 4, generator=generator) for _ in range(2))
    reference = nn.Sequential(nn.Flatten(), nn.Linear(16, 5, bias=False), nn.Linear(5, 2))
    reference[1].weight.data = torch.randn(5, 16, generator=generator)
    seen = torch.linalg.pinv(reference[1].weight.data) @ reference[1].weight.data
    x, z = images.flatten(1), seeds.flatten(1)
    again = z + (x - z) @ seen.T
    result = stir.score(
        network(2),
        given=reference,
        images=images,
        layer="1",
        seeds=seeds,
        solver="nearest",
        progress=False,
        device="cpu",
    )
    assert result.pixels == pytest.approx(linear_cka(x, again), abs=0.005)
    assert result.moved == pytest.approx((again - z).norm(dim=1).mean().item(), abs=0.005)
    assert result.towards == pytest.approx(((again - x).norm(dim=1) / (z - x).norm(dim=1)).mean().item(), abs=0.005)
    # A target of the pixels themselves has nothing beyond them.
    pixels = nn.Sequential(nn.Flatten(), nn.Identity())
    itself = stir.score(
        pixels,
        given=reference,
        images=images,
        layer="1",
        given_layer="1",
        seeds=seeds,
        solver="nearest",
        progress=False,
        device="cpu",
    )
    assert itself.value == pytest.approx(itself.pixels) and itself.untrained == pytest.approx(itself.pixels)


def test_untrained_is_the_score_of_a_network_made_by_hand(images):
    target = network(1)
    again = [
        torch.rand(images.shape, generator=torch.Generator().manual_seed(seed)) * 0.3 + images * 0.7 for seed in (1, 2)
    ]
    drawn = made(images, again)
    scores = Baselines(question(images, draws=2, also=("rsa",))).untrained(target, [drawn])
    fresh = network(FRESH_SEED)
    with torch.no_grad():
        values = [linear_cka(fresh[1](images.flatten(1)), fresh[1](each.flatten(1))) for each in again]
    assert scores[id(drawn)]["linear-cka"] == pytest.approx(sum(values) / 2, abs=1e-6)
    assert 0 < scores[id(drawn)]["rsa"] < 1


def test_targets_of_one_architecture_share_the_work(images, monkeypatch):
    drawn, passes = made(images, [images * 0.5]), []
    baselines = Baselines(question(images))
    true = Question.features_of

    def watched(asked, model, layer):
        passes.append(model)
        return true(asked, model, layer)

    monkeypatch.setattr(Question, "features_of", watched)
    monkeypatch.setattr(baselines, "_scores", lambda *_, own=baselines._scores: passes.append("scored") or own(*_))
    one, other, wider = (
        baselines.untrained(network(seed, width), [drawn])[id(drawn)] for seed, width in ((1, 8), (2, 8), (2, 9))
    )
    assert one == other != wider
    assert passes.count("scored") == 2


def test_a_measure_that_refuses_has_no_baseline():
    images = torch.rand(
        12, 1, 4, 4, generator=torch.Generator().manual_seed(0)
    )  # 16 pixels, more than there are images

    def of_two(x, y):
        if x.shape[1] != 8:
            raise RuntimeError("only of eight features")
        return 1.0

    result = stir.score(
        network(1),
        given=network(0),
        images=images,
        layer="1",
        measure=of_two,
        seeds="uniform",
        steps=60,
        progress=False,
    )
    assert math.isnan(result.pixels) and result.untrained == 1.0
    table = stir.pairwise(
        {"a": network(0, 3)}, images, layers=["1"], also=["mean-cca"], seeds="uniform", steps=60, progress=False
    )
    assert table.pixels.isna().tolist() == [False, True] and table.untrained.notna().all()


@pytest.mark.parametrize("norm", [nn.utils.spectral_norm, nn.utils.parametrizations.weight_norm])
def test_weights_behind_a_norm_are_not_taken_for_fresh(norm):
    network = nn.Sequential(nn.Flatten(), norm(nn.Linear(16, 4)))
    with pytest.raises(
        ValueError,
        match="is not drawn anew by its module's `reset_parameters`|has parameters and no `reset_parameters`",
    ):
        with_fresh_weights(network, 0)
