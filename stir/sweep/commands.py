"""The command `stir sweep`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from stir.book.errors import resumable
from stir.book.options import NotebookCommand, cell_timeout_option, parameter_option, scale_option
from stir.book.terminal import noted


@click.command(cls=NotebookCommand)
@click.argument("name", metavar="NOTEBOOK")
@click.option(
    "--grid",
    "grid",
    multiple=True,
    metavar="NAME=VALUES",
    help="Values of one parameter, such as epsilon=0.25,0.5,1 or seed=0..4; give it once for each parameter.",
)
@parameter_option
@scale_option
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for the results.  [default: runs/SCALE, with the folders that `stir run` has]",
)
@click.option("--retry", is_flag=True, help="Run those again that failed.")
@click.option(
    "--plot",
    "column",
    metavar="COLUMN",
    help="Draw this column, of the verdicts or else of all that was measured; --against names a parameter.",
)
@click.option("--against", metavar="NAME", help="The parameter of the figure.  [default: the grid's first]")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Combinations at a time.  [default: one for each GPU, or else for each core; 1 job]",
)
@click.option("--scheduler", metavar="ADDRESS", help="Run on this cluster of Dask, such as tcp://10.0.0.1:8786.")
@click.option(
    "--cluster",
    "queue",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Run as jobs of a queueing system, such as SLURM, which FILE describes; see notebooks/clusters.",
)
@cell_timeout_option
def sweep(
    name: str,
    grid: tuple[str, ...],
    given: tuple[tuple[str, str], ...],
    scale: str,
    output: Path | None,
    retry: bool,
    column: str | None,
    against: str | None,
    workers: int | None,
    scheduler: str | None,
    queue: Path | None,
    cell_timeout: int,
) -> None:
    """Execute a notebook once for each combination of a grid.

    On all cores, or on a cluster. What is done is not run again: the same command goes on where it was.
    """
    with noted("starting ..."):
        from stir.book import lookup, places
        from stir.sweep import ending, sweeping, tidy
        from stir.sweep.combination import DONE, FAILED, OPEN

    planned = sweeping.plan(lookup.current_project(), name, scale, given, grid, output)
    if against is not None and against not in planned.varied:
        raise ValueError(f"against={against!r} is no parameter of the grid; use one of {', '.join(planned.varied)}")
    if scheduler and (queue or workers):
        raise ValueError(f"scheduler={scheduler!r} has its own workers; leave --workers and --cluster out")
    for sentence in planned.downloads:
        click.echo(sentence)
    if column and not tidy.check_column(planned, column):
        click.echo(f"No run of {planned.notebook} is here to tell whether its tables have a column {column!r}.")
    before = [each.state for each in planned.combinations]
    wanted = (OPEN, FAILED) if retry else (OPEN,)
    pending = [each for each, state in zip(planned.combinations, before, strict=True) if state in wanted]
    click.echo(f"{ending.counted(len(before), 'combination')}: {before.count(DONE)} done, {len(pending)} to run")
    outcomes = _run(pending, workers, scheduler, queue, cell_timeout) if pending else []
    failed = ending.failures(planned.combinations, before, outcomes)
    done = [each for each in planned.combinations if each.folder not in failed]
    for path in tidy.write(planned, done):
        click.echo(places.shown(path))
    problems = []
    if column and done:
        try:
            click.echo(places.shown(tidy.draw(planned, done, column, against or planned.varied[0])))
        except ValueError as error:  # must not hide what failed
            problems.append(f"No figure is drawn: {error}")
    problems += ending.failed_lines(planned.combinations, failed)
    for line in ending.stale_lines(done) if outcomes else []:
        click.echo(line)
    if problems:
        raise click.ClickException("\n".join(problems))


def _run(
    pending: list[Any], workers: int | None, scheduler: str | None, queue: Path | None, cell_timeout: int
) -> list[Any]:
    """Run combinations on the cluster that was asked for, with a line as each ends, and return their outcomes."""
    from stir.computing.devices import resolve_device
    from stir.sweep import cluster, ending, sweeping

    if scheduler:
        chosen = cluster.existing(scheduler)
    elif queue:
        chosen = cluster.queued(queue, workers or 1)
    else:
        on_cpu = all(resolve_device(each.values.get("device", "auto")).type == "cpu" for each in pending)
        chosen = cluster.local(workers, [] if on_cpu else cluster.gpus(), at_most=len(pending))
    start, outcomes = time.perf_counter(), []
    with (
        resumable("goes on from what is done, and from what is kept of the rest"),
        chosen as client,
    ):
        begun = time.perf_counter() - start
        click.echo(f"Dashboard: {client.dashboard_link}")
        for outcome in sweeping.run(client, pending, cell_timeout):
            outcomes.append(outcome)
            end = "failed" if outcome.failure else f"{outcome.seconds:.0f} s" if outcome.seconds else "was done"
            click.echo(f"[{len(outcomes)}/{len(pending)}] {outcome.combination.words}: {end}")
        seconds = time.perf_counter() - start
        count = len(client.scheduler_info(n_workers=-1)["workers"])
    if count:
        share = sweeping.efficiency(outcomes, count, seconds)
        those = ending.counted(count, "worker")
        click.echo(f"{seconds:.0f} s with {those}, of it {begun:.0f} s to start them; at work {share:.0%} of the time")
    return outcomes
