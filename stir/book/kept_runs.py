"""Runs whose measurements are kept; a run of the same measurements, or of a part of them, needs no images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stir.book import evidence, parameters
from stir.book.staging import folders_of_runs, made_from
from stir.files import store_folder

# Parameters that no measurement depends on.
FREE = ("device", "progress", "labels")
# Lists of which a part is kept where all of it is, and the entries that have to stay, since pictures are of these.
PARTS = {
    "losses": slice(1),
    "seeds": slice(2),
    "architectures": slice(0),
    "solvers": slice(0),
    "layers": slice(-1, None),
}


def parameters_of(notebook: Path) -> Iterator[dict[str, Any]]:
    """Yield the parameters of each run of `notebook` all of whose measurements are kept.

    Those are the pages of the evidence, and pages executed here whose measurements are still in the store.
    """
    project = notebook.parents[1]
    for page in evidence.folder_of(project).glob(f"pages/*/{notebook.stem}.json"):
        yield evidence.read_page(page)[0]
    stores = store_folder(), evidence.folder_of(project)
    for folder in folders_of_runs(project):
        values = made_from(folder / f"{notebook.stem}.json").get("parameters")
        used = folder / f"{notebook.stem}{evidence.USED}"
        with suppress(OSError, ValueError):  # without a list of what it used, or with a damaged one
            names = json.loads(used.read_text(encoding="utf-8"))
            if isinstance(values, dict) and all(any((store / name).exists() for store in stores) for name in names):
                yield values


def to_measure(notebook: Path, values: Mapping[str, Any]) -> dict[str, tuple[Any, Any]] | None:
    """Parameters in which a run differs from the kept run most like it, so that it has to be measured.

    Returns:
        Parameter -> its values in the kept run and in this one; empty if all of it is kept, None if nothing is.
    """
    wanted, differences = parameters.complete(notebook, values), []
    for run in parameters_of(notebook):
        kept = parameters.complete(notebook, run)
        names = [name for name in wanted if name not in FREE and not _is_part(name, wanted[name], kept[name])]
        differences.append({name: (kept[name], wanted[name]) for name in names})
    return min(differences, key=len, default=None)


def _is_part(name: str, wanted: Any, kept: Any) -> bool:
    """True if a parameter asks for what is kept, or for a part of it."""
    if wanted == kept or name not in PARTS:
        return wanted == kept
    first = PARTS[name]
    return wanted[first] == kept[first] and all(each in kept for each in wanted)


def without_images(notebook: Path, values: Mapping[str, Any]) -> str:
    """Sentence on what can be asked for in place of `values` where there are no images."""
    different = to_measure(notebook, values)
    if different is None:
        return "Nothing that this notebook measures on them is kept"
    changes = [
        f"{name}={json.dumps(before)} in place of {json.dumps(now)}" for name, (before, now) in different.items()
    ]
    parts = [name for name in PARTS if name in parameters.declared(notebook) and name not in different]
    more = f", with these {', '.join(parts)} or some of them" if parts else ""
    return f"What is kept can be shown without them: {', '.join(changes)}{more}"
