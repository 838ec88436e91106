"""Shared by all tests: checked shape annotations, a private store, the digits."""

from __future__ import annotations

from jaxtyping import install_import_hook

# Before anything imports stir: every `Float[Tensor, "n c h w"]` is then checked at each call.
install_import_hook("stir", "beartype.beartype")

import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import jaxtyping
import numpy as np
import pytest
from filelock import FileLock
from helpers.project import PROJECT, TINY, execute_tiny, notebook
from hypothesis import settings
from PIL import Image

# stir and PyTorch are imported where a fixture needs them: the process that only hands out tests needs neither, and
# the others would wait for it.
if TYPE_CHECKING:
    import torch

    from stir.data import Dataset, Split

# What takes longest comes first, so that two processes that share the files end together; `test_book` makes the pages
# that `test_runner` looks at too.
LONG = ("book", "cli", "trained", "run_it_yourself", "kept_pairs", "invert", "sweeping", "runner", "score", "memory")
LONG += ("evidence", "build", "own", "store", "representation", "exercises", "sources", "solvers", "processes")
LONG_FILES = [f"test_{name}.py" for name in LONG]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG_FILES.index(item.path.name) if item.path.name in LONG_FILES else len(LONG_FILES))


settings.register_profile("stir", deadline=None, max_examples=25, database=None, derandomize=True)
settings.load_profile("stir")


@pytest.fixture(scope="session", autouse=True)
def store(tmp_path_factory):
    """Networks go to a folder of this session's own, never to the user's cache."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STIR_STORE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """So that everything is computed in this process, where it can be watched."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def in_float64():
    """A context in which PyTorch makes tensors in float64, as a user's own code may have asked it to."""
    import torch

    @contextmanager
    def default() -> Iterator[None]:
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)

    return default


@pytest.fixture(scope="session")
def gpu() -> torch.device:
    """Without one, the tests that ask for it are skipped."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    return torch.device("cuda")


@pytest.fixture(scope="session")
def digits() -> Dataset:
    from stir.data import load_dataset

    return load_dataset("digits")


@pytest.fixture(scope="session")
def few(digits) -> Split:
    from stir.data import Split

    return Split(digits.train.images[:300], digits.train.labels[:300])


@pytest.fixture(scope="session")
def small(digits) -> Dataset:
    """A few digits at a quarter of their pixels."""
    from stir.data import Dataset, Split

    train = Split(digits.train.images[:64, :, ::2, ::2].clone(), digits.train.labels[:64])
    test = Split(digits.test.images[:32, :, ::2, ::2].clone(), digits.test.labels[:32])
    return Dataset("small", train, test, digits.classes)


@pytest.fixture
def own_store(tmp_path, monkeypatch):
    """The folder of networks of a store that this test alone uses."""
    monkeypatch.setenv("STIR_STORE", str(tmp_path / "store"))
    return tmp_path / "store" / "models"


@pytest.fixture
def no_training(monkeypatch):
    """From the call on, training raises."""

    def refuse(*_, **__):
        raise AssertionError("trained, though nothing had to be")

    return lambda: monkeypatch.setattr("stir.training.request.train", refuse)


@pytest.fixture
def folder(tmp_path):
    """3 training and 1 test image of each of 2 classes; returns their pixels."""
    random, pixels = np.random.default_rng(0), {}
    for split, count in {"train": 3, "test": 1}.items():
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                array = random.integers(0, 256, (10, 12, 3), dtype=np.uint8)
                Image.fromarray(array).save(tmp_path / split / name / f"{number}.png")
                pixels[split, name, number] = array
    return tmp_path, pixels


@pytest.fixture(scope="session")
def executed(tmp_path_factory, worker_id) -> Path:
    """A folder with every page of the book, from tiny runs; made by the first process of pytest-xdist that wants it."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "executed"
    with FileLock(shared.with_suffix(".lock")):
        if not (shared / "done").exists():
            shared.mkdir()
            _execute_all(shared)
            (shared / "done").touch()
    return shared / "book" / "runs" / "digits"


def _execute_all(shared: Path) -> None:
    from stir.book.freshness import reads_tables

    folder = shared / "book" / "runs" / "digits"
    shutil.copytree(PROJECT / "notebooks", shared / "notebooks")
    folder.mkdir(parents=True)
    shutil.copy(PROJECT / "book" / "_toc.yml", shared / "book")
    measuring = [name for name in TINY if not reads_tables(notebook(name))]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:  # half of their time is that of starting
        list(pool.map(execute_tiny, measuring, [folder] * len(measuring)))
    beside = shutil.copytree(folder, shared / "others")  # as if of another scale
    for name in TINY:
        if name not in measuring:
            execute_tiny(name, folder, **({"beside": str(beside)} if name == "glance" else {}))


@pytest.fixture
def unchecked():
    """Shape annotations off, as in a user's session: what stir itself says of a wrong argument shows."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
