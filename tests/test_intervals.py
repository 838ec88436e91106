"""Intervals against known truths: how often they cover it."""

import math

import pytest
import torch
from scipy.stats import sem
from scipy.stats import t as student

from stir.similarity import linear_cka
from stir.similarity.intervals import mean_similarity


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


@pytest.mark.parametrize(("draws", "shared"), [(1, False), (3, False), (6, True)])
def test_intervals_of_stir_cover_the_truth(draws, shared):
    """Linear networks m1 = A and m2 = B: without a pixel box, x' = z + A^+ A (x - z) (see test_solvers.py).

    The seed images z are part of what is sampled; the truth is the mean over many samples of X and z.
    """
    generator = torch.Generator().manual_seed(1)
    n, d = 60, 12
    a, b = torch.randn(4, d, generator=generator), torch.randn(5, d, generator=generator)
    projection = torch.linalg.pinv(a) @ a

    def sample():
        x = torch.randn(n, d, generator=generator)
        z = torch.randn(draws, 1 if shared else n, d, generator=generator)
        again = (z + (x - z) @ projection.T) @ b.T
        return x @ b.T, list(again)

    def cka(x, y):  # with no checks, since it is computed 100,000 times
        x, y = x - x.mean(0), y - y.mean(0)
        return float((x.T @ y).norm() ** 2 / (x.T @ x).norm() / (y.T @ y).norm())

    def value(plain, again):
        return sum(cka(plain, draw) for draw in again) / draws

    truth = sum(value(*sample()) for _ in range(400)) / 400
    trials = 200
    covered = 0
    for _ in range(trials):
        plain, again = sample()
        mean, (low, high) = mean_similarity(cka, plain, again, shared)
        assert mean == pytest.approx(value(plain, again), abs=1e-9)
        covered += low <= truth <= high
    assert 0.90 <= covered / trials <= 0.99


def test_a_few_shared_seeds_are_as_uncertain_as_they_are_few():
    """As above, but with a ReLU after m2: behind a linear network a common seed shifts all features alike.

    There are so many images that three seeds make up most of the variance. With the degrees of freedom of the images'
    share, the interval would cover the truth in 86% of trials.
    """
    generator = torch.Generator().manual_seed(3)
    n, d = 1500, 12
    a, b = torch.randn(4, d, generator=generator), torch.randn(6, d, generator=generator)
    projection = torch.linalg.pinv(a) @ a

    def sample(draws=3):
        x = 0.5 + 0.3 * torch.randn(n, d, generator=generator)
        z = 0.5 + 0.7 * torch.randn(draws, 1, d, generator=generator)
        return (x @ b.T).relu(), list(((z + (x - z) @ projection.T) @ b.T).relu())

    plain, again = sample(600)
    truth = sum(linear_cka(plain, each) for each in again) / len(again)
    trials = 200
    intervals = [mean_similarity(linear_cka, *sample(), True)[1] for _ in range(trials)]
    assert 0.90 <= sum(low <= truth <= high for low, high in intervals) / trials <= 0.99


def test_where_images_tell_nothing_a_shared_seed_counts_as_one_number():
    def first(x, y):
        return float(y[0, 0])

    x = torch.zeros(20, 1)
    value, (low, high) = mean_similarity(first, x, [torch.full((20, 1), each) for each in (0.1, 0.4)], True)
    z = torch.atanh(torch.tensor([0.1, 0.4])).numpy()
    assert value == pytest.approx(0.25)
    assert math.atanh(high) - math.atanh(low) == pytest.approx(2 * student.ppf(0.975, 1) * sem(z), rel=1e-4)


def test_a_measure_below_minus_one_has_an_interval_around_its_value():
    """Fisher's z scale has no place for it. This one is a mean over images, whose interval is the text book's."""

    def nearness(x, y):
        return -float((x - y).square().sum(1).mean())

    x, y = torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(0))
    value, interval = mean_similarity(nearness, x, [y])
    distances = -(x - y).square().sum(1).numpy()
    assert value < -1 and value == pytest.approx(distances.mean())
    assert interval == pytest.approx(student.interval(0.95, 39, distances.mean(), sem(distances)), rel=1e-5)


def test_tanh_interval_stays_in_range():
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    value, (low, high) = mean_similarity(linear_cka, x, [x])
    assert value == pytest.approx(1)
    assert low <= high <= 1
    assert not math.isnan(low)
