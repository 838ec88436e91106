"""Confidence intervals of similarities by the group jackknife over images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from scipy.special import stdtrit as student_quantile
from torch import Tensor

from stir.similarity.cka import linear_cka
from stir.similarity.leave_out import linear_cka_without
from stir.similarity.measures import FullRank, Measure

Interval = tuple[float, float]

# The jackknife's estimate of a variance has a relative error of about sqrt(2 / groups): 22% at 40 groups.
GROUPS = 40


def mean_similarity(
    measure: Measure, plain: Tensor, draws: Sequence[Tensor], shared: bool = False
) -> tuple[float, Interval]:
    """Mean similarity of `plain` [N, P] to each of `draws` [N, Q], with a 95% interval over images and draws.

    The jackknife leaves out an image together with all its draws, so it counts their variation too, but not that of a
    seed image which all images share; that is added, with its own degrees of freedom, which are few. Where it is most
    of the variance, intervals of two draws cover the truth in 88% of trials, those of three in 92%. A bootstrap would
    not do: its repeated rows raise CKA. The interval is computed on Fisher's z scale, where it cannot leave [-1, 1]; of
    a measure that has values outside, as R squared may lie far below, on its own.

    Args:
        plain: features of X.
        draws: features of each draw of X', or of X by another network.
        shared: True if all images of a draw had the same seed image.

    Source: Efron and Stein (1981), "The jackknife estimate of variance"; degrees of freedom by `satterthwaite`.
    """
    values = torch.tensor([measure(plain, draw) for draw in draws], dtype=torch.float64)
    mean = values.mean()
    groups = _groups(plain)
    left_out = torch.stack([_without_each(measure, plain, draw, groups) for draw in draws]).mean(0)
    bounded = torch.cat([values, left_out]).abs().max() <= 1 + 1e-6  # but for a user's own rounding
    to_scale, from_scale = (_fisher_z, math.tanh) if bounded else (Tensor.double, float)
    variance, freedom = float((len(groups) - 1) ** 2 / len(groups) * to_scale(left_out).var()), len(groups) - 1
    if shared and len(draws) > 1:
        of_seeds = float(to_scale(values).var()) / len(draws)
        variance, freedom = satterthwaite([(variance, freedom), (of_seeds, len(draws) - 1)])
    half_width = float(student_quantile(freedom, 0.975)) * math.sqrt(variance)
    centre = to_scale(mean)
    return mean.item(), (from_scale(centre - half_width), from_scale(centre + half_width))


def check_measure(measure: Measure, features: Tensor) -> None:
    """Raise a ValueError where `measure` refuses features [N, P] of X, whole or without a group of the jackknife.

    It would refuse them beside any others too; found out before X' is made.
    """
    largest, *_ = _groups(features)
    rest = torch.ones(len(features), dtype=torch.bool, device=features.device)
    rest[largest] = False
    try:
        for some in (features, features[rest]):
            measure(some, some)
    except FullRank as error:
        n, width = len(features), features.shape[1]
        while n - math.ceil(n / min(GROUPS, n)) < width + 2:
            n += 1
        raise FullRank(
            f"{error}; {n} images are enough for the {width} features, also where the interval leaves some out"
        ) from error


def _groups(features: Tensor) -> Sequence[Tensor]:
    """Rows of each group of images that the jackknife leaves out, the largest group first."""
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0)).to(features.device)
    return order.chunk(min(GROUPS, len(features)))


def satterthwaite(sources: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Variance of a sum and its degrees of freedom, from those of its independent `sources`.

    Source: Satterthwaite (1946), "An approximate distribution of estimates of variance components".
    """
    variance = sum(each for each, _ in sources)
    spread = sum(each**2 / freedom for each, freedom in sources)
    # Where nothing varies, the rule is 0 / 0.
    return variance, variance**2 / spread if spread else float(sum(freedom for _, freedom in sources))


def _without_each(measure: Measure, x: Tensor, y: Tensor, groups: Sequence[Tensor]) -> Tensor:
    """Similarity of x and y without each group of images."""
    if measure is linear_cka:
        return linear_cka_without(x, y, groups).cpu()
    rows = torch.arange(len(x), device=x.device)
    remaining = [rows[~torch.isin(rows, group)] for group in groups]
    return torch.tensor([measure(x[each], y[each]) for each in remaining], dtype=torch.float64)


def _fisher_z(value: Tensor) -> Tensor:
    return torch.atanh(value.clamp(-1 + 1e-12, 1 - 1e-12))
