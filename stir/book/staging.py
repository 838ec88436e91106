"""Work in progress in a folder of its own, and manifests that vouch for what was moved from it to its place."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stir.files import digest

LOCK = ".lock"  # in each such folder; held by its process, and released by its end, whatever that is


def folders_of_runs(project: Path) -> list[Path]:
    """All folders that runs write into unless another is named: the book's, a scale's, and those of one run."""
    return [folder for pattern in ("book/runs/*", "runs/*", "runs/*/*") for folder in project.glob(pattern)]


@contextmanager
def staging(folder: Path, prefix: str) -> Iterator[Path]:
    """Make a temporary folder in `folder`, so that moving a file from it is an atomic rename, and remove it at the end.

    Those with the same prefix that killed processes left are removed as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder, prefix)
    staged, lock = _locked_folder(folder, prefix)
    try:
        yield staged
    finally:
        lock.release()
        shutil.rmtree(staged, ignore_errors=True)


def _locked_folder(folder: Path, prefix: str) -> tuple[Path, FileLock]:
    """Make a temporary folder and hold its lock; make another if a process took it for a leftover in between."""
    while True:
        staged = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
        lock = FileLock(staged / LOCK)
        try:
            lock.acquire()
        except (FileNotFoundError, FileExistsError):  # the folder went away before, or while, the lock looked for it
            continue
        if (staged / LOCK).exists():
            return staged, lock
        lock.release()


def leftovers(folder: Path, prefix: str) -> list[Path]:
    """Folders of this prefix that killed processes left; no other process works in them."""
    return list(_unlocked(folder, prefix))


def _unlocked(folder: Path, prefix: str) -> Iterator[Path]:
    """Yield the folders of `leftovers`, each while its lock is held."""
    for path in folder.glob(f"{prefix}*"):
        try:
            with FileLock(path / LOCK).acquire(timeout=0):
                yield path
        except (Timeout, OSError):  # another process works in it, or it is another user's
            pass


def remove_leftovers(folder: Path, prefix: str) -> None:
    """Remove the folders of `leftovers`.

    Each is renamed while its lock is held: whoever has just made one, and waits for that lock, then finds no folder.
    """
    locked = []
    for path in _unlocked(folder, prefix):
        try:
            removed = path.rename(path.with_name(f"{path.name}-removed"))
        except OSError:  # on Windows, while the lock's file is open
            locked.append(path)
        else:
            shutil.rmtree(removed, ignore_errors=True)
    for path in locked:
        shutil.rmtree(path, ignore_errors=True)


def move_files(staged: Path, manifest: Path, made_of: object) -> None:
    """Move all files from `staged` to the folder of `manifest`, and vouch for them.

    The manifest comes last, with a hash of each file: files of two runs, as a kill leaves them, do not count as
    current. Files of the run before that this one did not write are removed.
    """
    folder = manifest.parent
    files = [path.relative_to(staged) for path in sorted(staged.rglob("*")) if path.is_file() and path.name != LOCK]
    before = read_manifest(manifest).get("files", {})
    manifest.unlink(missing_ok=True)
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged / file, folder / file)
    for path in folder.glob("*"):
        if path.name in before and Path(path.name) not in files:
            path.unlink()
    vouch(staged, manifest, folder, files, made_of)


def vouch(staged: Path, manifest: Path, folder: Path, files: Iterable[Path], made_of: object) -> None:
    """Write, by way of `staged`, the hashes of `files`, relative to `folder`, and what they were made of, as JSON."""
    content = {"made_of": made_of, "files": {file.as_posix(): digest(folder / file) for file in files}}
    (staged / manifest.name).write_text(json.dumps(content), encoding="utf-8")
    os.replace(staged / manifest.name, manifest)


def is_whole(manifest: Path, folder: Path, made_of: object) -> bool:
    """Return whether `folder` holds each file that the manifest vouches for, unchanged and made of `made_of`."""
    content = read_manifest(manifest)
    if not content.get("files") or spoilt_files(manifest, folder):
        return False
    return content.get("made_of") == json.loads(json.dumps(made_of))


def made_from(manifest: Path) -> dict[str, Any]:
    """The inputs from which a manifest's files were made, as it lists them; empty if it lists none."""
    made_of = read_manifest(manifest).get("made_of")
    return made_of if isinstance(made_of, dict) else {}


def spoilt_files(manifest: Path, folder: Path) -> list[str]:
    """Names of the files that the manifest vouches for and that are missing or changed."""
    files = read_manifest(manifest).get("files", {})
    return [name for name, sha256 in files.items() if not _is_as_it_was(folder / name, sha256)]


def _is_as_it_was(file: Path, sha256: str) -> bool:
    try:
        return digest(file) == sha256
    except OSError:
        return False


def read_manifest(manifest: Path) -> dict[str, Any]:
    """The content of a manifest; empty if there is none, or it is damaged."""
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    whole = isinstance(content, dict) and isinstance(content.get("files", {}), dict)
    return content if whole else {}
