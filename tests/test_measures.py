"""Similarity measures against independent NumPy and SciPy implementations, known values, invariances and refusals."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import scipy.linalg
import torch
from helpers.representations import (
    GOOD,
    REFERENCES,
    REFUSED,
    gaussian_kernel,
    hsic_alignment,
    pair,
    reference_svcca,
    seeds,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import procrustes as scipy_procrustes
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from stir.similarity.measures import (
    MEASURE_NAMES,
    MEASURES,
    get_measure,
    linear_cka,
    mean_cca,
    procrustes,
    rbf_cka,
    rsa,
    short_name,
    svcca,
    unbiased_cka,
)

every_measure = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)

SHAPES = [(4, 1, 2), (40, 3, 7), (41, 12, 1), (60, 40, 30), (20, 300, 15), (25, 90, 60)]
DEFINED = [
    (name, *shape) for name in MEASURES for shape in SHAPES if "cca" not in name or max(shape[1:]) <= shape[0] - 2
]


@pytest.mark.parametrize(("name", "n", "p", "q"), DEFINED)
def test_matches_an_independent_implementation(name, n, p, q):
    x, y = pair(n, p, q)
    assert MEASURES[name](x, y) == pytest.approx(REFERENCES[name](x.numpy(), y.numpy()), rel=1e-9, abs=1e-12)


def test_svcca_matches_its_reference_where_features_outnumber_images():
    x, y = (
        side @ torch.randn(4, 80, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        for side in pair(30, 4, 4)
    )
    assert svcca(x, y) == pytest.approx(reference_svcca(x.numpy(), y.numpy()), rel=1e-9)


def test_svcca_drops_the_last_percent_of_variance():
    x, y = pair(200, 3, 3)
    weak = torch.tensor([1.0, 1.0, 0.05], dtype=torch.float64)
    assert svcca(x * weak, y) == pytest.approx(svcca(x[:, :2], y), abs=0.01)
    assert mean_cca(x * weak, y) == pytest.approx(mean_cca(x, y), rel=1e-9)


def test_procrustes_is_what_scipy_minimises():
    x, y = pair(30, 4, 4)
    disparity = scipy_procrustes(x.numpy(), y.numpy())[2]
    assert 1 - procrustes(x, y) ** 2 == pytest.approx(disparity, rel=1e-9)


def test_rsa_ranks_ties_by_average():
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0], [9.0]])
    y = torch.tensor([[0.0], [1.0], [2.0], [4.0], [4.0]])
    assert rsa(x, y) == pytest.approx(spearmanr(pdist(x), pdist(y)).statistic, rel=1e-12)
    x = torch.randint(
        -10, 11, (23, 1), generator=torch.Generator().manual_seed(0)
    ).double()  # centring would break ties
    y = pair(23, 3, 1)[0]
    assert rsa(x, y) == pytest.approx(spearmanr(pdist(x), pdist(y)).statistic, rel=1e-12)


def test_rbf_bandwidth_is_a_fraction_of_the_median_distance():
    x, y = pair(30, 4, 6)
    for bandwidth in (0.3, 2.0):
        expected = hsic_alignment(gaussian_kernel(x.numpy(), bandwidth), gaussian_kernel(y.numpy(), bandwidth))
        assert rbf_cka(x, y, bandwidth=bandwidth) == pytest.approx(expected, rel=1e-9)


def test_a_wide_gaussian_kernel_gives_linear_cka():
    x, y = pair(30, 4, 6)
    assert rbf_cka(x, y, bandwidth=1e6) == pytest.approx(linear_cka(x, y), rel=1e-9)


# --- Known values ---


@every_measure
@pytest.mark.parametrize("p", [1, 5])
def test_a_representation_is_identical_to_itself(measure, p):
    values = [measure(x, x) for x, _ in (pair(20, p, 1, seed) for seed in range(20))]
    assert values == pytest.approx([1] * 20, abs=1e-12)
    assert max(values) <= 1  # rounding does not carry it past the range


def test_known_values_on_orthogonal_features():
    columns = torch.tensor(scipy.linalg.hadamard(8), dtype=torch.float64)[:, 1:]
    x, half, none = columns[:, :2], columns[:, 1:3], columns[:, 2:4]
    for measure in (linear_cka, procrustes, mean_cca, svcca):
        assert measure(x, half) == pytest.approx(0.5, abs=1e-12)
        assert measure(x, none) == pytest.approx(0, abs=1e-12)


def test_biased_cka_has_a_floor_and_unbiased_cka_has_none():
    generator = torch.Generator().manual_seed(0)
    n, p = 600, 300
    x, y = (torch.randn(n, p, generator=generator) for _ in range(2))
    assert linear_cka(x, y) == pytest.approx(p / (n + p), abs=0.005)
    assert unbiased_cka(x, y) == pytest.approx(0, abs=0.01)


def test_unbiased_cka_averages_to_zero_where_biased_cka_does_not():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200, 2, 12, 4, generator=generator)
    unbiased = [unbiased_cka(x, y) for x, y in noise]
    assert abs(np.mean(unbiased)) < 0.02 and min(unbiased) < -0.1
    assert np.mean([linear_cka(x, y) for x, y in noise]) > 0.2


def test_a_dead_feature_counts_for_nothing():
    x, y = pair(30, 4, 6)
    padded = torch.cat([x, torch.full((30, 1), 0.1, dtype=x.dtype)], dim=1)
    for measure in MEASURES.values():
        assert measure(padded, y) == pytest.approx(measure(x, y), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_mean_cca_does_not_count_directions_made_by_rounding(dtype):
    x, y = (side.to(dtype) for side in pair(50, 3, 20))
    dependent = x @ torch.randn(3, 40, generator=torch.Generator().manual_seed(0), dtype=dtype)
    assert mean_cca(dependent, y) == pytest.approx(mean_cca(x, y), rel=1e-5)


# --- What changes a measure, and what does not ---

representations = st.builds(pair, st.integers(10, 24), st.integers(1, 8), st.integers(1, 8), seed=st.integers(0, 2**31))


def orthogonal(p, seed):
    return torch.linalg.qr(torch.randn(p, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).Q


@every_measure
@given(both=representations, seed=seeds, scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_invariant_to_rotation_scale_shift_and_order(measure, both, seed, scale, shift):
    x, y = both
    value = measure(x, y)
    close = pytest.approx(value, rel=1e-7, abs=1e-9)
    assert measure(scale * x @ orthogonal(x.shape[1], seed) + shift, y) == close
    assert measure(x, -scale * y + shift * torch.arange(y.shape[1])) == close
    assert measure(y, x) == close
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    assert measure(x[order], y[order]) == close
    assert -1 <= value <= 1


@every_measure
def test_depends_on_which_image_is_which(measure):
    x, y = pair(30, 4, 4)
    assert measure(x, y.roll(1, dims=0)) < measure(x, y) - 0.1


@pytest.mark.parametrize("name", [name for name in MEASURES if name not in ("mean-cca", "svcca")])
def test_changes_under_an_invertible_map_that_is_no_rotation(name):
    x, y = pair(40, 4, 4)
    stretched = x * torch.tensor([1.0, 1.0, 1.0, 20.0])
    assert abs(MEASURES[name](stretched, y) - MEASURES[name](x, y)) > 0.01


@given(both=representations, seed=seeds)
def test_mean_cca_is_invariant_to_invertible_maps(both, seed):
    x, y = both
    p = x.shape[1]
    stretch = torch.diag(torch.logspace(0, 3, p, dtype=torch.float64))
    assert mean_cca(x @ orthogonal(p, seed) @ stretch @ orthogonal(p, seed + 1), y) == pytest.approx(
        mean_cca(x, y), rel=1e-7
    )


# --- Precision, dtypes, devices ---


@every_measure
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_any_float_dtype_is_computed_in_float64(measure, dtype):
    x, y = (side.to(dtype) for side in pair(40, 5, 6))
    before = x.clone()
    value = measure(x.requires_grad_(), y)
    assert type(value) is float
    assert value == pytest.approx(measure(x.detach().double(), y.double()), rel=1e-12)
    assert torch.equal(x, before)


@every_measure
def test_autocast_costs_no_digits(measure):
    x, y = pair(40, 5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert measure(x.float(), y.float()) == pytest.approx(
            measure(x.float().double(), y.float().double()), rel=1e-12
        )


@pytest.mark.parametrize("name", MEASURES)
def test_an_offset_that_all_images_share_costs_no_digits(name):
    x, y = (1e5 + 0.1 * side for side in pair(60, 5, 6))  # the Gram matrices would lose 14 of 16 digits
    centred = [(side.numpy() - side.numpy().astype(np.longdouble).mean(0)).astype(float) for side in (x, y)]
    assert MEASURES[name](x, y) == pytest.approx(REFERENCES[name](*centred), rel=1e-9)


@every_measure
@pytest.mark.parametrize("scale", [1e-50, 1e50])
def test_extreme_scales_are_no_obstacle(measure, scale):
    x, y = pair(40, 5, 6)
    assert measure(scale * x, y) == pytest.approx(measure(x, y), rel=1e-9)


@every_measure
def test_a_gpu_gives_the_same_number(gpu, measure):
    for x, y in (pair(40, 5, 6), pair(200, 20, 30)):
        assert measure(x.to(gpu), y.to(gpu)) == pytest.approx(measure(x, y), rel=1e-9)
        assert measure(x.to(gpu), y) == pytest.approx(measure(x, y), rel=1e-9)


# --- Refusals ---


@every_measure
@pytest.mark.parametrize(("bad", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses_what_cannot_be_compared(measure, bad, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        measure(bad, GOOD)


@every_measure
def test_refuses_constant_features_whose_computed_mean_is_not_the_constant(measure):
    x = torch.full((1000, 2), 1 / 3, dtype=torch.float64)
    assert (x - x.mean(0)).abs().max() > torch.finfo(x.dtype).eps / 3
    with pytest.raises(ValueError, match="^x is constant"):
        measure(x, pair(1000, 1, 1)[0])


@every_measure
@pytest.mark.parametrize("case", ["integers", "maps", "nan", "few", "constant"])
def test_the_error_names_y_where_y_is_at_fault(measure, case):
    bad, message = REFUSED[case]
    with pytest.raises(ValueError, match="^" + re.escape(message.replace("x", "y", 1).replace(" x.", " y."))):
        measure(GOOD, bad)


def test_variation_is_judged_by_the_precision_of_the_dtype():
    x = 1000 + 3e-5 * GOOD.double()  # below float32's resolution at 1000, far above float64's
    assert linear_cka(x, GOOD) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("images", [6, 8])
def test_unbiased_cka_refuses_one_hot_features(images):
    with pytest.raises(
        ValueError, match="^y has a U-centred Gram matrix of zero, as one-hot features have; use linear-cka"
    ):
        unbiased_cka(GOOD[:images], torch.eye(images))
    only_one = torch.zeros(8, 1)
    only_one[3] = 2
    with pytest.raises(ValueError, match="^x has a U-centred Gram matrix of zero"):
        unbiased_cka(only_one, GOOD)
    assert 0 < linear_cka(GOOD[:images], torch.eye(images)) < 1


def test_rsa_refuses_images_that_are_all_equally_far_apart():
    with pytest.raises(ValueError, match="^y places all images equally far apart; pass more varied images or another"):
        rsa(GOOD, torch.eye(8))
    with pytest.raises(ValueError, match="^x places all images equally far apart"):
        rsa(torch.eye(8) @ orthogonal(8, 0).float() + 5, GOOD)


def test_rbf_cka_refuses_images_that_mostly_coincide():
    x = torch.zeros(8, 3)
    x[0] = 1
    with pytest.raises(ValueError, match="^x places most pairs of images at one point; pass more varied images"):
        rbf_cka(x, GOOD)


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, 1e-9, 1e9, math.inf, math.nan])
def test_rbf_cka_refuses_a_bandwidth_out_of_range(bandwidth):
    with pytest.raises(
        ValueError, match=rf"^bandwidth={re.escape(str(bandwidth))} must lie in \[1e-6, 1e6\]; 1.0 is the"
    ):
        rbf_cka(GOOD, GOOD, bandwidth=bandwidth)


@pytest.mark.parametrize("measure", [mean_cca, svcca])
def test_cca_refuses_features_that_span_all_images(measure):
    wide = torch.randn(8, 7, generator=torch.Generator().manual_seed(0))
    wide = torch.linalg.qr(wide - wide.mean(0)).Q  # isotropic, so that 99% of the variance needs all seven
    message = (
        "has rank 7 over 8 images, so it correlates perfectly with anything; pass at least 2 images more than features"
    )
    with pytest.raises(ValueError, match=f"^x {message}"):
        measure(wide, GOOD)
    with pytest.raises(ValueError, match=f"^y {message}"):
        measure(GOOD, wide)
    assert 0 < measure(wide[:, :6], GOOD) < 1


# --- By name ---


def test_measures_by_name():
    assert list(MEASURES) == ["linear-cka", "unbiased-cka", "rbf-cka", "procrustes", "mean-cca", "svcca", "rsa"]
    for name, function in MEASURES.items():
        assert get_measure(name) is function
    assert get_measure(max) is max


def test_every_measure_has_a_name_that_readers_know():
    assert MEASURE_NAMES.keys() == MEASURES.keys()
    assert [short_name(each) for each in ("linear-cka", "unbiased-cka", "custom")] == ["CKA", "unbiased CKA", "custom"]


def test_an_unknown_measure_is_refused():
    message = (
        "measure='cka' is unknown; use one of linear-cka, unbiased-cka, rbf-cka, procrustes, mean-cca, svcca, rsa, or a"
    )
    with pytest.raises(ValueError, match=f"^{message} function of x and y$"):
        get_measure("cka")
