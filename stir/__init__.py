"""Shared invariances of neural networks, measured (STIR; Nanda et al., ICML 2022)."""

from importlib.metadata import version as _version

from stir.data.balls import Ball
from stir.data.datasets import load_dataset
from stir.inversion.controversial import Controversy, controversial
from stir.inversion.invert import Inversion, invert
from stir.inversion.options import InversionOptions
from stir.inversion.representation import features
from stir.inversion.trajectory import Trajectory, trajectory
from stir.networks.architectures import build_model, pretrained_model
from stir.networks.blocks import Normalize, Resize
from stir.scoring.result import StirResult
from stir.scoring.score import pairwise, score
from stir.similarity.cka import CKA
from stir.study import verdict
from stir.study.hypothesis import Hypothesis, Quantity
from stir.training.accuracy import accuracy
from stir.training.attacks import PGD
from stir.training.trained import trained_model, trained_models

__version__ = _version("stir-companion")

__all__ = [
    "CKA",
    "PGD",
    "Ball",
    "Controversy",
    "Hypothesis",
    "Inversion",
    "InversionOptions",
    "Normalize",
    "Quantity",
    "Resize",
    "StirResult",
    "Trajectory",
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
    "trajectory",
    "verdict",
]
