"""Shared invariances of neural networks, measured (STIR; Nanda et al., ICML 2022)."""

from stir.architectures import build_model, pretrained_model
from stir.attacks import PGD
from stir.balls import Ball
from stir.blocks import Normalize
from stir.cka import CKA
from stir.data import load_dataset
from stir.inversion import Controversy, Inversion, controversial, invert
from stir.networks import trained_model, trained_models
from stir.representation import features
from stir.result import StirResult
from stir.score import pairwise, score
from stir.training import accuracy

__all__ = [
    "CKA",
    "PGD",
    "Ball",
    "Controversy",
    "Inversion",
    "Normalize",
    "StirResult",
    "accuracy",
    "build_model",
    "controversial",
    "features",
    "invert",
    "load_dataset",
    "pairwise",
    "pretrained_model",
    "score",
    "trained_model",
    "trained_models",
]
