"""Linear and unbiased CKA, of whole sets of images or of streams.

They take x [n, p] and y [n, q], whose rows i represent the same image, and compute in float64 on x's device, or on the
CPU where that device has no float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

MIN_IMAGES = 4  # with fewer, every U-centred Gram matrix is zero
_CHUNK = 1024  # images converted to float64 at a time, so that a large batch is never copied whole
_RANGE = 1e-60, 1e60  # within it, sums of fourth powers of features neither underflow nor overflow float64


class CKA:
    """Linear or unbiased CKA of a stream of batches, equal to that of the whole set however it is divided.

    Images are stored, and compared by their Gram matrices, until they outnumber the p + q features; from then on only
    sums of products of features are stored, so memory does not grow with the number of images.

    Source: the first image is subtracted from all, the shifted data of Chan, Golub and LeVeque (1983), "Algorithms for
    computing the sample variance", so that an offset which all images share costs no precision.

    >>> x = torch.arange(24.0).reshape(8, 3) ** 2
    >>> round(CKA().update(x[:5], -x[:5]).update(x[5:], -x[5:]).compute(), 9)
    1.0
    """

    def __init__(self, unbiased: bool = False) -> None:
        self.unbiased = unbiased
        self._count = 0
        self._origins: list[Tensor] = []  # the first image's x and y
        self._rows: list[Tensor] = []  # x and y side by side, less the origins, that are not in the moments yet
        self._moments: Tensor | None = None

    def update(self, x: Tensor, y: Tensor) -> CKA:
        """Add a batch, x [m, p] and y [m, q] for any m above 0, and return self.

        Raises:
            ValueError: as for `linear_cka`, except that a batch may be small or constant; also where p or q differs
                from that of earlier batches. A batch that is refused changes nothing.
        """
        check_features(x, y, at_least=1)
        origins = self._origins or [x[0].detach().clone(), y[0].detach().clone()]
        for name, features, origin in zip("xy", (x, y), origins):
            if features.shape[1] != len(origin):
                widths = f"{features.shape[1]} features, after batches of {len(origin)}"
                raise ValueError(f"{name} has {widths}; use one CKA per pair of layers")
        self._origins = origins
        for chunk in zip(x.split(_CHUNK), y.split(_CHUNK)):
            shifted = [
                to_float64(part, origins[0]) - to_float64(origin, origins[0]) for part, origin in zip(chunk, origins)
            ]
            self._rows.append(torch.cat(shifted, dim=1))
            self._count += len(chunk[0])
            # Beyond this number, Gram matrices would be larger and slower than moments.
            if sum(map(len, self._rows)) > len(origins[0]) + len(origins[1]):
                self._fold()
        return self

    def compute(self) -> float:
        """Similarity of all images so far, in [0, 1], or in [-1, 1] if unbiased; more may be added later.

        Raises:
            ValueError: as for `linear_cka` or `unbiased_cka`, of all images so far.
        """
        if self._count < MIN_IMAGES:
            raise ValueError(f"x and y hold {self._count} images; pass at least {MIN_IMAGES}")
        width = len(self._origins[0])
        if self._moments is None:
            sums = _sums_by_gram(torch.cat(self._rows), width)
        else:
            self._fold()
            sums = _sums_by_features(self._moments, width)
        for name, origin, mean, trace in zip(
            "xy", self._origins, sums.mean.tensor_split([width]), sums.traces.tolist()
        ):
            rounding_error(name, origin.dtype, to_float64(origin, mean) + mean, trace / self._count)
        return cosine(_u_centred_products(sums, self._count) if self.unbiased else sums.products)

    def _fold(self) -> None:
        """Move the stored rows into the moments."""
        if self._rows:
            rows = torch.cat(self._rows)
            # With columns of squared norms and of ones, the moments suffice to subtract any mean later.
            squared_norms = rows.square() @ side_indicators(rows, len(self._origins[0]))
            extended = torch.cat([rows, squared_norms, rows.new_ones(len(rows), 1)], dim=1)
            moments = extended.T @ extended
            self._moments = moments if self._moments is None else self._moments + moments
            self._rows = []


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment of x [n, p] and y [n, q], the paper's measure; in [0, 1].

    It is invariant to rotations, shifts and isotropic scalings of either. It is biased upwards: independent isotropic
    features score about p / (n + p).

    Raises:
        ValueError: x or y is not floating-point, not 2-d, not finite, constant, or holds fewer than 4 images; or they
            hold different numbers of images.

    Source: Kornblith et al. (2019), "Similarity of neural network representations revisited", equations 3 and 4.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> round(linear_cka(x, 3 * x + 5), 9), round(linear_cka(x, x[:, :1]), 9)
    (1.0, 0.707106781)
    """
    return _of_whole_set(CKA(), x, y)


def unbiased_cka(x: Tensor, y: Tensor) -> float:
    """Cosine of the U-centred Gram matrices of x [n, p] and y [n, q]; in [-1, 1], about 0 for independent features.

    Raises:
        ValueError: as for `linear_cka`; also where a U-centred Gram matrix is zero, such as that of one-hot features.

    Source: Szekely and Rizzo (2014), "Partial distance correlation with methods for dissimilarities", definition 2. It
    equals CKA by the unbiased HSIC of Song et al. (2012), "Feature selection via dependence maximization".

    >>> x = torch.tensor([[1.0], [2.0], [4.0], [8.0], [16.0]])
    >>> round(unbiased_cka(x, -x), 9)
    1.0
    """
    return _of_whole_set(CKA(unbiased=True), x, y)


