"""The baselines against closed forms, and against networks made by hand."""

import math

import pytest
import torch
from helpers.small_networks import Unresettable, small_network
from torch import nn

import stir
from stir.inversion.options import InversionOptions
from stir.networks.fresh_weights import FRESH_SEED
from stir.scoring.baselines import Baselines
from stir.scoring.draws import Draws
from stir.scoring.question import Question
from stir.similarity import linear_cka


@pytest.fixture(scope="module")
def images():
    return torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def question(images, **changes):
    return Question(images, "1", "1", options=InversionOptions(device="cpu", progress=False), **changes)


def draws_of(images, inverted):
    """Draws whose X' are given."""
    zeros = torch.zeros(len(images))
    inversions = [stir.Inversion(each, images, zeros, zeros == 0, "paper", 1, 0.1, images) for each in inverted]
    return Draws("reference", ["target"], inversions)


def test_without_fresh_weights_there_is_no_number(images):
    own = small_network(1)
    scaled = nn.Sequential(own[0], own[1], Unresettable(), own[3])
    result = stir.score(
        scaled, given=small_network(0), images=images, layer="1", seeds="uniform", steps=60, progress=False
    )
    assert math.isnan(result.untrained) and 0 < result.pixels < 1 and 0 < result.value <= 1


def test_pixels_that_did_not_change_score_one(images):
    scores = Baselines(question(images, also=("rsa", "mean-cca"))).pixels(draws_of(images, [images.clone()]))
    assert scores == pytest.approx({"linear-cka": 1, "rsa": 1, "mean-cca": 1})


def test_pixels_of_a_projection_have_a_closed_form():
    """x' = z + A^+ A (x - z) for seeds near gray, which stay inside [0, 1]."""
    generator = torch.Generator().manual_seed(4)
    images, seeds = (0.5 + 0.04 * torch.randn(100, 1, 4, 4, generator=generator) for _ in range(2))
    reference = nn.Sequential(nn.Flatten(), nn.Linear(16, 5, bias=False), nn.Linear(5, 2))
    reference[1].weight.data = torch.randn(5, 16, generator=generator)
    seen = torch.linalg.pinv(reference[1].weight.data) @ reference[1].weight.data
    x, z = images.flatten(1), seeds.flatten(1)
    again = z + (x - z) @ seen.T
    result = stir.score(
        small_network(2),
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
    target = small_network(1)
    noise = [torch.rand(images.shape, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    inverted = [0.3 * each + 0.7 * images for each in noise]
    draws = draws_of(images, inverted)
    scores = Baselines(question(images, draws=2, also=("rsa",))).untrained("target", target, [draws])[draws]
    fresh = small_network(FRESH_SEED)
    with torch.no_grad():
        values = [linear_cka(fresh[1](images.flatten(1)), fresh[1](each.flatten(1))) for each in inverted]
    assert scores["linear-cka"] == pytest.approx(sum(values) / 2, abs=1e-6)
    assert 0 < scores["rsa"] < 1


def test_targets_of_one_architecture_share_the_work(images, monkeypatch):
    draws, baselines, scored = draws_of(images, [images * 0.5]), Baselines(question(images)), []

    def watched(*features, score=baselines._scores):
        scored.append(features)
        return score(*features)

    monkeypatch.setattr(baselines, "_scores", watched)
    networks = [small_network(seed, width) for seed, width in ((1, 8), (2, 8), (2, 9))]
    one, other, wider = (baselines.untrained("target", each, [draws])[draws] for each in networks)
    assert one == other != wider
    assert len(scored) == 2


def test_a_measure_that_refuses_has_no_baseline():
    images = torch.rand(
        12, 1, 4, 4, generator=torch.Generator().manual_seed(0)
    )  # 16 pixels, more than there are images

    def of_two(x, y):
        if x.shape[1] != 8:
            raise RuntimeError("only of eight features")
        return 1.0

    result = stir.score(
        small_network(1),
        given=small_network(0),
        images=images,
        layer="1",
        measure=of_two,
        seeds="uniform",
        steps=60,
        progress=False,
    )
    assert math.isnan(result.pixels) and result.untrained == 1.0
    table = stir.pairwise(
        {"a": small_network(0, 3)}, images, layers=["1"], also=["mean-cca"], seeds="uniform", steps=60, progress=False
    )
    assert table.pixels.isna().tolist() == [False, True] and table.untrained.notna().all()
