"""The store folder, atomic writes of files, checksums, and what killed runs leave behind."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import platformdirs
import torch
from filelock import FileLock, Timeout
from torch import Tensor


def store_folder() -> Path:
    """Folder of trained networks, decoded images and downloads: `$STIR_STORE`, or the user's cache folder.

    Raises:
        ValueError: `$STIR_STORE` is a relative path, which would be another folder from each place.
    """
    value = os.environ.get("STIR_STORE")
    if not value:
        return Path(platformdirs.user_cache_dir("stir", appauthor=False))
    folder = Path(os.path.expanduser(value))
    if not folder.is_absolute():
        raise ValueError(
            f"STIR_STORE={value!r} must be an absolute path; here {str(Path.cwd() / folder)!r} may be meant"
        )
    return folder


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


def lock(path: Path) -> FileLock:
    """Lock of a file in the store and of all that share its name up to the first dot."""
    return FileLock(path.with_name(f"{path.name.partition('.')[0]}.lock"))


def abandoned(find: Callable[[], list[Path]]) -> Iterator[Path]:
    """Yield the files that `find` lists, under the lock of each; those that another process locks are in use."""
    for path in find():
        try:
            with lock(path).acquire(timeout=0):
                if path in find():  # its writer may have finished meanwhile
                    yield path
        except (Timeout, OSError):
            pass


def remove_litter(find: Callable[[], list[Path]]) -> None:
    """Remove the files that `find` lists, except those in use or in a read-only store."""
    for path in abandoned(find):
        with suppress(OSError):
            path.unlink()


def digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(tensors: Mapping[str, Tensor], *texts: str) -> str:
    """SHA-256 of the names, types, shapes and bytes of all tensors, and of the texts, in hexadecimal."""
    hasher = hashlib.sha256(repr(texts).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        hasher.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        hasher.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()
