"""Representations to compare, independent implementations of the measures, and features that all measures refuse."""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg
import torch
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

seeds = st.integers(0, 2**31)


def pair(n, p, q, seed=0):
    """Two float64 representations that share part of what they hold."""
    generator = torch.Generator().manual_seed(seed)
    x, noise, mix = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in [(n, p), (n, q), (p, q)])
    return x, x.tanh() @ mix + noise


# --- Independent implementations, as their papers write them ---


def hsic(gram_x, gram_y):
    centring = np.eye(len(gram_x)) - 1 / len(gram_x)
    return np.trace(gram_x @ centring @ gram_y @ centring)


def hsic_alignment(gram_x, gram_y):
    return hsic(gram_x, gram_y) / math.sqrt(hsic(gram_x, gram_x) * hsic(gram_y, gram_y))


def u_centre(gram):
    n = len(gram)
    gram = gram * (1 - np.eye(n))
    rows, columns = gram.sum(1, keepdims=True) / (n - 2), gram.sum(0, keepdims=True) / (n - 2)
    return (gram - rows - columns + gram.sum() / ((n - 1) * (n - 2))) * (1 - np.eye(n))


def reference_unbiased(x, y):
    gram_x, gram_y = u_centre(x @ x.T), u_centre(y @ y.T)
    return (gram_x * gram_y).sum() / math.sqrt((gram_x * gram_x).sum() * (gram_y * gram_y).sum())


def gaussian_kernel(x, bandwidth=1.0):
    distances = pdist(x)
    return np.exp(-squareform(distances**2) / (2 * (bandwidth * np.median(distances)) ** 2))


def reference_procrustes(x, y):
    width = max(x.shape[1], y.shape[1])
    sides = [np.pad(side - side.mean(0), [(0, 0), (0, width - side.shape[1])]) for side in (x, y)]
    return scipy.linalg.orthogonal_procrustes(*(side / np.linalg.norm(side) for side in sides))[1]


def reference_mean_cca(x, y):
    return np.cos(scipy.linalg.subspace_angles(x - x.mean(0), y - y.mean(0))).mean()


def reference_svcca(x, y):
    projections = []
    for side in (x, y):
        values, vectors = np.linalg.eigh(np.cov(side.T).reshape(side.shape[1], -1))
        values, vectors = values[::-1], vectors[:, ::-1]
        count = 1 + int(np.argmax(np.cumsum(values) / values.sum() >= 0.99))
        projections.append(side @ vectors[:, :count])
    return reference_mean_cca(*projections)


REFERENCES = {
    "linear-cka": lambda x, y: hsic_alignment(x @ x.T, y @ y.T),
    "unbiased-cka": reference_unbiased,
    "rbf-cka": lambda x, y: hsic_alignment(gaussian_kernel(x), gaussian_kernel(y)),
    "procrustes": reference_procrustes,
    "mean-cca": reference_mean_cca,
    "svcca": reference_svcca,
    "rsa": lambda x, y: spearmanr(pdist(x), pdist(y)).statistic,
}


# --- Features that no measure takes ---

GOOD = pair(8, 3, 3)[0].float()
NAN, INF = GOOD.clone(), GOOD.clone()
NAN[2, 1], INF[5, 0] = math.nan, math.inf

REFUSED = {
    "integers": (GOOD.long(), "x has dtype torch.int64; pass floating-point features, such as x.float()"),
    "complex": (GOOD.to(torch.complex64), "x has dtype torch.complex64; pass floating-point"),
    "one-dimensional": (GOOD[:, 0], "x has shape (8,); pass [images, features], such as x.flatten(1)"),
    "maps": (GOOD[:, :, None], "x has shape (8, 3, 1); pass [images, features], such as x.flatten(1)"),
    "no features": (GOOD[:, :0], "x has shape (8, 0); pass [images, features]"),
    "nan": (
        NAN,
        "x has features that are NaN, infinite or beyond 1e+60; leave those images out, or compute the features in",
    ),
    "infinite": (INF, "x has features that are NaN, infinite or beyond 1e+60"),
    "negative infinite": (-INF, "x has features that are NaN, infinite or beyond 1e+60"),
    "too large": (GOOD.double() * 1e200, "x has features that are NaN, infinite or beyond 1e+60"),
    "few": (GOOD[:3], "x holds 3 images; pass at least 4"),
    "none": (GOOD[:0], "x holds 0 images; pass at least 4"),
    "other count": (GOOD[:7], "x holds 7 images but y holds 8; rows i of x and y must represent the same image"),
    "zero": (
        torch.zeros(8, 3),
        "x is constant: it represents all images alike; pass another layer or more varied images",
    ),
    "constant": (torch.full((8, 3), 0.1), "x is constant"),
    "constant float64": (torch.full((8, 3), 1 / 3, dtype=torch.float64), "x is constant"),
    "constant but for rounding": (1000 + 3e-5 * GOOD, "x is constant"),
    "constant but for underflow": (1e-100 * GOOD.double(), "x is constant"),
}
