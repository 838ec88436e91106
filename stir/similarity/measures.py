"""Similarity measures besides CKA, and all measures by name.

A measure takes x [n, p] and y [n, q], whose rows i represent the same image, and returns one number, without a
gradient. It computes in float64 on x's device, or on the CPU where that device has no float64. A similarity that cannot
be computed is never NaN or a substitute: it raises a ValueError that names the argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from stir.similarity.cka import MIN_IMAGES, check_features, cosine, linear_cka, rounding_error, to_float64, unbiased_cka

Measure = Callable[[Tensor, Tensor], float]


def rbf_cka(x: Tensor, y: Tensor, *, bandwidth: float = 1.0) -> float:
    """Centred alignment of the Gaussian kernels of x [n, p] and y [n, q]; in [0, 1]. Memory grows with n squared.

    Args:
        bandwidth: standard deviation of the kernel, as a multiple of the median distance between two images; the wider
            it is, the closer the result is to `linear_cka`.

    Raises:
        ValueError: as for `linear_cka`; also where most images coincide, or `bandwidth` is not in [1e-6, 1e6].

    Source: Kornblith et al. (2019), equations 3 and 4, and their median heuristic, here over pairs of different images.
    """
    if not 1e-6 <= bandwidth <= 1e6:
        raise ValueError(f"bandwidth={bandwidth} must lie in [1e-6, 1e6]; 1.0 is the median distance")
    grams = torch.stack([_gaussian_gram(features, bandwidth).flatten() for features in _features(x, y)])
    return cosine(grams @ grams.T)


def procrustes(x: Tensor, y: Tensor) -> float:
    """Orthogonal Procrustes similarity of x [n, p] and y [n, q], their cosine after the best rotation; in [0, 1].

    It is the nuclear norm s of X^T Y, both centred and of unit Frobenius norm; the Procrustes distance is
    sqrt(2 - 2 s).

    Raises:
        ValueError: as for `linear_cka`.

    Source: Williams et al. (2021), "Generalized shape metrics on neural representations"; Ding et al. (2021),
    "Grounding representation similarity through statistical testing".

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [0.0, -2.0]])
    >>> round(procrustes(x, 3 * x.flip(1) + 5), 9)
    1.0
    """
    # R^T is a rotation of the features into at most n dimensions, so that wide features need no p by q matrix.
    points_x, points_y = (torch.linalg.qr(features.centred.T, mode="r").R.T for features in _features(x, y))
    nuclear = torch.linalg.matrix_norm(points_x.T @ points_y, "nuc")
    return min(1.0, float(nuclear / points_x.norm() / points_y.norm()))


def mean_cca(x: Tensor, y: Tensor) -> float:
    """Mean canonical correlation of x [n, p] and y [n, q], over the smaller of their ranks; in [0, 1].

    It is invariant to invertible affine maps of either. It is biased upwards unless images far outnumber features.

    Raises:
        ValueError: as for `linear_cka`; also where x or y has rank n - 1, since it then correlates perfectly with
            anything.

    Source: Kornblith et al. (2019), table 1; Raghu et al. (2017).
    """
    return _mean_correlation(*(_directions(features)[0] for features in _features(x, y)))


def svcca(x: Tensor, y: Tensor) -> float:
    """Mean canonical correlation of the leading principal components of x [n, p] and y [n, q]; in [0, 1].

    Of each, as many components are used as have 99% of the variance.

    Raises:
        ValueError: as for `mean_cca`, of those components.

    Source: Raghu et al. (2017), "SVCCA: singular vector canonical correlation analysis for deep learning dynamics and
    interpretability", section 2.
    """
    leading = []
    for directions, singular_values in map(_directions, _features(x, y)):
        variance = singular_values.square().cumsum(0)
        leading.append(directions[:, : int((variance < 0.99 * variance[-1]).sum()) + 1])
    return _mean_correlation(*leading)


def rsa(x: Tensor, y: Tensor) -> float:
    """Spearman correlation of the Euclidean distances between images in x [n, p] and in y [n, q]; in [-1, 1].

    Every pair of different images counts once; tied distances receive their average rank.

    Raises:
        ValueError: as for `linear_cka`; also where all images are equally far apart.

    Source: Kriegeskorte et al. (2008), "Representational similarity analysis - connecting the branches of systems
    neuroscience".

    >>> x = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    >>> round(rsa(x, -2 * x), 9)
    1.0
    """
    from scipy.stats import spearmanr  # only here: it takes longer to import than all other SciPy that stir needs

    distances = []
    for features in _features(x, y):
        own = torch.pdist(features.shifted)
        if own.max() - own.min() <= 2 * features.rounding:
            raise ValueError(
                f"{features.name} places all images equally far apart; pass more varied images or another measure"
            )
        distances.append(own.cpu())
    correlation: Any = spearmanr(*distances)[0]  # SciPy has no types
    return float(correlation)


MEASURES: dict[str, Measure] = {
    "linear-cka": linear_cka,
    "unbiased-cka": unbiased_cka,
    "rbf-cka": rbf_cka,
    "procrustes": procrustes,
    "mean-cca": mean_cca,
    "svcca": svcca,
    "rsa": rsa,
}
MEASURE_NAMES = {  # in sentences and figures
    "linear-cka": "linear CKA",
    "unbiased-cka": "unbiased CKA",
    "rbf-cka": "RBF CKA",
    "procrustes": "Procrustes",
    "mean-cca": "mean CCA",
    "svcca": "SVCCA",
    "rsa": "RSA",
}


def get_measure(measure: str | Measure) -> Measure:
    """Return the measure of that name; return a function of x and y unchanged.

    Raises:
        ValueError: no measure has that name.
    """
    if callable(measure):
        return measure
    if measure not in MEASURES:
        raise ValueError(f"measure={measure!r} is unknown; use one of {', '.join(MEASURES)}, or a function of x and y")
    return MEASURES[measure]


def name_of(measure: str | Measure) -> str:
    """Name of a measure in tables: of a function its own name, or "custom" where it has none."""
    return measure if isinstance(measure, str) else getattr(measure, "__name__", "custom")


def short_name(measure: str) -> str:
    """Name of a measure in figures and headings, from its name in tables; linear CKA is "CKA"."""
    return "CKA" if measure == "linear-cka" else MEASURE_NAMES.get(measure, measure)


class FullRank(ValueError):
    """Features with as many dimensions as their images allow, so that they correlate perfectly with anything."""


class _Features(NamedTuple):
    """Features x or y in float64."""

    name: str
    shifted: Float[Tensor, "n p"]  # less the first image: exactly zero if constant, and tied distances remain tied
    centred: Float[Tensor, "n p"]
    rounding: float  # as `rounding_error` returns it


def _features(x: Tensor, y: Tensor) -> list[_Features]:
    check_features(x, y, at_least=MIN_IMAGES)
    result = []
    for name, features in zip("xy", (x, y)):
        values = to_float64(features, x)
        shifted = values - values[0]
        centred = shifted - shifted.mean(0)
        variance = float(centred.square().sum()) / len(values)
        rounding = rounding_error(name, features.dtype, values.mean(0), variance)
        result.append(_Features(name, shifted, centred, rounding))
    return result


def _gaussian_gram(features: _Features, bandwidth: float) -> Float[Tensor, "n n"]:
    """Centred Gram matrix of the Gaussian kernel."""
    distances = torch.pdist(features.shifted)
    ordered = distances.sort().values
    median = float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    if median <= features.rounding:
        raise ValueError(
            f"{features.name} places most pairs of images at one point; pass more varied images or another measure"
        )
    n = len(features.shifted)
    i, j = torch.triu_indices(n, n, offset=1, device=distances.device)
    gram = distances.new_zeros(n, n)
    # The kernel less 1, which centring subtracts anyway: a wide kernel differs from 1 by little, which must stay exact.
    gram[i, j] = gram[j, i] = torch.expm1(-(distances / (bandwidth * median)).square() / 2)
    means = gram.mean(0)
    return gram - means - means[:, None] + means.mean()


def _directions(features: _Features) -> tuple[Float[Tensor, "n r"], Float[Tensor, "r"]]:
    """Left singular vectors and values of the centred features that are above rounding error."""
    n, p = features.centred.shape
    vectors, values, _ = torch.linalg.svd(features.centred, full_matrices=False)
    input_error = features.rounding * math.sqrt(n / min(n, p))
    svd_error = max(n, p) * torch.finfo(values.dtype).eps * float(values[0])
    rank = int((values > max(input_error, svd_error)).sum())
    return vectors[:, :rank], values[:rank]


def _mean_correlation(x: Float[Tensor, "n r"], y: Float[Tensor, "n s"]) -> float:
    """Mean canonical correlation of the spaces that two orthonormal bases span."""
    for name, basis in (("x", x), ("y", y)):
        n, rank = basis.shape
        if rank >= n - 1:
            remedy = "pass at least 2 images more than features, or use linear-cka"
            raise FullRank(
                f"{name} has rank {rank} over {n} images, so it correlates perfectly with anything; {remedy}"
            )
    return min(1.0, float(torch.linalg.svdvals(x.T @ y).mean()))
