"""What a score warns of, and what it does not."""

import pytest
import torch
from helpers.small_networks import nested_networks, with_head

import stir


@pytest.fixture(scope="module")
def nested():
    return nested_networks()


def test_warns_of_an_inversion_that_failed(nested):
    m1, m2, images = nested
    with pytest.warns(UserWarning, match="use more than steps=1"):
        stir.score(m2, given=m1, images=images, steps=1, progress=False)


def test_warns_of_a_worst_case_that_some_searches_did_not_find(nested):
    m1, m2, images = nested
    options = dict(given=m2, images=images, seeds="uniform", tolerance=0.01, progress=False)
    message = (
        r"inverting 'reference' at layer 'penultimate' against 'target' .* the worst case is not to be trusted; "
        "use more than steps=110 or a larger"
    )
    with pytest.warns(UserWarning, match=message):
        worst = stir.score(m1, worst_case=True, steps=110, **options)
    assert 0.5 < worst.converged < 0.9 and worst.ceiling > 0.95  # enough for an average, which would not be warned of
    stir.score(m1, worst_case=True, steps=600, **options)


def test_warns_once_of_all_scores_that_may_be_no_more_than_the_floor():
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(64, 64, generator=generator)).Q
    models = {name: with_head(basis[6 * i : 6 * i + 6].contiguous()) for i, name in enumerate("abc")}
    images, seeds = torch.rand(2, 100, 1, 8, 8, generator=generator)
    options = dict(layers=["1"], seeds=seeds, solver="nearest", steps=100, progress=False)
    with pytest.warns(UserWarning, match=r"6 of 9 scores have an interval .* STIR\(b \| a\) at layer '1'") as warned:
        stir.pairwise(models, images, **options)
    assert len(warned) == 1
    stir.pairwise({"a": models["a"]}, images, **options)  # a warning would end the test


@pytest.mark.parametrize("call", ["score", "pairwise"])
def test_warns_of_an_interval_without_the_seeds_share(nested, call):
    m1, m2, images = nested
    options = dict(seeds="gaussian-shared", steps=100, tolerance=1.0, progress=False)
    measure = {
        "score": lambda **more: stir.score(m2, given=m1, images=images, **options, **more).to_frame(),
        "pairwise": lambda **more: stir.pairwise({"a": m1, "b": m2}, images, layers=["1", None], **options, **more),
    }[call]
    with pytest.warns(
        UserWarning,
        match="seeds='gaussian-shared' with draws=1: .* leave out how STIR varies with the one seed image; use draws=",
    ) as warned:
        measure()
    assert len(warned) == 1  # for all layers
    measure(draws=2)  # a warning would end the test
