"""Strict execution of notebooks.

A notebook runs in a temporary folder, and its files move to their place only once it has run to its end, so that a
failure leaves the last good page.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import nbformat
import papermill

from stir.book import checks, evidence, kept_runs, pages, parameters
from stir.book.freshness import absolute_paths, fingerprint
from stir.book.kernels import START_TIMEOUT, kernels_that_end
from stir.book.staging import move_files, staging
from stir.book.terminal import following
from stir.data.trees import MissingImagesError
from stir.files import write_atomically

# Spin count after which an idle thread of PyTorch's sleeps. With OpenMP's default, a second busy process makes two
# threads on two cores 60 times slower; with this one, less than twice.
THREAD_SETTINGS = {"GOMP_SPINCOUNT": "1000"}
# Files of a run in its staging folder, besides those that its notebook writes.
PROGRESS, STORE, LOG = ".progress", ".store", ".used"
CELL_TIMEOUT = 24 * 3600  # seconds; a cell may train all networks of a finding


def execute(
    notebook: Path,
    values: dict[str, Any],
    folder: Path,
    *,
    scale: str,
    cell_timeout: int = CELL_TIMEOUT,
    fresh: bool = False,
    alone: bool = False,
    show: bool = False,
    failed: Path | None = None,
) -> Path:
    """Execute `notebook` with the parameters `values`; move it and all files that it writes to `folder`.

    Whatever ends it, no process that the notebook started is left.

    Args:
        cell_timeout: seconds that a cell may take, at least 1.
        fresh: measure again what was kept.
        alone: use no store but the evidence, so that the page is the same on every machine.
        show: tell of its progress on stderr.
        failed: where the notebook goes, as far as it came, if it does not come to its end; one of an earlier run is
            removed.

    Returns:
        The executed notebook, which opens with the answer, and ends with the hardware, the duration, the parameters,
        and how many measurements were made now. Beside it `<notebook>-used.json` lists the files of the stores that the
        run has used, if any.

    Raises:
        ValueError: a parameter that the notebook does not declare or that is not allowed; nothing runs then.
        papermill.PapermillExecutionError: a cell failed; `folder` is as it was, as after the next two.
        nbclient.exceptions.DeadKernelError: the notebook's process died, or did not start; the message says of what.
        nbclient.exceptions.CellTimeoutError: a cell took longer than `cell_timeout`.
        OSError: a file could not be written, as on a full disk.
    """
    check(notebook, values, fresh=fresh)
    if cell_timeout < 1:
        raise ValueError(f"cell_timeout={cell_timeout} must be at least 1 second")
    # Before it runs: of what changes meanwhile, the page may be made of the one or of the other.
    made_of = fingerprint(notebook, values, folder)
    with staging(folder, ".running-") as staged:
        executed, start = staged / notebook.name, time.perf_counter()
        environment = _environment(notebook.parents[1], staged, fresh=fresh, alone=alone, show=show)
        follow = following(notebook.stem, _cells(notebook, values), staged / PROGRESS) if show else nullcontext({})
        with (
            _partial_kept(executed, notebook, failed),
            kernels_that_end(staged, environment) as kernel_manager,
            follow as hooks,
        ):
            papermill.execute_notebook(
                str(notebook), str(executed), parameters=absolute_paths(values), kernel_name="python3",
                language="python", cwd=str(staged), progress_bar=False, execution_timeout=cell_timeout,
                start_timeout=START_TIMEOUT, kernel_manager_class=kernel_manager, **hooks,
            )  # fmt: skip
        _describe(executed, notebook, values, folder, scale, time.perf_counter() - start)
        move_files(staged, folder / f"{notebook.stem}.json", made_of)
    return folder / notebook.name


def _environment(project: Path, staged: Path, *, fresh: bool, alone: bool, show: bool) -> dict[str, str]:
    """The environment variables of a run's process, beside this one's; arguments as of `execute`."""
    threads = {name: os.environ.get(name, value) for name, value in THREAD_SETTINGS.items()}
    chosen = {"STIR_PROGRESS": staged / PROGRESS} if show else {}
    chosen |= {"STIR_STORE": staged / STORE} if alone else {}
    chosen |= {"STIR_FRESH": 1} if fresh else {}
    chosen |= {"STIR_USED": staged / LOG}
    return {**threads, **_evidence(project), **{name: str(value) for name, value in chosen.items()}}


def _describe(
    executed: Path, notebook: Path, values: Mapping[str, Any], folder: Path, scale: str, seconds: float
) -> None:
    """Add the hardware to an executed notebook, list the files it used beside it, and remove its temporary files."""
    project, staged = notebook.parents[1], executed.parent
    used = evidence.read_log(staged / LOG)
    how = pages.provenance(parameters.declared(notebook), values, scale, seconds)
    pages.annotate(executed, notebook, folder, how, evidence.described(used, evidence.folder_of(project)))
    (staged / LOG).unlink(missing_ok=True)
    for name in (STORE, PROGRESS):
        shutil.rmtree(staged / name, ignore_errors=True)
    if used:
        (staged / f"{notebook.stem}{evidence.USED}").write_text(json.dumps(used, indent=1), encoding="utf-8")


def _evidence(project: Path) -> dict[str, str]:
    """The environment variable that names the project's evidence, if it has any."""
    folder = evidence.folder_of(project)
    return {"STIR_EVIDENCE": str(folder)} if folder.is_dir() else {}


