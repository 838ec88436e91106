"""The images that inversion begins from."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stir.inversion.seeds import draw_seeds, random_cycle


@given(n=st.integers(2, 30), seed=st.integers(0, 2**31))
def test_other_image_deals_everyone_anothers(n, seed):
    images = torch.linspace(0, 1, n)[:, None, None, None].expand(n, 1, 2, 2)
    seeds = draw_seeds(images, "other-image", seed)
    assert not (seeds == images).flatten(1).any()
    assert torch.equal(seeds[:, 0, 0, 0].sort().values, images[:, 0, 0, 0])  # each dealt once


def test_seed_kinds():
    images = torch.full((200, 1, 4, 4), 0.25)
    gaussian = draw_seeds(images, "gaussian")
    assert abs(gaussian.mean()) < 0.1 and abs(gaussian.std() - 1) < 0.1
    assert gaussian.min() < 0 and gaussian.max() > 1
    assert len(gaussian.flatten(1).unique(dim=0)) == 200
    shared = draw_seeds(images, "gaussian-shared")
    assert len(shared.flatten(1).unique(dim=0)) == 1 and shared[0].std() > 0.3
    uniform = draw_seeds(images, "uniform")
    assert 0 <= uniform.min() < 0.02 and 0.98 < uniform.max() <= 1 and abs(uniform.mean() - 0.5) < 0.03
    assert (draw_seeds(images, "white") == 1).all() and (draw_seeds(images, "black") == 0).all()
    mixed = draw_seeds(images, "mixed").flatten(1)
    white, black = (mixed == 1).all(1), (mixed == 0).all(1)
    noise = mixed[~white & ~black]
    normal = ((noise < 0) | (noise > 1)).any(1)
    counts = [int(white.sum()), int(black.sum()), int(normal.sum()), int((~normal).sum())]
    assert min(counts) > 25


@pytest.mark.parametrize("kind", ["gaussian", "gaussian-shared", "uniform", "other-image", "mixed"])
def test_seeds_follow_their_seed_and_leave_the_global_stream(kind):
    images = torch.rand(20, 1, 3, 3)
    state = torch.get_rng_state()
    assert torch.equal(draw_seeds(images, kind, 4), draw_seeds(images, kind, 4))
    assert not torch.equal(draw_seeds(images, kind, 4), draw_seeds(images, kind, 5))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", ["gaussian", "gaussian-shared", "uniform", "mixed"])
def test_seeds_do_not_depend_on_the_default_precision(kind, in_float64):
    images = torch.rand(20, 1, 3, 3)
    wanted = draw_seeds(images, kind, 4)
    with in_float64():
        assert torch.equal(draw_seeds(images, kind, 4), wanted)


def test_a_tensor_of_seeds_is_taken_as_it_is():
    images = torch.rand(6, 1, 4, 4)
    seeds = torch.rand_like(images)
    assert torch.equal(draw_seeds(images, seeds), seeds)


@given(n=st.integers(2, 50), seed=st.integers(0, 1000))
def test_a_cycle_passes_through_everyone(n, seed):
    dealt = random_cycle(n, torch.Generator().manual_seed(seed)).tolist()
    at, seen = 0, set()
    while at not in seen:
        seen.add(at)
        at = dealt[at]
    assert len(seen) == n


def test_other_image_needs_another():
    with pytest.raises(ValueError, match="seeds='other-image' needs at least 2 images"):
        draw_seeds(torch.rand(1, 1, 4, 4), "other-image")


@pytest.mark.parametrize(
    ("seeds", "text"),
    [
        ("cats", "seeds='cats' is unknown; use a tensor or one of gaussian, .*mixed"),
        (torch.zeros(6, 1, 4, 5), r"seeds has shape \(6, 1, 4, 5\); it must be that of images, \(6, 1, 4, 4\)"),
        (torch.full((6, 1, 4, 4), torch.nan), "seeds holds NaN or infinite pixels"),
    ],
)
def test_wrong_seeds(seeds, text):
    with pytest.raises(ValueError, match=text):
        draw_seeds(torch.rand(6, 1, 4, 4), seeds)
