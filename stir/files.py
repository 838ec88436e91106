"""The store folder, atomic writes of files, cards, checksums, and removal of killed runs' litter."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

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
    """Lock shared by all files of the store with the same name up to the first dot."""
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


def json_text(value: Any) -> str:
    """JSON with sorted names, of numbers and arrays of NumPy and PyTorch too."""
    return json.dumps(
        value, sort_keys=True, default=lambda value: value.tolist() if hasattr(value, "tolist") else repr(value)
    )


def key_of(settings: Mapping[str, Any]) -> str:
    """File name for `settings`: the first digits of the SHA-256 of their JSON."""
    return hashlib.sha256(json_text(settings).encode()).hexdigest()[:16]


def card_digest(card: Mapping[str, Any]) -> str:
    """SHA-256 of all fields of a card but `sha256`, in hexadecimal."""
    fields = {name: value for name, value in card.items() if name != "sha256"}
    return hashlib.sha256(json_text(fields).encode()).hexdigest()


def write_card(path: Path, card: Mapping[str, Any], indent: int | None = None) -> dict[str, Any]:
    """Write a card as JSON, whole or not at all, and return it with its checksum in `sha256`.

    Args:
        indent: lay it out for readers, in the order of its fields.

    Raises:
        OSError: the file cannot be written.
    """
    sealed = {**card, "sha256": card_digest(card)}
    text = json_text(sealed) if indent is None else json.dumps(sealed, indent=indent)
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    return sealed


def read_fields(path: Path, kinds: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """Read a card's JSON, which has to hold fields of these kinds; the checksum is for the caller to check.

    Raises:
        OSError, ValueError, RecursionError: it is damaged.
    """
    card = json.loads(path.read_text(encoding="utf-8"))
    missing = kinds.keys() - card.keys() if isinstance(card, dict) else kinds
    if missing:
        raise ValueError(f"its card lacks {', '.join(sorted(missing))}")
    wrong = [name for name, kind in kinds.items() if not isinstance(card[name], kind)]
    if wrong:
        raise ValueError(f"its card has {', '.join(wrong)} of another kind")
    return card


def check_card(card: Mapping[str, Any]) -> None:
    """Raise a ValueError where a card is not the one that was written."""
    if card["sha256"] != card_digest(card):
        raise ValueError("its checksum is wrong")


def check_made_of(found: Mapping[str, Any], wanted: Mapping[str, Any], kind: str) -> None:
    """Raise a ValueError if a card belongs to another thing of its `kind`, such as one whose key collides."""
    if found != json.loads(json_text(wanted)):
        raise ValueError(f"its card is of another {kind}")
