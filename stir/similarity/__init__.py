"""Similarity of representations: CKA and other measures, with confidence intervals."""

from stir.similarity.cka import CKA, linear_cka, unbiased_cka
from stir.similarity.measures import MEASURE_NAMES, MEASURES, mean_cca, procrustes, rbf_cka, rsa, svcca

__all__ = [
    "CKA",
    "MEASURES",
    "MEASURE_NAMES",
    "linear_cka",
    "mean_cca",
    "procrustes",
    "rbf_cka",
    "rsa",
    "svcca",
    "unbiased_cka",
]
