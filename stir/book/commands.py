"""The command `stir compare`."""

from __future__ import annotations

from pathlib import Path

import click

from stir.book.terminal import noted


@click.command()
@click.argument("networks", nargs=-1, metavar="MODULE:FUNCTION MODULE:FUNCTION ...")
@click.option(
    "--images", required=True, metavar="NAME", help="folder:PATH, or a data set that stir.load_dataset takes."
)
@click.option(
    "--layers",
    multiple=True,
    metavar="NAMES",
    help="Layers, separated by commas: of all networks, or given once for each.  [default: some, first to penultimate]",
)
@click.option("--n-images", type=int, default=200, show_default=True, help="Test images that are measured on.")
@click.option("--image-size", type=int, default=0, help="Height and width to resize to.  [default: the images' own]")
@click.option("--unreadable", default="refuse", show_default=True, help="Files that cannot be read: refuse or skip.")
@click.option("--measures", default="linear-cka", show_default=True, help="Of similarity, separated by commas.")
@click.option("--solver", default="tethered", show_default=True, help="Of the inversion.")
@click.option("--steps", type=int, default=200, show_default=True, help="Of the inversion.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the results.  [default: runs/compare-PARAMETERS]",
)
def compare(networks: tuple[str, ...], images: str, layers: tuple[str, ...], output: Path | None, **options) -> None:
    """Compare networks of your own, layer by layer.

    It leaves a table, and a report that says whether the numbers can be trusted.

    MODULE:FUNCTION is a function in a module of the current folder, or one that is installed, that returns a
    torch.nn.Module for images in [0, 1]; torchvision:resnet50 a network of torchvision's with published weights.
    """
    with noted("starting ..."):
        import pandas as pd

        from stir.book import compare as comparing
        from stir.book import freshness, outcome, places, runner, running

    named = [[each.strip() for each in names.split(",")] for names in layers]
    values = {"networks": [*networks], "path": str(Path.cwd()), "dataset": images, **options}
    values["measures"] = [each.strip() for each in options["measures"].split(",")]
    values["layer_names"] = named[0] if len(named) == 1 else named
    values = freshness.absolute_paths(values)
    runner.check(comparing.NOTEBOOK, values)
    comparing.check(values)
    folder = (
        output.absolute()
        if output
        else Path.cwd()
        / "runs"
        / places.label("compare", places.differences(comparing.NOTEBOOK, {"path": values["path"]}, values))
    )
    places.check_free(folder, comparing.NOTEBOOK, values)
    page = running.run_notebook(
        Path.cwd(),
        comparing.NOTEBOOK,
        values,
        folder,
        scale="own networks",
        cell_timeout=runner.CELL_TIMEOUT,
        again="begins anew, as networks of your own are measured each time",
    )
    click.echo(comparing.summary(pd.read_csv(folder / "compare.csv").fillna({"doubts": ""})))
    click.echo(outcome.summary(page))
