"""Freshness of executed notebooks: a fingerprint of everything that a page depends on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stir.book import contents, evidence, parameters
from stir.book.staging import is_whole
from stir.study.conclusions import tables_in

# Parameters that name a folder which the notebook reads, and the files there that it depends on.
FOLDERS = {
    "tables": tables_in,
    "beside": tables_in,
    "pages": lambda folder: sorted(folder.glob(f"*{evidence.USED}")),
    "benchmarks": lambda folder: sorted(folder.glob("*.jsonl")),
}

VERSIONS = ("stir-companion", "torch", "torchvision", "numpy", "papermill")


def reads_tables(notebook: Path) -> bool:
    """Return whether the notebook reads what others write into its folder, and so has to run after them."""
    return not {"tables", "pages"}.isdisjoint(parameters.declared(notebook))


def is_current(notebook: Path, values: dict[str, Any], folder: Path) -> bool:
    """Return whether `folder` holds the result of executing `notebook` with the parameters `values`, as of now."""
    return is_whole(folder / f"{notebook.stem}.json", folder, fingerprint(notebook, values, folder))


def fingerprint(notebook: Path, values: dict[str, Any], folder: Path) -> str:
    """Hash the notebook, its parameters, the files that it reads, the package and the versions of libraries."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    links = contents.with_links(notebook.read_text(encoding="utf-8"), notebook.parents[1], folder)
    digest.update((contents.about(notebook, folder) + links).encode())
    declared = parameters.declared(notebook)
    kept = evidence.files_of(notebook.parents[1], notebook.stem, folder.name)
    for path in [notebook, *_files_read(declared, values, folder), *kept]:
        digest.update(path.name.encode() + path.read_bytes())
    for root in _image_folders([parameter.value for parameter in declared.values()] + [*values.values()]):
        for line in _listing(root):
            digest.update(line.encode(errors="surrogateescape"))
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
            return f"folder:{_path(value.removeprefix('folder:')).resolve()}"
        return value

    resolved = {name: absolute(value) for name, value in values.items()}
    return resolved | {name: str(_path(resolved[name]).resolve()) for name in FOLDERS if resolved.get(name)}


def _path(text: str) -> Path:
    """Path of a text that may begin with `~`; `Path.expanduser` raises for a user that does not exist."""
    return Path(os.path.expanduser(text))


def _files_read(declared: dict[str, parameters.Parameter], values: dict[str, Any], folder: Path) -> list[Path]:
    files: list[Path] = []
    for name, parameter in declared.items():
        if name in FOLDERS:
            # A relative default starts where the notebook runs, in a folder inside `folder`.
            path = absolute_paths(values).get(name, parameter.value)
            files += FOLDERS[name]((folder / "running" / path).resolve()) if path else []
    return files


def _image_folders(values: list[Any]) -> Iterator[Path]:
    """The folders of images that values name, alone or in lists."""
    for value in values:
        if isinstance(value, list):
            yield from _image_folders(value)
        elif isinstance(value, str) and value.startswith("folder:"):
            yield _path(value.removeprefix("folder:"))


def _listing(root: Path) -> Iterator[str]:
    """A line for each file below `root`: its name, size and dates, and its number in the file system.

    Hashing the content of all images would take as long as to decode them. The last date, of the change of any of
    these, and the number show files that were rewritten, or exchanged for others, under their old name and date.
    """
    visited = set()
    for path, folders, names in os.walk(root, followlinks=True):
        folders.sort()
        if os.path.realpath(path) in visited:  # links in a loop
            folders.clear()
            continue
        visited.add(os.path.realpath(path))
        for name in sorted(names):
            file = os.path.join(path, name)
            try:
                status = os.stat(file)
                facts = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            except OSError:  # a broken link
                facts = ()
            yield f"{os.path.relpath(file, root)}\0{facts}\n"