def check(notebook: Path, values: Mapping[str, Any], *, fresh: bool = False) -> list[str]:
    """Check the parameters of a run, with the data sets that the project's evidence knows.

    Args:
        fresh: as of `execute`.

    Returns:
        Sentences on what it will download.

    Raises:
        ValueError: as `stir.book.checks.check_values`; or images are needed that are not here.
    """
    before = os.environ.get("STIR_EVIDENCE")
    os.environ.update(_evidence(notebook.parents[1]))
    try:
        checks.check_values(notebook, values)
        if checks.has_images(notebook, values) or (not fresh and kept_runs.to_measure(notebook, values) == {}):
            return []
        return checks.check_images(notebook, values)
    except MissingImagesError as error:
        why = "--fresh measures again what is kept" if fresh else kept_runs.without_images(notebook, values)
        raise ValueError(f"{error}. {why}") from error
    finally:
        os.environ.pop("STIR_EVIDENCE", None)
        if before is not None:
            os.environ["STIR_EVIDENCE"] = before


def _cells(notebook: Path, values: Mapping[str, Any]) -> list[Any]:
    """The cells of a notebook, with the one that papermill adds for values."""
    cells = nbformat.read(notebook, as_version=4).cells
    place = next(number for number, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
    return [*cells[: place + 1], *([nbformat.v4.new_code_cell()] if values else []), *cells[place + 1 :]]


@contextmanager
def _partial_kept(executed: Path, source: Path, place: Path | None) -> Iterator[None]:
    """Keep a partly executed notebook if the `with` block fails; one of an earlier run is removed.

    Args:
        executed: where papermill writes it, cell by cell.
        source: the notebook that is executed.
        place: where it is kept, if it is.
    """
    if place is not None:
        place.unlink(missing_ok=True)
    try:
        yield
    except Exception:
        partial = None if place is None else _as_far_as_it_came(executed)
        if place is not None and partial is not None:
            pages.make_readable(partial, source, place.parent)
            with suppress(OSError):
                write_atomically(place, lambda path: nbformat.write(partial, path))
        raise


def _as_far_as_it_came(executed: Path) -> Any:
    """A notebook whose run failed; None if it is not whole as a file, or its process did not start."""
    try:
        notebook = nbformat.read(executed, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError):
        return None
    began = any(cell.metadata.get("papermill", {}).get("start_time") for cell in notebook.cells)
    return notebook if began else None
