"""Linear CKA and its unbiased form, of whole sets of images or of streams.

They take x [n, p] and y [n, q], whose rows i represent the same image, and compute in float64 on x's device, or on the CPU
where that device has no float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

MIN_IMAGES = 4  # with fewer, every U-centred Gram matrix is zero
_CHUNK = 1024  # images brought to float64 at a time, so that a large batch is never copied whole
_RANGE = 1e-60, 1e60  # of features whose fourth powers, summed, stay clear of float64's limits


class CKA:
    """Linear CKA of a stream, or unbiased CKA: the number of the whole set, however it is cut into batches.

    Images are kept, and compared by their Gram matrices, until they outnumber the p + q features; from then on only sums of
    products of features are, so memory does not grow with the number of images.

    Source: the sums are taken about the first image, the shifted data of Chan, Golub and LeVeque (1983), "Algorithms for
    computing the sample variance", so that an offset which all images share costs no digits.

    >>> x = torch.arange(24.0).reshape(8, 3) ** 2
    >>> round(CKA().update(x[:5], -x[:5]).update(x[5:], -x[5:]).compute(), 9)
    1.0
    """

    def __init__(self, unbiased: bool = False) -> None:
        self.unbiased = unbiased
        self._count = 0
        self._origins: list[Tensor] = []  # the first image's x and y
        self._kept: list[Tensor] = []  # x and y side by side, less the origins
        self._moments: Tensor | None = None

    def update(self, x: Tensor, y: Tensor) -> CKA:
        """Add a batch, x [m, p] and y [m, q] for any m above 0, and return self.

        Raises:
            ValueError: as for `linear_cka`, but that a batch may be small or constant; also where p or q differs from that
                of earlier batches. A batch that is refused leaves no trace.
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
            self._kept.append(torch.cat(shifted, dim=1))
            self._count += len(chunk[0])
            # From here on the images and their Gram matrices would be the larger, and the slower.
            if sum(map(len, self._kept)) > len(origins[0]) + len(origins[1]):
                self._fold()
        return self

    def compute(self) -> float:
        """The similarity of all images so far, in [0, 1], or in [-1, 1] if unbiased; more may be added later.

        Raises:
            ValueError: as for `linear_cka` or `unbiased_cka`, of all images so far.
        """
        if self._count < MIN_IMAGES:
            raise ValueError(f"x and y hold {self._count} images; pass at least {MIN_IMAGES}")
        width = len(self._origins[0])
        if self._moments is None:
            sums = _sums_by_gram(torch.cat(self._kept), width)
        else:
            self._fold()
            sums = _sums_by_features(self._moments, width)
        for name, origin, mean, trace in zip(
            "xy", self._origins, sums.mean.tensor_split([width]), sums.traces.tolist()
        ):
            rounding_error(name, origin.dtype, to_float64(origin, mean) + mean, trace / self._count)
        return cosine(_u_centred(sums, self._count) if self.unbiased else sums.products)

    def _fold(self) -> None:
        if self._kept:
            rows = torch.cat(self._kept)
            # Beside the squared norms and a one, any mean can later be taken off with what these moments hold.
            squared_norms = rows.square() @ _sides(rows, len(self._origins[0]))
            lifted = torch.cat([rows, squared_norms, rows.new_ones(len(rows), 1)], dim=1)
            moments = lifted.T @ lifted
            self._moments = moments if self._moments is None else self._moments + moments
            self._kept = []


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment of x [n, p] and y [n, q], the paper's measure; in [0, 1].

    No rotation, shift or isotropic scaling of either changes it. It is biased upwards: independent isotropic features
    score about p / (n + p).

    Raises:
        ValueError: x or y is not floating-point, not 2-d, not finite, constant, or holds fewer than 4 images or another
            number of them than the other.

    Source: Kornblith et al. (2019), "Similarity of neural network representations revisited", equations 3 and 4.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> round(linear_cka(x, 3 * x + 5), 9), round(linear_cka(x, x[:, :1]), 9)
    (1.0, 0.707106781)
    """
    return _whole(CKA(), x, y)


def unbiased_cka(x: Tensor, y: Tensor) -> float:
    """Cosine of the U-centred Gram matrices of x [n, p] and y [n, q]; in [-1, 1], about 0 for independent features.

    Raises:
        ValueError: as for `linear_cka`; also where a U-centred Gram matrix is zero, such as that of one-hot features.

    Source: Szekely and Rizzo (2014), "Partial distance correlation with methods for dissimilarities", definition 2. It is
    CKA by the unbiased HSIC of Song et al. (2012), "Feature selection via dependence maximization".

    >>> x = torch.tensor([[1.0], [2.0], [4.0], [8.0], [16.0]])
    >>> round(unbiased_cka(x, -x), 9)
    1.0
    """
    return _whole(CKA(unbiased=True), x, y)


def _whole(cka: CKA, x: Tensor, y: Tensor) -> float:
    check_features(x, y, at_least=MIN_IMAGES)  # ahead of the stream, which takes batches of any size
    return cka.update(x, y).compute()


def linear_cka_without(x: Tensor, y: Tensor, groups: Sequence[Tensor]) -> Float[Tensor, "g"]:
    """`linear_cka` of x [n, p] and y [n, q] without the images of each group in turn, all at little more than the cost of one.

    Args:
        groups: of row numbers; each leaves at least 4 images.

    Raises:
        ValueError: as for `linear_cka`, of any of them.
    """
    check_features(x, y, at_least=MIN_IMAGES)
    rows = torch.cat([to_float64(side, x) for side in (x, y)], dim=1)
    origin, width = rows.mean(0), x.shape[1]
    rows = rows - origin
    keep = rows.new_ones(len(groups), len(rows))
    for place, group in enumerate(groups):
        keep[place, group.to(keep.device)] = 0
    counts = keep.sum(1)
    if counts.min() < MIN_IMAGES:
        raise ValueError(f"groups leave {int(counts.min())} of x's images; leave at least {MIN_IMAGES}")
    if len(rows) <= rows.shape[1]:
        products, traces = _kept_by_gram(rows, width, keep)
    else:
        products, traces = _kept_by_features(rows, width, keep)
    # Where an image that is left out was most of the mean, the rest is a small difference of large sums.
    lost = (traces < 1e-4 * (keep @ rows.square() @ _sides(rows, width)).T).any(0)
    for name, own, mean, each in zip("xy", (x, y), origin.tensor_split([width]), traces / counts):
        rounding_error(name, own.dtype, mean, float(each.masked_fill(lost, math.inf).min()))
    (xx, xy), (_, yy) = products
    values = (xy / xx.sqrt() / yy.sqrt()).clamp(-1, 1)
    for place in lost.nonzero().flatten().tolist():
        kept = keep[place].bool().to(x.device)
        values[place] = linear_cka(x[kept], y[kept])
    return values


def _kept_by_gram(
    rows: Float[Tensor, "n d"], width: int, keep: Float[Tensor, "g n"]
) -> tuple[Float[Tensor, "2 2 g"], Float[Tensor, "2 g"]]:
    """Inner products and traces of the Gram matrices of the kept rows, centred about those rows' mean."""
    counts = keep.sum(1)
    grams = torch.stack([side @ side.T for side in rows.tensor_split([width], dim=1)])
    sums = keep @ grams * keep  # of each kept row, over all kept ones
    totals = sums.sum(2)
    entries = [[((keep @ (first * second)) * keep).sum(1) for second in grams] for first in grams]
    # Centring takes off the means of rows and columns, and adds the mean of all.
    products = torch.stack([torch.stack(line) for line in entries])
    products = (
        products
        - 2 / counts * torch.einsum("agn,bgn->abg", sums, sums)
        + totals[:, None] * totals[None] / counts.square()
    )
    return products, grams.diagonal(dim1=1, dim2=2) @ keep.T - totals / counts


