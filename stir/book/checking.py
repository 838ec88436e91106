"""Reports of `stir check`: on parameters, without running a notebook, and on each executed page, current or stale."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stir.book import freshness, lookup, places, runner
from stir.book.staging import folders_of_runs


def check_run(project: Path, notebook: Path, scale: str, base: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Check the parameters of a run; return a line with the folder of its results, and a line for each download.

    Raises:
        ValueError: as `stir.book.runner.check` and `stir.book.places.check_findings`.
    """
    needed = runner.check(notebook, values)
    folder = places.run_folder(project, notebook, scale, base, values)
    places.check_findings(folder, notebook, values)
    return "\n".join([f"{notebook.stem} at the scale {scale} can run, into {places.shown(folder)}", *needed])


def scale(project: Path, name: str) -> tuple[list[str], bool]:
    """Lines on the notebooks that can run at a scale and on those that cannot, and true if all can."""
    able, needed, unable = [], [], {}
    for notebook in lookup.own_files(project, "notebooks/*.ipynb"):
        base = lookup.load_scale(project, name, notebook)
        try:
            needed += runner.check(notebook, base)
            able.append(notebook.stem)
        except ValueError as error:
            unable.setdefault(str(error), []).append(notebook.stem)
    lines = [f"Can run at the scale {name}: {', '.join(able)}"] if able else []
    lines += dict.fromkeys(needed)
    return [*lines, *(f"Cannot run: {', '.join(names)}: {reason}" for reason, names in unable.items())], not unable


def pages(project: Path) -> tuple[list[str], bool]:
    """A line on each executed page, and true if all are current.

    Those of the book should have the parameters of their scale, others those that they were executed with.
    """
    notebooks = {path.name: path for path in lookup.own_files(project, "notebooks/*.ipynb")}
    lines, good = [], True
    for page in [page for folder in folders_of_runs(project) for page in folder.glob("*.ipynb")]:
        if page.name not in notebooks:
            continue
        of_book = page.parents[1] == project / "book" / "runs"
        values = lookup.load_scale(project, page.parent.name, notebooks[page.name]) if of_book else None
        reason = freshness.staleness(notebooks[page.name], values, page.parent)
        good = good and not reason
        lines.append(f"{page.relative_to(project)}: {f'stale: {reason}' if reason else 'current'}")
    return sorted(lines) or ["No page was executed yet; `stir book` executes those of the book."], good
