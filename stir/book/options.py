"""Options that several commands have."""

from __future__ import annotations

import click

BOOK_SCALE = "digits"

scale_option = click.option(
    "--scale", default=BOOK_SCALE, show_default=True, help="A parameter file, notebooks/scales/SCALE.yml."
)
parameter_option = click.option(
    "-p",
    "--parameter",
    "given",
    type=(str, str),
    multiple=True,
    metavar="NAME VALUE",
    help="Set one parameter; lists as YAML: -p seeds '[0, 1]'.",
)
cell_timeout_option = click.option(
    "--cell-timeout",
    type=click.IntRange(min=1),
    default=24 * 3600,
    show_default=True,
    metavar="SECONDS",
    help="Time that a cell may take.",
)
