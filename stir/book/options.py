"""Options that several commands have, and the help of those that run a notebook."""

from __future__ import annotations

from contextlib import suppress

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


class NotebookCommand(click.Command):
    """A command whose argument `name` is a notebook; its `--help` lists the parameters of the one that is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with suppress(click.UsageError):  # which parsing tells of
            ctx.meta["stir.notebook"] = self.make_parser(ctx).parse_args([*args])[0].get("name")
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of parameters, where this is the project's folder and its packages are installed.

        Raises:
            click.UsageError: there is no such notebook.
        """
        name = ctx.meta.get("stir.notebook")
        if not isinstance(name, str):
            return
        with suppress(ImportError, ValueError):
            from stir.book import listing, lookup

            project = lookup.current_project()
            try:
                notebook = lookup.find_notebook(project, name)
            except ValueError as error:
                raise click.UsageError(str(error)) from error
            formatter.write(f"\n{listing.parameters_table(notebook)}\n")
