"""Command line: `stir run` executes a notebook, `stir book` builds the book, `stir models` lists trained networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from stir.files import abandoned, store_folder
from stir.training import store

BOOK_SCALE = "digits"


@click.group()
def main() -> None:
    """Shared invariances of neural networks, measured."""


@contextmanager
def _book_packages() -> Iterator[None]:
    """Turn a failing import of the packages that only the book needs into a message with the remedy."""
    try:
        yield
    except ImportError as error:
        raise click.ClickException(
            f"this command needs the packages of the book ({error}); pip install 'stir-companion[book]'"
        ) from error


def _project() -> Path:
    project = Path.cwd()
    if not (project / "notebooks" / "scales").is_dir():
        raise click.ClickException(f"{project} is not this project's folder; go to your clone of it")
    return project


def _execute(notebook: Path, values: dict[str, Any], folder: Path, scale: str) -> None:
    from papermill.exceptions import PapermillExecutionError

    from stir.book import runner

    try:
        executed = runner.execute(notebook, values, folder, scale=scale)
    except PapermillExecutionError as error:
        raise click.ClickException(f"{notebook.name} failed; {folder} is as it was.\n{error}") from error
    click.echo(f"{executed} and, beside it, its table and figures")


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
def run(name: str, scale: str, given: tuple[tuple[str, str], ...], output: Path | None) -> None:
    """Execute NOTEBOOK, such as `initialization`, with its parameters checked."""
    with _book_packages():
        from stir.book import parameters, runner
    project = _project()
    try:
        notebook = runner.find_notebook(project, name)
        declared = parameters.declared(notebook)
        values = runner.load_scale(project, scale, notebook)
        values |= {key: parameters.parse_value(text, key, declared) for key, text in given}
        parameters.check_values(values, declared)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    # A run with other parameters must not replace a page of the book.
    folder = output or project / ("runs" if given else "book/runs") / scale
    _execute(notebook, values, folder, scale)


@main.command()
def book() -> None:
    """Execute the findings whose pages are stale, then build the book."""
    with _book_packages():
        from stir.book import build, freshness, runner
    project = _project()
    folder = project / "book" / "runs" / BOOK_SCALE
    try:
        notebooks = (project / "notebooks").glob("*.ipynb")
        for notebook in sorted(notebooks, key=lambda path: (freshness.reads_tables(path), path.name)):
            values = runner.load_scale(project, BOOK_SCALE, notebook)
            if not freshness.is_current(notebook, values, folder):
                click.echo(f"Executing {notebook.name} at the scale {BOOK_SCALE} ...")
                _execute(notebook, values, folder, BOOK_SCALE)
        page = build.build_book(project)
    except (ValueError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"The book: {page.relative_to(project)}")


@main.command()
@click.option("--remove", "keys", multiple=True, metavar="KEY", help="Remove this network; may be given several times.")
def models(keys: tuple[str, ...]) -> None:
    """List the trained networks in the store, with their settings, accuracy and size."""
    try:
        store.remove_models(keys)
        for key in keys:
            click.echo(f"Removed {key}")
        if not keys:
            _list_models()
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _list_models() -> None:
    table = store.stored_models()
    sizes = [path.stat().st_size for path in abandoned(store.litter)]
    if sizes:
        click.echo(
            f"{len(sizes)} files of killed runs or superseded, {sum(sizes) / 1e6:.1f} MB: the next run removes them."
        )
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
