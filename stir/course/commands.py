"""The commands `stir course check` and `stir course write`."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def course() -> None:
    """Check a machine for the course, and write what a class gets."""


@course.command()
def check() -> None:
    """Say whether this machine is ready for the sessions.

    If it is not, the lines say what is to be done.
    """
    from stir.course import ready

    good = True
    for fine, line in ready.findings():
        good = good and fine
        click.echo(f"{'ok  ' if fine else 'NOT '} {line}")
    if not good:
        raise click.exceptions.Exit(1)


@course.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default="_build/course")
def write(folder: Path) -> None:
    """Write what a class is handed out, and what its teacher needs.

    Into FOLDER go the students' notebooks, the teacher's, slides, and a store of trained networks.
    [default: _build/course]
    """
    from stir.course import handout, sources

    project = Path.cwd()
    if not sources.paths(project):
        raise click.ClickException(f"{project} holds no sessions, course/N-NAME.md; go to your clone of this project")
    archive = handout.write(project, folder, click.echo)
    click.echo(f"To hand out: {archive}, {archive.stat().st_size / 1e6:.1f} MB. For you: {folder / 'teacher'}")
