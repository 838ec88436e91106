"""A sweep: a notebook with every combination of a grid, each run once, in the folder that `stir run` has for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stir.book import lookup, parameters, places, runner
from stir.book.freshness import absolute_paths
from stir.files import store_folder
from stir.sweep.combination import Combination, Outcome, execute
from stir.sweep.grid import combinations, in_words, parse_grid

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class Sweep:
    """The combinations of a grid, and where their tables go.

    Attributes:
        notebook: name of the notebook.
        varied: the parameters of the grid.
        combinations: every combination of their values.
        folder: of the sweep's tables and figures.
        name: begins their names.
        downloads: sentences on what it downloads.
    """

    notebook: str
    varied: tuple[str, ...]
    combinations: list[Combination]
    folder: Path
    name: str
    downloads: list[str] = field(default_factory=list)


def plan(
    project: Path,
    notebook: str,
    scale: str,
    given: Sequence[tuple[str, str]],
    grid: Sequence[str],
    output: Path | None = None,
) -> Sweep:
    """Read and check all that a sweep is asked for, before anything runs.

    Args:
        project: its folder.
        notebook, scale: names.
        given: name and text of parameters that all combinations have in common.
        grid: texts, as in `stir.sweep.grid.parse_grid`.
        output: folder of the sweep, with one for each combination; None for those that `stir run` has.

    Raises:
        ValueError: any of it is unknown, of another form or another type, or stands twice; or there is no grid.
    """
    source = lookup.find_notebook(project, notebook).absolute()
    declared = parameters.declared(source)
    shared = parameters.parse_given(given, declared)
    varied = parse_grid(grid, declared)
    if not varied:
        raise ValueError("a sweep needs a grid; give one, such as --grid epsilon=0.25,0.5,1")
    twice = sorted(varied.keys() & shared.keys())
    if twice:
        raise ValueError(f"parameter {twice[0]!r} is given by -p and in the grid; leave one of them out")
    base = lookup.load_scale(project, scale, source)
    folder = output.absolute() if output else project / "runs" / scale
    planned, needed = [], []
    for values in combinations(varied):
        # Workers run elsewhere: the paths that a user gives begin here.
        everything = absolute_paths(places.with_given(source, base, shared | values))
        try:
            needed += runner.check(source, everything)
        except ValueError as error:
            others = {name: value for name, value in values.items() if f"{name}={value!r}" not in str(error)}
            raise ValueError(f"{in_words(others)}: {error}" if others else str(error)) from error
        if output:
            place = folder / places.label(source.stem, places.differences(source, base, everything))
            places.check_free(place, source, everything)
        else:
            place = places.run_folder(project, source, scale, base, everything)
        # What failed must not lie among the book's pages.
        place = folder / source.stem if place == project / "book" / "runs" / scale else place
        places.check_findings(place, source, everything)
        planned.append(Combination(source, scale, everything, values, place))
    common = places.label(source.stem, places.differences(source, base, base | shared)).removesuffix("-")
    return Sweep(
        source.stem, tuple(varied), planned, folder, f"{common}-{places.label('by', varied)}", [*dict.fromkeys(needed)]
    )


def run(client: Client, pending: Sequence[Combination], cell_timeout: int) -> Iterator[Outcome]:
    """Run combinations on a cluster, and yield how each ended, in the order in which they end.

    One whose worker dies runs again on another.
    """
    from distributed import as_completed

    arguments: Any = dict(store=str(store_folder()), cell_timeout=cell_timeout)
    futures = client.map(execute, pending, **arguments, pure=False, key=[each.name for each in pending])
    by_key = dict(zip([future.key for future in futures], pending, strict=True))
    waiting = as_completed(futures, raise_errors=False)
    del futures  # what is done is released; else the scheduler would have it made again where its worker dies
    for future in waiting:
        combination = by_key[future.key]
        if future.status == "finished":
            yield future.result()
        else:
            reason = _lost(future.exception())
            combination.keep_failure(reason)
            yield Outcome(combination, failure=reason)


def _lost(error: BaseException | None) -> str:
    """Reason why a cluster gave a combination up."""
    if type(error).__name__ == "KilledWorker":
        return "its workers died, time and again; most often for want of memory"
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def efficiency(outcomes: Sequence[Outcome], workers: int, seconds: float) -> float:
    """Share of the workers' time that combinations ran, with the start of each one's process, in [0, 1].

    Args:
        workers: their number.
        seconds: from before the cluster's start to the last combination's end.
    """
    return sum(outcome.seconds for outcome in outcomes) / (workers * seconds)
