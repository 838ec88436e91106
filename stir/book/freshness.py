"""Freshness of executed notebooks: everything that a page depends on, and the changes since it was made."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stir.book import evidence, parameters
from stir.book.staging import is_whole, made_from, spoilt_files
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
    """Return whether the notebook reads tables that others write into its folder, and so has to run after them."""
    return not {"tables", "pages"}.isdisjoint(parameters.declared(notebook))


def is_current(notebook: Path, values: dict[str, Any], folder: Path) -> bool:
    """Return whether `folder` holds the result of executing `notebook` with the parameters `values`, as of now."""
    return is_whole(folder / f"{notebook.stem}.json", folder, fingerprint(notebook, values, folder))


def fingerprint(notebook: Path, values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Hashes of the notebook, the files that it reads and the package, its parameters and the versions of libraries."""
    declared = parameters.declared(notebook)
    evidence_files = evidence.files_of(notebook.parents[1], notebook.stem, folder.name)
    roots = _image_folders([parameter.value for parameter in declared.values()] + [*values.values()])
    return {
        "notebook": _source(notebook),
        "parameters": values,
        "tables": {
            f"{path.parent.name}/{path.name}": _short(path.read_bytes())
            for path in _files_read(declared, values, folder)
        },
        "evidence": {f"{path.parent.name}/{path.name}": _short(path.read_bytes()) for path in evidence_files},
        "images": {
            str(root): _short(*(line.encode(errors="surrogateescape") for line in _listing(root))) for root in roots
        },
        **of_the_package(),
    }


def made_by(notebook: Path, folder: Path) -> bool:
    """Return whether `folder` holds the result of executing `notebook` as it is now, with any parameters or package."""
    return made_from(folder / f"{notebook.stem}.json").get("notebook") == _source(notebook)


def _source(notebook: Path) -> dict[str, str]:
    return {notebook.name: _short(notebook.read_bytes())}


def of_the_package() -> dict[str, dict[str, str]]:
    """Hashes of the package's modules, and the versions of libraries."""
    package = Path(__file__).parents[1]
    return {
        "package": {
            path.relative_to(package).as_posix(): _short(path.read_bytes()) for path in sorted(package.rglob("*.py"))
        },
        "versions": {name: version(name) for name in VERSIONS},
    }


def _short(*contents: bytes) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return digest.hexdigest()[:16]


# Names in messages of the parts of `fingerprint`, when some of their entries differ.
WORDS = {
    "notebook": "the notebook",
    "parameters": "parameters",
    "tables": "tables that it reads",
    "evidence": "the evidence",
    "images": "images",
    "package": "the package",
    "versions": "versions",
}


def staleness(notebook: Path, values: dict[str, Any] | None, folder: Path) -> str:
    """Reasons, in words, why the page of `notebook` in `folder` is stale; empty if it is current.

    Args:
        values: the parameters that it should have been executed with; None for those that it was.
    """
    manifest = folder / f"{notebook.stem}.json"
    made_of = made_from(manifest)
    if not made_of:
        return "nothing tells what it was made of"
    now = fingerprint(notebook, made_of.get("parameters", {}) if values is None else values, folder)
    reasons = []
    for part, word in WORDS.items():
        before, after = made_of.get(part, {}), now[part]
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        if part == "parameters":
            names = [f"{name}={after.get(name, 'default')}, not {before.get(name, 'default')}" for name in names]
        if names:
            some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            reasons.append(word if part == "notebook" else f"{word} ({some})")
    spoilt = spoilt_files(manifest, folder)
    if spoilt:
        reasons.append(f"files of the page itself ({', '.join(spoilt[:3])})")
    return f"since it ran, there changed {', '.join(reasons)}" if reasons else ""


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
