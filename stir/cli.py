"""Command line: `stir list`, `stir check` and `stir run` find, check and execute notebooks, `stir keep` keeps what one
measured, `stir book` builds the book, and `stir models` lists trained networks.

A command imports what it needs when it is called, so that `stir --help` does not wait for PyTorch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from stir.book.commands import compare
from stir.book.errors import book_packages, one_message, orderly_end
from stir.book.options import BOOK_SCALE, NotebookCommand, cell_timeout_option, parameter_option, scale_option
from stir.book.terminal import noted
from stir.course.commands import course
from stir.sweep.commands import sweep


@click.group()
@click.version_option(version("stir-companion"), prog_name="stir")
@click.pass_context
def main(context: click.Context) -> None:
    """Shared invariances of neural networks, measured."""
    context.with_resource(orderly_end())


Given = tuple[tuple[str, str], ...]


@main.command("list", cls=NotebookCommand)
@click.argument("name", metavar="[NOTEBOOK]", required=False)
@scale_option
def list_notebooks(name: str | None, scale: str) -> None:
    """List the notebooks, or the parameters of one.

    The notebooks with the time that their last run took, or the parameters of NOTEBOOK at a scale.
    """
    with book_packages():
        from stir.book import listing, lookup
    with one_message():
        project = lookup.current_project()
        if name is None:
            click.echo(listing.notebooks_table(project, lookup.own_files(project, "notebooks/*.ipynb"), scale))
        else:
            notebook = lookup.find_notebook(project, name)
            click.echo(f"{listing.title(notebook)}\n")
            click.echo(listing.parameters_table(notebook, lookup.load_scale(project, scale, notebook)))


@main.command(cls=NotebookCommand)
@click.argument("name", metavar="NOTEBOOK")
@scale_option
@parameter_option
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the results.  [default: book/runs/SCALE, or runs/SCALE/NOTEBOOK-PARAMETERS if any differ]",
)
@click.option("--fresh", is_flag=True, help="Measure again what was kept of earlier runs.")
@cell_timeout_option
def run(name: str, scale: str, given: Given, output: Path | None, fresh: bool, cell_timeout: int) -> None:
    """Execute a notebook with the parameters that you give.

    NOTEBOOK is a name, such as `initialization`, and `stir list` lists them. Nothing starts unless the parameters fit.
    Each set of parameters has a folder of its own, named by what differs from the scale.
    """
    with noted("starting ..."), book_packages():
        from stir.book import lookup, outcome, places, runner, running
    with one_message():
        project = lookup.current_project()
        notebook = lookup.find_notebook(project, name)
        base, values = running.values_of(project, notebook, scale, given)
        for sentence in runner.check(notebook, values, fresh=fresh):
            click.echo(sentence, err=True)
        folder = output.resolve() if output else places.run_folder(project, notebook, scale, base, values)
        if output:
            places.check_free(folder, notebook, values)
        places.check_findings(folder, notebook, values)
        page = running.run_notebook(
            project, notebook, values, folder, scale=scale, cell_timeout=cell_timeout, fresh=fresh
        )
        click.echo(outcome.summary(page))


@main.command(cls=NotebookCommand)
@click.argument("name", metavar="[NOTEBOOK]", required=False)
@click.option("--scale", help="A parameter file, notebooks/scales/SCALE.yml.  [default: digits]")
@parameter_option
def check(name: str | None, scale: str | None, given: Given) -> None:
    """Check parameters without running, or which pages are stale.

    The parameters of NOTEBOOK, or of all notebooks at a scale; without either, the executed pages, and why they are
    stale.
    """
    with noted("starting ..."), book_packages():
        from stir.book import checking, lookup, running
    if given and name is None:
        raise click.UsageError("-p is of one notebook; name it")
    with one_message():
        project = lookup.current_project()
        if name is not None:
            notebook = lookup.find_notebook(project, name)
            scale = scale or BOOK_SCALE
            values = running.values_of(project, notebook, scale, given)
            click.echo(checking.check_run(project, notebook, scale, *values))
            return
        lines, good = checking.scale(project, scale) if scale else checking.pages(project)
    click.echo("\n".join(lines))
    if not good:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("name", metavar="NOTEBOOK")
@scale_option
def keep(name: str, scale: str) -> None:
    """Copy what a page was measured with into book/evidence.

    All that NOTEBOOK has used at a scale, but no weights and images.
    """
    with book_packages():
        from stir.book import evidence, lookup, parameters, places
        from stir.book.staging import made_from
    with one_message():
        project = lookup.current_project()
        notebook = lookup.find_notebook(project, name)
        lookup.load_scale(project, scale, notebook)
        used = project / "book" / "runs" / scale / f"{notebook.stem}{evidence.USED}"
        values = made_from(used.with_name(f"{notebook.stem}.json")).get("parameters")
        if not used.exists() or values is None:
            command = f"stir run {notebook.stem} --scale {scale}"
            raise ValueError(f"{places.shown(used)} does not exist; run `{command}` first")
        values = parameters.complete(notebook, values)
        files = evidence.keep(project, notebook.stem, scale, values, json.loads(used.read_text(encoding="utf-8")))
    size = sum(path.stat().st_size for path in files) / 1e6
    click.echo(f"{len(files)} files, {size:.1f} MB, in {places.shown(evidence.folder_of(project))}: commit them")


@main.command()
@click.option("--scale", help="Make a book of all notebooks at this scale instead; those that are stale are executed.")
@click.option(
    "--with",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Make a book of the executed notebooks in FOLDER, such as runs/digits, instead; may be given several times.",
)
@cell_timeout_option
def book(scale: str | None, folders: tuple[Path, ...], cell_timeout: int) -> None:
    """Build the book, or one of your own runs.

    The notebooks whose pages are stale are executed first.
    """
    with book_packages():
        from stir.book import build, evidence, lookup, own, running
        from stir.course import sessions
    with one_message():
        project = lookup.current_project()
        if scale or folders:
            page = own.build(project, scale, folders, cell_timeout)
        else:
            names = [path.stem for path in lookup.own_files(project, "notebooks/*.ipynb")]
            # All at the one scale, measured now; at others those that there is evidence of, and what their tables make.
            running.run_stale(project, {BOOK_SCALE: names, **evidence.pages(project)}, cell_timeout)
            sessions.make_pages(project, click.echo)
            page = build.build_book(project)
    click.echo(f"The book: {page.relative_to(project)}")


@main.command()
@click.option("--remove", "keys", multiple=True, metavar="KEY", help="Remove this network; may be given several times.")
def models(keys: tuple[str, ...]) -> None:
    """List the trained networks in the store, or remove some.

    Each with its settings, accuracy and size.
    """
    with one_message():
        from stir.training import store

        store.remove_models(keys)
        for key in keys:
            click.echo(f"Removed {key}")
        if not keys:
            _list_models()


def _litter_of_pages(project: Path) -> Iterator[Path]:
    """Files that killed runs and builds left in a clone of the project."""
    from stir.book.staging import folders_of_runs, leftovers

    folders = [(folder, ".running-") for folder in folders_of_runs(project)]
    for folder, prefix in [*folders, (project / "_build", ".building-")]:
        for left in leftovers(folder, prefix):
            yield from (path for path in left.rglob("*") if path.is_file())


def _list_models() -> None:
    from stir.files import abandoned, store_folder
    from stir.training import store

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


for _command in (sweep, compare, *course.commands.values()):
    _command.callback = book_packages()(one_message()(_command.callback or main))
for _command in (sweep, compare, course):
    main.add_command(_command)