def _kept_by_features(
    rows: Float[Tensor, "n d"], width: int, keep: Float[Tensor, "g n"]
) -> tuple[Float[Tensor, "2 2 g"], Float[Tensor, "2 g"]]:
    """The same by covariances, each the whole less that of the rows left out."""
    sides, whole, found = _sides(rows, width), rows.T @ rows, []
    for kept in keep.bool():
        left, mean = rows[~kept], rows[kept].mean(0)
        covariance = whole - left.T @ left - kept.sum() * torch.outer(mean, mean)
        found.append((sides.T @ covariance.square() @ sides, sides.T @ covariance.diagonal()))
    return torch.stack([products for products, _ in found], dim=2), torch.stack([traces for _, traces in found], dim=1)


class _Sums(NamedTuple):
    """What linear CKA takes from the centred Gram matrices K of x and L of y."""

    mean: Float[Tensor, "d"]  # of x and y side by side
    traces: Float[Tensor, 2]
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
    sides = _sides(covariance, width)
    # |x - mean|^2 = -2 x.mean + |x|^2 + |mean|^2 is linear in what the moments are of.
    to_diagonals = torch.cat([-2 * mean[:, None] * sides, torch.eye(2).to(sides), mean.square()[None] @ sides])
    products = sides.T @ covariance.square() @ sides
    return _Sums(mean, to_diagonals.T @ total, to_diagonals.T @ moments @ to_diagonals, products)


