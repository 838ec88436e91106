"""Command line: `stir run` executes a notebook, `stir keep` keeps what it measured, `stir book` builds the book, and
`stir models` lists trained networks."""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from stir.book.staging import leftovers, remove_leftovers
from stir.computing.memory import is_out_of_memory
from stir.files import abandoned, store_folder
from stir.sweep.commands import sweep
from stir.training import store

BOOK_SCALE = "digits"


@click.group()
@click.pass_context
def main(context: click.Context) -> None:
    """Shared invariances of neural networks, measured."""
    context.with_resource(_orderly_end())


@contextmanager
def _orderly_end() -> Iterator[None]:
    """Turn signals that ask for the end into an exception, so that notebooks and their workers end too."""
    ends = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handled = [each for each in ends if signal.getsignal(each) is signal.SIG_DFL]  # nohup ignores one
    if threading.current_thread() is not threading.main_thread():
        handled = []
    for each in handled:
        signal.signal(each, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        for each in handled:
            signal.signal(each, signal.SIG_DFL)


@contextmanager
def _one_message() -> Iterator[None]:
    """Turn errors of the user's making into a message without a traceback."""
    try:
        yield
    except MemoryError as error:
        raise click.ClickException(str(error) or "memory does not suffice") from error
    except (ValueError, RuntimeError, OSError, ArithmeticError) as error:
        # PyTorch appends where in its own code an allocation failed.
        message = str(error).partition("\n")[0] if is_out_of_memory(error) else str(error)
        raise click.ClickException(message or type(error).__name__) from error


@contextmanager
def _book_packages() -> Iterator[None]:
    """Turn a failing import of the packages that only the book needs into a message with the remedy."""
    try:
        yield
    except ImportError as error:
        raise click.ClickException(
            f"this command needs the packages of the book ({error}); in your clone: pip install '.[book]'"
        ) from error


def _project() -> Path:
    project = Path.cwd()
    if not (project / "notebooks" / "scales").is_dir():
        raise click.ClickException(f"{project} is not this project's folder; go to your clone of it")
    return project


def _execute(notebook: Path, values: dict[str, Any], folder: Path, scale: str, cell_timeout: int, **how: bool) -> None:
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from stir.book import runner

    # A cell that is interrupted is a task that nobody waits for, of which asyncio would tell in a traceback; what
    # papermill would tell, the message below says.
    for name in ("asyncio", "papermill"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        executed = runner.execute(notebook, values, folder, scale=scale, cell_timeout=cell_timeout, **how)
    except PapermillExecutionError as error:
        reason = _what_failed(error)
    except DeadKernelError as error:
        reason = str(error)
    except CellTimeoutError:
        reason = f"a cell took longer than {cell_timeout} s; give it more with --cell-timeout"
    else:
        click.echo(f"{executed} and, beside it, its table and figures")
        return
    raise click.ClickException(f"{notebook.name} failed; {folder} is as it was. {reason[0].upper()}{reason[1:]}")


def _what_failed(error: Any) -> str:
    """Describe a cell's exception: the cell, its line, and the exception's own words.

    Args:
        error: papermill's PapermillExecutionError.
    """
    traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    line = re.search(r"^-+> *\d+ (.*)$", traceback, re.MULTILINE)
    place = f"cell {error.exec_count}" + (f", `{line[1].strip()}`" if line else "")
    message = f"{error.ename}: {error.evalue}" if error.evalue.strip() else error.ename
    return f"{place}: {message if len(message) < 2_000 else message[:2_000] + ' ...'}"


cell_timeout_option = click.option(
    "--cell-timeout",
    type=click.IntRange(min=1),
    default=24 * 3600,
    show_default=True,
    metavar="SECONDS",
    help="Time that a cell may take.",
)


@main.command()
@click.argument("name", metavar="NOTEBOOK")
@click.option("--scale", default=BOOK_SCALE, show_default=True, help="A parameter file, notebooks/scales/SCALE.yml.")
@click.option(
    "-p",
    "--parameter",
    "given",
    type=(str, str),
    multiple=True,
    metavar="NAME VALUE",
    help="Set one parameter; lists as YAML: -p seeds '[0, 1]'.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for the results.  [default: book/runs/SCALE, or runs/SCALE if -p is used]",
)
@click.option("--fresh", is_flag=True, help="Measure again what was kept of earlier runs.")
@cell_timeout_option
def run(
    name: str, scale: str, given: tuple[tuple[str, str], ...], output: Path | None, fresh: bool, cell_timeout: int
) -> None:
    """Execute NOTEBOOK, such as `initialization`, with its parameters checked."""
    with _book_packages():
        from stir.book import parameters, runner
    project = _project()
    with _one_message():
        notebook = runner.find_notebook(project, name)
        declared = parameters.declared(notebook)
        values = runner.load_scale(project, scale, notebook)
        values |= {key: parameters.parse_value(text, key, declared) for key, text in given}
        parameters.check_values(values, declared)
        # A run with other parameters must not replace a page of the book.
        folder = output or project / ("runs" if given else "book/runs") / scale
        _execute(notebook, values, folder, scale, cell_timeout, fresh=fresh)


@main.command()
@click.argument("name", metavar="NOTEBOOK")
@click.option("--scale", default=BOOK_SCALE, show_default=True, help="The scale that it was run at.")
def keep(name: str, scale: str) -> None:
    """Copy what NOTEBOOK's page was measured with, but weights and images, into book/evidence."""
    with _book_packages():
        from stir.book import evidence, runner
    project = _project()
    with _one_message():
        notebook = runner.find_notebook(project, name)
        runner.load_scale(project, scale, notebook)
        used = project / "book" / "runs" / scale / f"{name}{evidence.USED}"
        if not used.exists():
            raise ValueError(f"{used} does not exist; run `stir run {name} --scale {scale}` first")
        files = evidence.keep(project, name, scale, json.loads(used.read_text(encoding="utf-8")))
    size = sum(path.stat().st_size for path in files) / 1e6
    click.echo(f"{len(files)} files, {size:.1f} MB, in {evidence.folder_of(project)}: commit them")


@main.command()
@cell_timeout_option
def book(cell_timeout: int) -> None:
    """Execute the findings whose pages are stale, then build the book."""
    with _book_packages():
        from stir.book import build, evidence, freshness, runner
    project = _project()
    with _one_message():
        notebooks = runner.own_files(project, "notebooks/*.ipynb")
        notebooks = sorted(notebooks, key=lambda path: (freshness.reads_tables(path), path.name))
        # All at the one scale, measured now; at others those that there is evidence of, and what their tables make.
        scales = {BOOK_SCALE: [path.stem for path in notebooks], **evidence.pages(project)}
        for scale, names in scales.items():
            folder = project / "book" / "runs" / scale
            remove_leftovers(folder, ".running-")  # of a run that was killed at its end; its page may be current
            for notebook in notebooks:
                if notebook.stem not in names and not freshness.reads_tables(notebook):
                    continue
                values = runner.load_scale(project, scale, notebook)
                if not freshness.is_current(notebook, values, folder):
                    click.echo(f"Executing {notebook.name} at the scale {scale} ...")
                    try:
                        _execute(notebook, values, folder, scale, cell_timeout, alone=scale != BOOK_SCALE)
                    except click.ClickException as error:
                        if scale == BOOK_SCALE:
                            raise
                        click.echo(f"The evidence of {notebook.name} does not make its page. {error.message}", err=True)
                        runner.write_notice(notebook, folder, scale, error.message)
        page = build.build_book(project)
    click.echo(f"The book: {page.relative_to(project)}")


@main.command()
@click.option("--remove", "keys", multiple=True, metavar="KEY", help="Remove this network; may be given several times.")
def models(keys: tuple[str, ...]) -> None:
    """List the trained networks in the store, with their settings, accuracy and size."""
    with _one_message():
        store.remove_models(keys)
        for key in keys:
            click.echo(f"Removed {key}")
        if not keys:
            _list_models()


def _litter_of_pages(project: Path) -> Iterator[Path]:
    """Files that killed runs and builds left in a clone of the project."""
    folders = [(folder, ".running-") for runs in ("book/runs", "runs") for folder in (project / runs).glob("*")]
    for folder, prefix in [*folders, (project / "_build", ".building-")]:
        for left in leftovers(folder, prefix):
            yield from (path for path in left.rglob("*") if path.is_file())


def _list_models() -> None:
    table = store.stored_models()
    litter = [*abandoned(store.litter), *_litter_of_pages(Path.cwd())]
    if litter:
        megabytes = sum(path.stat().st_size for path in litter) / 1e6
        click.echo(f"{len(litter)} files of killed runs or superseded, {megabytes:.1f} MB: the next run removes them.")
    if table.empty:
        click.echo(f"No networks in {store_folder()}; `stir.trained_model` keeps what it trains there.")
        return
    formats: dict[str | int, Callable[[Any], str]] = {
        **dict.fromkeys(("accuracy", "robust_l2", "robust_linf"), "{:.1%}".format),
        "megabytes": "{:.1f}".format,
    }
    click.echo(table.to_string(index=False, na_rep="-", formatters=formats))
    click.echo(f"\n{len(table)} networks, {table.megabytes.sum():.0f} MB, in {store_folder()}")
    click.echo("Robust accuracy: PGD with 20 steps, L2 at 0.5 and L-infinity at 8/255, on at most 1,000 test images.")


for _command in (sweep,):
    _command.callback = _book_packages()(_one_message()(_command.callback or main))
    main.add_command(_command)
