"""What a score warns of, and what it does not."""

import warnings

import pytest
import torch
from helpers.small_networks import nested_networks, with_head

import stir
from stir.scoring.cautions import warn_of_scores


@pytest.fixture(scope="module")
def nested():
    return nested_networks()


def test_warns_of_an_inversion_that_failed(nested):
    m1, m2, images = nested
    with pytest.warns(UserWarning, match="use more than steps=1 of the solver 'tethered'$"):
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


def unrelated():
    """Three networks that see nothing of what another sees, images, and how they are compared."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(64, 64, generator=generator)).Q
    models = {name: with_head(basis[6 * i : 6 * i + 6].contiguous()) for i, name in enumerate("abc")}
    images, seeds = torch.rand(2, 100, 1, 8, 8, generator=generator)
    return models, images, dict(seeds=seeds, solver="nearest", progress=False)


def test_warns_once_of_all_pairs_that_are_not_above_a_baseline():
    models, images, options = unrelated()
    with pytest.warns(UserWarning, match="6 of 6") as warned:
        table = stir.pairwise(models, images, layers=["1"], also=["rsa"], steps=100, **options)
    (message,) = [str(warning.message) for warning in warned]
    pairs = table[(table.reference != table.target) & (table.measure == "linear-cka")]
    baselines = pairs[["floor", "pixels", "untrained"]]
    assert (pairs.stir_low <= pairs.floor).all()
    worst = pairs.loc[(pairs.stir_low - baselines.max(axis=1)).idxmin()]
    below = " and ".join(f"{name} {worst[name]:.3f}" for name in baselines if worst.stir_low <= worst[name])
    assert message.startswith(
        "6 of 6 scores are not above their baselines, the worst first: "
        f"STIR({worst.target} | {worst.reference}) at layer '1' is {worst.stir:.3f} [{worst.stir_low:.3f}, "
        f"{worst.stir_high:.3f}], which does not lie above {below}; STIR("
    )
    assert message.count("STIR(") == 3
    assert "a target to which X' say nothing about X and the images themselves as pixels" in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stir.pairwise({"a": models["a"]}, images, layers=["1"], steps=100, **options)


def test_warns_of_a_score_below_what_the_pixels_score(nested):
    """Where the seeds are near the images, any network has a high score, as the pixels have."""
    m1, m2, images = nested
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    options = dict(given=m2, images=images, seeds=(images + 0.02 * noise).clamp(0, 1), steps=60, progress=False)
    with pytest.warns(UserWarning, match="fresh weights|pixels") as warned:
        low = stir.score(m1, **options)
    (message,) = [str(warning.message) for warning in warned]
    named = [name for name in ("floor", "pixels", "untrained") if f"{name} {getattr(low, name):.3f}" in message]
    assert named == [name for name in ("floor", "pixels", "untrained") if low.interval[0] <= getattr(low, name)]
    assert low.floor < 0.5 < low.pixels < low.value and "pixels" in named
    assert message.endswith("; more images make intervals narrower")
    with pytest.warns(UserWarning, match="as pixels and .* fresh weights$"):  # which would lift no score above them
        warn_of_scores(low.to_frame().assign(pixels=1.0), "linear-cka", False, 0.1)
    assert message.startswith(f"STIR(target | reference) at layer 'penultimate' is {low.value:.3f} [")
    with pytest.warns(
        UserWarning, match="the worst case"
    ) as warned:  # only of the searches that found nothing, not of a low end
        stir.score(m1, worst_case=True, tolerance=1e-6, **options)
    assert [str(warning.message)[:9] for warning in warned] == ["inverting"]


def test_warns_once_of_each_measure_that_returned_nan(nested):
    m1, m2, images = nested

    def not_of_itself(x, y):
        return float("nan") if torch.equal(x, y) else 0.5

    def nothing(x, y):
        return float("nan")

    options = dict(steps=100, tolerance=1.0, progress=False)
    with pytest.warns(UserWarning, match="returned NaN") as warned:
        table = stir.pairwise({"a": m1, "b": m2}, images, also=[not_of_itself, nothing], **options)
    assert table.stir.isna().sum() == 4 and table.cka.isna().sum() == 6
    assert [text for warning in warned if "NaN" in (text := str(warning.message))] == [
        f"{name} returned NaN for {count} of 4 pairs, such as STIR(a | a) at layer 'penultimate'; let it raise a "
        "ValueError that says why it cannot compare them"
        for name, count in (("not_of_itself", 2), ("nothing", 4))
    ]
    with pytest.warns(UserWarning, match=r"^nothing returned NaN for 1 of 1 pairs, such as STIR\(target \| reference"):
        stir.score(m2, given=m1, images=images, measure=nothing, **options)


def test_warns_once_of_all_inversions_that_failed():
    models, images, options = unrelated()
    with pytest.warns(UserWarning, match="inverting") as warned:
        table = stir.pairwise(models, images, layers=["1", None], steps=1, **options)
    (message,) = [text for warning in warned if "inverting" in (text := str(warning.message))]
    poor = table.drop_duplicates(["reference", "reference_layer"])
    assert len(poor) == 6
    worst = poor.sort_values(["converged", "ceiling"], kind="stable").iloc[0]
    assert message.startswith(
        f"6 of 6 inversions are poor, the worst first: inverting {worst.reference!r} at layer "
        f"{worst.reference_layer!r} ended with ceiling {worst.ceiling:.3f} and {worst.converged:.0%} of the images "
        "within 0.1; "
    )
    advice = "STIR is not to be trusted; use more than steps=1 of the solver 'nearest'"
    assert message.count("ended with") == 3 and message.endswith(advice)


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