def _sides(rows: Float[Tensor, "n d"], width: int) -> Float[Tensor, "d 2"]:
    """1 where a column of `rows` is x's, in the first column, or y's, in the second."""
    is_x = torch.arange(rows.shape[1], device=rows.device) < width
    return torch.stack([is_x, ~is_x], dim=1).to(rows)


def _u_centred(sums: _Sums, n: int) -> Float[Tensor, "2 2"]:
    """Inner products of the U-centred Gram matrices: n (n - 3) times the unbiased HSIC, where K and L are centred."""
    products = (
        sums.products - n / (n - 2) * sums.diagonals + torch.outer(sums.traces, sums.traces) / ((n - 1) * (n - 2))
    )
    for name, own, whole in zip("xy", products.diagonal().tolist(), sums.products.diagonal().tolist()):
        if own <= 1e-10 * whole:  # terms that cancel to this leave nothing but their rounding
            remedy = "use linear-cka or more varied images"
            raise ValueError(f"{name} has a U-centred Gram matrix of zero, as one-hot features have; {remedy}")
    return products


def cosine(products: Float[Tensor, "2 2"]) -> float:
    """The cosine of two vectors, given the inner products of either with either; kept in [-1, 1], which rounding may leave."""
    (xx, xy), (_, yy) = products.tolist()
    return max(-1.0, min(1.0, xy / math.sqrt(xx) / math.sqrt(yy)))


def check_features(x: Tensor, y: Tensor, at_least: int) -> None:
    """Raise a ValueError unless x [n, p] and y [n, q] hold `at_least` images each, the same number, in finite floating-point features."""
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
    """`features` in float64, on the device of `like` or, where that has none, on the CPU; without a gradient."""
    device = "cpu" if like.device.type == "mps" else like.device
    return features.detach().to(device).to(torch.float64)  # in this order: MPS has no float64


def rounding_error(name: str, dtype: torch.dtype, mean: Float[Tensor, "p"], variance: float) -> float:
    """How far rounding to `dtype` may have moved an image, root mean square; raises where the images vary no more than that."""
    deviation = math.sqrt(variance)
    rounding = torch.finfo(dtype).eps * math.hypot(float(mean.norm()), deviation)
    if deviation <= max(rounding, _RANGE[0]):
        raise ValueError(
            f"{name} is constant: it represents all images alike; pass another layer or more varied images"
        )
    return rounding
