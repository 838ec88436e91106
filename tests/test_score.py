"""STIR against closed forms, and its intervals against known truths."""

import math
import sys

import pandas as pd
import pytest
import torch
from torch import nn

import stir
from stir.intervals import mean_similarity
from stir.score import COLUMNS
from stir.similarity import linear_cka


def linear(matrix):
    """The network x -> matrix @ x, with a linear layer after it so that `None` means its output."""
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
    layer.weight.data = matrix.clone()
    return nn.Sequential(nn.Flatten(), layer, nn.Linear(matrix.shape[0], 2))


@pytest.fixture(scope="module")
def nested():
    """m1(x) = Ax and m2(x) = BAx on 4x4 images: m2 sees less than m1."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(8, 16, generator=generator)
    b = torch.randn(3, 8, generator=generator)
    images = 0.3 + 0.4 * torch.rand(60, 1, 4, 4, generator=generator)
    return linear(a), linear(b @ a), images


def test_what_sees_less_shares_every_invariance(nested):
    m1, m2, images = nested
    options = dict(images=images, seeds="uniform", steps=400, progress=False)
    assert stir.score(m2, given=m1, **options).value > 1 - 1e-3
    assert stir.score(m1, given=m2, **options).value < 0.9


def test_a_rotation_of_the_reference_changes_nothing(nested):
    m1, m2, images = nested
    q = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1))).Q
    turned = linear(q @ m1[1].weight.data)
    plain, rotated = (
        stir.score(m2, given=m, images=images, seeds="uniform", steps=300, progress=False) for m in (m1, turned)
    )
    assert rotated.value == pytest.approx(plain.value, abs=1e-3)
    assert rotated.ceiling == pytest.approx(plain.ceiling, abs=1e-3)


def test_result_carries_what_defines_it(nested):
    m1, m2, images = nested
    result = stir.score(m2, given=m1, images=images, draws=2, steps=50, seed=3, progress=False, tolerance=1.0)
    x = result.inversion.images
    with torch.no_grad():  # as many a caller has it
        values = [linear_cka(m2[1](images.flatten(1)), m2[1](x.flatten(1)))]
        x2 = stir.invert(m1, images, steps=50, seed=4, progress=False).images
        values.append(linear_cka(m2[1](images.flatten(1)), m2[1](x2.flatten(1))))
    assert result.value == pytest.approx(sum(values) / 2, abs=1e-6)
    frame = result.to_frame()
    assert tuple(frame.columns) == COLUMNS
    assert frame.n_draws.item() == 2
    assert frame.n_images.item() == len(images)
    assert frame.stir_low.item() <= frame.stir.item() <= frame.stir_high.item()
    assert "STIR(target | reference)" in repr(result)


def test_five_images_are_enough(nested):
    m1, m2, images = nested
    result = stir.score(m2, given=m1, images=images[:5], steps=300, seeds="uniform", progress=False)
    assert result.interval[0] <= result.value <= result.interval[1]


def test_a_network_scores_itself_at_the_ceiling(nested):
    m1, _, images = nested
    result = stir.score(m1, given=m1, images=images, progress=False, tolerance=1.0)
    assert result.value == pytest.approx(result.ceiling, abs=1e-9)
    assert result.cka == pytest.approx(1)


def test_pairwise_inverts_each_reference_once_a_layer(nested, monkeypatch):
    m1, m2, images = nested
    calls = []
    true = stir.invert
    monkeypatch.setattr(sys.modules["stir.score"], "invert", lambda *a, **k: calls.append(k["layer"]) or true(*a, **k))
    table = stir.pairwise({"a": m1, "b": m2, "c": m1}, images, layers=["1", None], steps=20, progress=False, tolerance=1.0)
    assert sorted(calls, key=str) == ["1"] * 3 + [None] * 3
    assert len(table) == 3 * 3 * 2
    assert set(COLUMNS) == set(table.columns)
    one = stir.score(m2, given=m1, images=images, layer="1", steps=20, progress=False, tolerance=1.0)
    row = table[(table.reference == "a") & (table.target == "b") & (table.reference_layer == "1")]
    assert row.stir.item() == pytest.approx(one.value, abs=1e-6)
    pd.testing.assert_frame_equal(
        table, stir.pairwise({"a": m1, "b": m2, "c": m1}, images, layers=["1", None], steps=20, progress=False, tolerance=1.0)
    )


def test_intervals_cover_the_truth():
    """X and Y share one factor; the truth is the mean over many samples of the same size."""
    generator = torch.Generator().manual_seed(0)

    def sample(n):
        factor = torch.randn(n, 3, generator=generator)
        return (
            torch.cat([factor, torch.randn(n, 2, generator=generator)], 1),
            factor + 0.7 * torch.randn(n, 3, generator=generator),
        )

    truth = sum(linear_cka(*sample(100)) for _ in range(600)) / 600
    trials = 200
    covered = 0
    for _ in range(trials):
        x, y = sample(100)
        _, (low, high) = mean_similarity(linear_cka, x, [y])
        covered += low <= truth <= high
    assert 0.90 <= covered / trials <= 0.99


def test_warns_of_an_inversion_that_failed(nested):
    m1, m2, images = nested
    with pytest.warns(UserWarning, match="use more than steps=1"):
        stir.score(m2, given=m1, images=images, steps=1, progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.rand(4, 1, 4, 4)}, "images holds 4"),
        ({"images": torch.rand(8, 1, 4, 4) * 2}, r"images must lie in \[0, 1\]"),
        ({"measure": "cosine"}, "measure='cosine' is unknown.*linear-cka"),
        ({"draws": 0}, "draws=0"),
        ({"draws": 2, "seeds": "white"}, "same at every draw"),
        ({"layer": "9"}, "layer='9' does not exist"),
        ({"solver": "sgd"}, "solver='sgd' is unknown.*paper"),
        ({"seeds": "noise"}, "seeds='noise' is unknown.*gaussian"),
    ],
)
def test_errors_come_before_any_step(nested, change, message, monkeypatch):
    m1, m2, images = nested
    monkeypatch.setattr("stir.inversion._descend", lambda *_: pytest.fail("work was done"))
    with pytest.raises(ValueError, match=message):
        stir.score(m2, given=m1, **{"images": images, "progress": False, **change})


def test_a_measure_that_fails_names_the_layer(nested):
    m1, _, images = nested
    constant = linear(torch.zeros(3, 16))
    with pytest.raises(ValueError, match="target 'target' at layer='1'"):
        stir.score(constant, given=m1, images=images, layer="1", steps=2, progress=False)


def test_tanh_interval_stays_in_range():
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    value, (low, high) = mean_similarity(linear_cka, x, [x])
    assert value == pytest.approx(1)
    assert low <= high <= 1
    assert not math.isnan(low)
