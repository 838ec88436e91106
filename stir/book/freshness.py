"""Freshness of executed notebooks: a fingerprint of everything that a page depends on."""

from __future__ import annotations

import ast
import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stir.book import parameters
from stir.study.conclusions import tables_in

# Parameters that name a folder which the notebook reads, and the files there that it depends on.
FOLDERS = {"tables": tables_in, "benchmarks": lambda folder: sorted(folder.glob("*.jsonl"))}

VERSIONS = ("stir-companion", "torch", "torchvision", "numpy", "papermill")


def reads_tables(notebook: Path) -> bool:
    """Return whether the notebook reads the tables of others in its folder, and so has to run after them."""
    return "tables" in parameters.declared(notebook)


def is_current(notebook: Path, values: dict[str, Any], folder: Path) -> bool:
    """Return whether `folder` holds the result of executing `notebook` with the parameters `values`, as of now."""
    try:
        manifest = json.loads((folder / f"{notebook.stem}.json").read_text(encoding="utf-8"))
        return manifest["made_of"] == fingerprint(notebook, values, folder) and (folder / notebook.name).exists()
    except (OSError, ValueError, KeyError):
        return False


def fingerprint(notebook: Path, values: dict[str, Any], folder: Path) -> str:
    """Hash the notebook, its parameters, the files that it reads, the package and the versions of libraries."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for path in [notebook, *_files_read(notebook, values, folder)]:
        digest.update(path.name.encode() + path.read_bytes())
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    for name in VERSIONS:
        digest.update(version(name).encode())
    return digest.hexdigest()


def absolute_paths(values: dict[str, Any]) -> dict[str, Any]:
    """Make the paths in `values` absolute, because a notebook runs in another folder."""

    def absolute(value: Any) -> Any:
        if isinstance(value, list):
            return [absolute(each) for each in value]
        if isinstance(value, str) and value.startswith("folder:"):
            return f"folder:{Path(value.removeprefix('folder:')).expanduser().resolve()}"
        return value

    resolved = {name: absolute(value) for name, value in values.items()}
    return resolved | {name: str(Path(resolved[name]).expanduser().resolve()) for name in FOLDERS if name in resolved}


def _files_read(notebook: Path, values: dict[str, Any], folder: Path) -> list[Path]:
    files: list[Path] = []
    for name, parameter in parameters.declared(notebook).items():
        if name in FOLDERS:
            # A relative default starts where the notebook runs, in a folder inside `folder`.
            path = absolute_paths(values).get(name, ast.literal_eval(parameter.default))
            files += FOLDERS[name]((folder / "running" / path).resolve())
    return files
