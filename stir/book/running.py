"""Runs of notebooks on a command's behalf: the project's folder, the values asked for, and failures in a few lines."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from stir.book import contents, evidence, freshness, lookup, outcome, pages, parameters, places, runner
from stir.book.errors import resumable
from stir.book.options import BOOK_SCALE
from stir.book.staging import remove_leftovers
from stir.computing.devices import hardware, resolve_device


def values_of(
    project: Path, notebook: Path, scale: str, given: Sequence[tuple[str, str]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of a scale, and the same values changed by the parameters given as names and texts."""
    declared = parameters.declared(notebook)
    base = lookup.load_scale(project, scale, notebook)
    return base, places.with_given(notebook, base, parameters.parse_given(given, declared))


def run_notebook(
    project: Path,
    notebook: Path,
    values: dict[str, Any],
    folder: Path,
    *,
    scale: str,
    cell_timeout: int,
    again: str = "goes on from the networks and measurements that are kept so far",
    **how: bool,
) -> Path:
    """Execute a notebook with its device and progress on the terminal; arguments as of `stir.book.runner.execute`.

    Args:
        again: what the same command does after Ctrl-C, in words.

    Raises:
        click.ClickException: it came to no end; the message says why, and where it is as far as it came.
    """
    silence_libraries()
    if "device" in parameters.declared(notebook):
        click.echo(f"{notebook.stem} computes on {hardware(resolve_device(values.get('device', 'auto')))}", err=True)
    # Not beside the book's pages: one that failed would be built into it.
    place = project / "runs" / scale if folder.parent == project / "book" / "runs" else folder
    failed = place / f"{notebook.stem}-failed.ipynb"
    try:
        with resumable(again):
            return runner.execute(
                notebook, values, folder, scale=scale, cell_timeout=cell_timeout, show=True, failed=failed, **how
            )
    except PapermillExecutionError as error:
        reason = outcome.what_failed(error)
    except DeadKernelError as error:
        reason = str(error)
    except CellTimeoutError:
        reason = f"a cell took longer than {cell_timeout} s; give it more with --cell-timeout"
    finally:
        if place == folder:
            with suppress(OSError):
                folder.rmdir()  # if nothing came of it
    partial = f"\nAs far as it came, it is kept as {places.shown(failed)}" if failed.exists() else ""
    message = f"{notebook.name} failed; {places.shown(folder)} is as it was. {reason[0].upper()}{reason[1:]}"
    raise click.ClickException(f"{message}{partial}")


def run_stale(project: Path, scales: Mapping[str, Collection[str]], cell_timeout: int) -> None:
    """Execute for the project's book the notebooks whose pages are stale, those that read tables last.

    Args:
        scales: scale -> names of the notebooks that are measured there: now at `BOOK_SCALE`, elsewhere from the
            evidence alone. What reads their tables is executed at each scale at which the book has a page of it.

    Raises:
        click.ClickException, ValueError: as `run_notebook` and `stir.book.runner.check`, at `BOOK_SCALE`; at another
            scale the page says why it is not there.
    """
    for scale, names in scales.items():
        for notebook, values, folder in stale(project, scale, names):
            try:
                if scale != BOOK_SCALE and (lacking := evidence.lacking(project, notebook.stem, scale)):
                    raise ValueError(lacking)
                run_notebook(
                    project, notebook, values, folder, scale=scale, cell_timeout=cell_timeout, alone=scale != BOOK_SCALE
                )
            except (click.ClickException, ValueError) as error:  # the latter before it starts
                if scale == BOOK_SCALE:
                    raise
                message = error.message if isinstance(error, click.ClickException) else str(error)
                click.echo(f"The evidence of {notebook.name} does not make its page. {message}", err=True)
                pages.write_notice(notebook, folder, scale, message)


def stale(
    project: Path, scale: str, names: Collection[str] | None = None
) -> Iterator[tuple[Path, dict[str, Any], Path]]:
    """Print a line on each notebook whose page at a scale is stale; yield it with its values and the page's folder.

    Args:
        names: of the notebooks, beside those that read tables and have a page in the book at that scale; None for all.
    """
    folder = project / "book" / "runs" / scale
    remove_leftovers(folder, ".running-")  # of a run that was killed at its end; its page may be current
    notebooks = lookup.own_files(project, "notebooks/*.ipynb")
    for notebook in sorted(notebooks, key=lambda path: (freshness.reads_tables(path), path.name)):
        of_tables = freshness.reads_tables(notebook) and f"runs/{scale}/{notebook.stem}" in contents.pages_of(project)
        if names is not None and notebook.stem not in names and not of_tables:
            continue
        values = lookup.load_scale(project, scale, notebook)
        if not freshness.is_current(notebook, values, folder):
            click.echo(f"Executing {notebook.name} at the scale {scale} ...")
            yield notebook, values, folder


def silence_libraries() -> None:
    """Silence libraries whose logs would repeat, in many lines, the one-line message of an error.

    A cell that is interrupted is a task that nobody waits for, of which asyncio would tell in a traceback.
    """
    for name in ("asyncio", "papermill", "traitlets"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