def _of_whole_set(cka: CKA, x: Tensor, y: Tensor) -> float:
    check_features(x, y, at_least=MIN_IMAGES)  # a stream takes batches of any size
    return cka.update(x, y).compute()


class _Sums(NamedTuple):
    """Sums over the entries of the centred Gram matrices K of x and L of y, from which CKA follows."""

    mean: Float[Tensor, "d"]  # of x and y side by side
    traces: Float[Tensor, "2"]
    diagonals: Float[Tensor, "2 2"]  # inner products of the diagonals
    products: Float[Tensor, "2 2"]  # inner products: <K, K>, <K, L>, <L, L>


def _sums_by_gram(rows: Float[Tensor, "n d"], width: int) -> _Sums:
    mean = rows.mean(0)
    grams = torch.stack([side @ side.T for side in (rows - mean).tensor_split([width], dim=1)])
    diagonals, entries = grams.diagonal(dim1=1, dim2=2), grams.flatten(1)
    return _Sums(mean, diagonals.sum(1), diagonals @ diagonals.T, entries @ entries.T)


def _sums_by_features(moments: Float[Tensor, "m m"], width: int) -> _Sums:
    total = moments[-1]
    mean = total[:-3] / total[-1]
    covariance = moments[:-3, :-3] - torch.outer(mean, total[:-3])
    indicators = side_indicators(covariance, width)
    # |x - mean|^2 = -2 x.mean + |x|^2 + |mean|^2 is linear in the columns that the moments are of.
    to_diagonals = torch.cat(
        [-2 * mean[:, None] * indicators, torch.eye(2).to(indicators), mean.square()[None] @ indicators]
    )
    products = indicators.T @ covariance.square() @ indicators
    return _Sums(mean, to_diagonals.T @ total, to_diagonals.T @ moments @ to_diagonals, products)


def side_indicators(rows: Float[Tensor, "n d"], width: int) -> Float[Tensor, "d 2"]:
    """Indicators of the columns of `rows` that are x's, the first `width`, and of those that are y's."""
    is_x = torch.arange(rows.shape[1], device=rows.device) < width
    return torch.stack([is_x, ~is_x], dim=1).to(rows)


def _u_centred_products(sums: _Sums, n: int) -> Float[Tensor, "2 2"]:
    """Inner products of the U-centred Gram matrices, n (n - 3) times the unbiased HSIC, from those of the centred."""
    products = (
        sums.products - n / (n - 2) * sums.diagonals + torch.outer(sums.traces, sums.traces) / ((n - 1) * (n - 2))
    )
    for name, own, whole in zip("xy", products.diagonal().tolist(), sums.products.diagonal().tolist()):
        if own <= 1e-10 * whole:  # so small a difference of large terms is rounding error
            remedy = "use linear-cka or more varied images"
            raise ValueError(f"{name} has a U-centred Gram matrix of zero, as one-hot features have; {remedy}")
    return products


def cosine(products: Float[Tensor, "2 2"]) -> float:
    """Cosine of two vectors from their 2 x 2 matrix of inner products, clamped to [-1, 1] against rounding."""
    (xx, xy), (_, yy) = products.tolist()
    return max(-1.0, min(1.0, xy / math.sqrt(xx) / math.sqrt(yy)))


def check_features(x: Tensor, y: Tensor, at_least: int) -> None:
    """Raise a ValueError unless x [n, p] and y [n, q] hold finite floating-point features of n >= `at_least` images."""
    for name, features in zip("xy", (x, y)):
        if not features.is_floating_point():
            raise ValueError(f"{name} has dtype {features.dtype}; pass floating-point features, such as {name}.float()")
        if features.ndim != 2 or features.shape[1] == 0:
            raise ValueError(
                f"{name} has shape {tuple(features.shape)}; pass [images, features], such as {name}.flatten(1)"
            )
        if len(features) < at_least:
            raise ValueError(f"{name} holds {len(features)} images; pass at least {at_least}")
        if not float(features.detach().abs().max()) < _RANGE[1]:
            remedy = "leave those images out, or compute the features in float32"
            raise ValueError(f"{name} has features that are NaN, infinite or beyond {_RANGE[1]}; {remedy}")
    if len(x) != len(y):
        raise ValueError(
            f"x holds {len(x)} images but y holds {len(y)}; rows i of x and y must represent the same image"
        )


def to_float64(features: Tensor, like: Tensor) -> Tensor:
    """Convert features to float64 on the device of `like`, or on the CPU where that has no float64; detach them."""
    device = "cpu" if like.device.type == "mps" else like.device
    return features.detach().to(device).to(torch.float64)  # in this order: MPS has no float64


def rounding_error(name: str, dtype: torch.dtype, mean: Float[Tensor, "p"], variance: float) -> float:
    """Root-mean-square distance by which rounding to `dtype` may have moved an image.

    Args:
        name: of the features, for the message.
        mean: of all images.
        variance: mean squared distance of an image to it.

    Raises:
        ValueError: the images vary no more than that.
    """
    deviation = math.sqrt(variance)
    rounding = torch.finfo(dtype).eps * math.hypot(float(mean.norm()), deviation)
    if deviation <= max(rounding, _RANGE[0]):
        raise ValueError(
            f"{name} is constant: it represents all images alike; pass another layer or more varied images"
        )
    return rounding
