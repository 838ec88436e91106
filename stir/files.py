"""The store folder, and atomic writes of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import platformdirs


def store_folder() -> Path:
    """Folder of trained networks, decoded images and downloads: `$STIR_STORE`, or the user's cache folder."""
    return Path(os.environ.get("STIR_STORE") or platformdirs.user_cache_dir("stir", appauthor=False))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a file beside `path`, then rename it, so that `path` is never half-written.

    Raises:
        OSError: the file cannot be written, as on a full disk; a file that is already at `path` stays as it is.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
