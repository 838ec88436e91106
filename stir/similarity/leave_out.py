"""Linear CKA with groups of images left out, as the jackknife needs it, without computing each from scratch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from stir.similarity.cka import MIN_IMAGES, check_features, linear_cka, rounding_error, side_indicators, to_float64


def linear_cka_without(x: Tensor, y: Tensor, groups: Sequence[Tensor]) -> Float[Tensor, "g"]:
    """`linear_cka` of x [n, p] and y [n, q] without each group of images in turn, at little more than the cost of one.

    Args:
        groups: row numbers of each group; at least 4 images must remain without it.

    Raises:
        ValueError: as for `linear_cka`, of any of them.
    """
    check_features(x, y, at_least=MIN_IMAGES)
    rows = torch.cat([to_float64(side, x) for side in (x, y)], dim=1)
    origin, width = rows.mean(0), x.shape[1]
    rows = rows - origin
    included = rows.new_ones(len(groups), len(rows))
    for index, group in enumerate(groups):
        included[index, group.to(included.device)] = 0
    counts = included.sum(1)
    if counts.min() < MIN_IMAGES:
        raise ValueError(f"groups leave {int(counts.min())} of x's images; leave at least {MIN_IMAGES}")
    sums = _sums_by_gram if len(rows) <= rows.shape[1] else _sums_by_features
    products, traces = sums(rows, width, included)
    # Where an image that is left out made up most of the mean, the rest is a small difference of large sums.
    inexact = (traces < 1e-4 * (included @ rows.square() @ side_indicators(rows, width)).T).any(0)
    for name, features, mean, variances in zip("xy", (x, y), origin.tensor_split([width]), traces / counts):
        rounding_error(name, features.dtype, mean, float(variances.masked_fill(inexact, math.inf).min()))
    (xx, xy), (_, yy) = products
    values = (xy / xx.sqrt() / yy.sqrt()).clamp(-1, 1)
    for index in inexact.nonzero().flatten().tolist():
        remaining = included[index].bool().to(x.device)
        values[index] = linear_cka(x[remaining], y[remaining])
    return values


def _sums_by_gram(
    rows: Float[Tensor, "n d"], width: int, included: Float[Tensor, "g n"]
) -> tuple[Float[Tensor, "2 2 g"], Float[Tensor, "2 g"]]:
    """Inner products and traces of the Gram matrices of the included rows, centred about those rows' mean."""
    counts = included.sum(1)
    grams = torch.stack([side @ side.T for side in rows.tensor_split([width], dim=1)])
    row_sums = included @ grams * included  # of each included row, over all included ones
    totals = row_sums.sum(2)
    entries = [[((included @ (first * second)) * included).sum(1) for second in grams] for first in grams]
    # Centring subtracts the means of rows and columns, and adds the mean of all.
    products = torch.stack([torch.stack(line) for line in entries])
    products = (
        products
        - 2 / counts * torch.einsum("agn,bgn->abg", row_sums, row_sums)
        + totals[:, None] * totals[None] / counts.square()
    )
    return products, grams.diagonal(dim1=1, dim2=2) @ included.T - totals / counts


def _sums_by_features(
    rows: Float[Tensor, "n d"], width: int, included: Float[Tensor, "g n"]
) -> tuple[Float[Tensor, "2 2 g"], Float[Tensor, "2 g"]]:
    """Inner products and traces of the same matrices, from the covariance of all rows less that of excluded ones."""
    indicators, total = side_indicators(rows, width), rows.T @ rows
    products, traces = [], []
    for mask in included.bool():
        excluded, mean = rows[~mask], rows[mask].mean(0)
        covariance = total - excluded.T @ excluded - mask.sum() * torch.outer(mean, mean)
        products.append(indicators.T @ covariance.square() @ indicators)
        traces.append(indicators.T @ covariance.diagonal())
    return torch.stack(products, dim=2), torch.stack(traces, dim=1)
