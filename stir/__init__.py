"""Shared invariances of neural networks, measured (STIR; Nanda et al., ICML 2022)."""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
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

# The imports above, by module, for `__getattr__`; and the rooms that `import stir` makes reachable, as stir.similarity.
_NAMES = {
    "data.balls": ("Ball",),
    "data.datasets": ("load_dataset",),
    "inversion.controversial": ("Controversy", "controversial"),
    "inversion.invert": ("Inversion", "invert"),
    "inversion.options": ("InversionOptions",),
    "inversion.representation": ("features",),
    "inversion.trajectory": ("Trajectory", "trajectory"),
    "networks.architectures": ("build_model", "pretrained_model"),
    "networks.blocks": ("Normalize", "Resize"),
    "scoring.result": ("StirResult",),
    "scoring.score": ("pairwise", "score"),
    "similarity.cka": ("CKA",),
    "study.hypothesis": ("Hypothesis", "Quantity"),
    "training.accuracy": ("accuracy",),
    "training.attacks": ("PGD",),
    "training.trained": ("trained_model", "trained_models"),
}
_HOMES = {name: f"stir.{module}" for module, names in _NAMES.items() for name in names}
_MODULES = {name: f"stir.{name}" for name in ("computing", "data", "inversion", "networks", "scoring", "similarity")}
_MODULES |= {"study": "stir.study", "training": "stir.training", "verdict": "stir.study.verdict"}


def __getattr__(name: str) -> _Any:
    """Import a name when it is first asked for: PyTorch loads for seconds, and `stir --help` needs none of it."""
    if name in _MODULES:
        value = _import_module(_MODULES[name])
    elif name in _HOMES:
        value = getattr(_import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, value)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
