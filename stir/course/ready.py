"""Preparation of a machine for the course: the networks handed out, and a check of everything that is needed."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from stir.data.datasets import load_dataset
from stir.files import store_folder
from stir.inversion.invert import invert
from stir.networks.architectures import build_model

PACKAGES = ("matplotlib", "seaborn", "ipykernel", "jupyterlab")  # that come with [book]
SLOW = 10  # seconds of a trial beyond which sessions will drag


def begin() -> None:
    """Read trained networks from a folder `store` beside the notebook, unless `$STIR_STORE` names another."""
    folder = Path.cwd() / "store"
    if folder.is_dir():
        os.environ.setdefault("STIR_STORE", str(folder))


def findings() -> Iterator[tuple[bool, str]]:
    """For each requirement of the course, true if it is met, and a line on it, with the remedy if it is not."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield sys.version_info >= (3, 11), f"Python {version}; 3.11 or newer is needed"
    missing = [name for name in PACKAGES if not _can_import(name)]
    remedy = f"{', '.join(missing)} missing; in your clone: pip install '.[book]'"
    yield not missing, f"packages: {remedy if missing else 'all there'}"
    begin()
    networks = len(list((store_folder() / "models").glob("*.safetensors")))
    remedy = (
        "" if networks else "; go to the folder that holds `store`, or the sessions train them, which takes minutes"
    )
    yield networks > 0, f"{networks} trained networks in {store_folder()}{remedy}"
    seconds = _trial()
    remedy = "" if seconds < SLOW else "; give fewer images to the sessions, n_images in their first cell"
    yield seconds < SLOW, f"an inversion of 20 digits took {seconds:.1f} s{remedy}"


def _can_import(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def _trial() -> float:
    """Seconds that an inversion of 20 digits takes, as the sessions do it."""
    images = load_dataset("digits").test.take(20)
    start = time.perf_counter()
    invert(build_model("resnet10", 10, width=8, channels=1), images, steps=50, progress=False)
    return time.perf_counter() - start
