"""Measurements kept on disk, each under the hash of all that determines it, and looked up before anything is measured.

They are kept in the store, and looked up there and then in the evidence, a store of the same layout without weights
that travels with the project (`$STIR_EVIDENCE`).
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from stir.files import digest, store_folder, write_atomically

# Raise after a change, of the inversion, the scores or the baselines, that gives other numbers for the same question;
# part of each key. Tests compare numbers with those of this version.
MEASURING_VERSION = 1
FOLDER = "measured"  # within the store, and within the evidence


def evidence_folder() -> Path | None:
    """The folder of the evidence, `$STIR_EVIDENCE`; None where there is none."""
    value = os.environ.get("STIR_EVIDENCE")
    return Path(value) if value else None


def folders() -> list[Path]:
    """The stores that are looked up, the writable one first."""
    evidence = evidence_folder()
    return [store_folder()] if evidence is None else [store_folder(), evidence]


@dataclass(frozen=True)
class Found:
    """What was kept: `content` is JSON, `tensors` are by name, `how` says where, when and by what it was measured."""

    content: Any
    tensors: dict[str, Tensor]
    how: dict[str, Any]


@dataclass(frozen=True)
class Record:
    """Place of a measurement in the stores.

    Attributes:
        made_of: JSON of all that determines it.
    """

    made_of: dict[str, Any]

    @property
    def key(self) -> str:
        """Hash of `made_of` and of the version of measuring; the name of the files."""
        text = json.dumps({"format": MEASURING_VERSION, **self.made_of}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def find(self) -> Found | None:
        """What the first of the stores has kept; None where none has, a file is damaged, or `$STIR_FRESH` is set."""
        if os.environ.get("STIR_FRESH"):
            return None
        for folder in folders():
            path = folder / FOLDER / f"{self.key}.json"
            if path.exists():
                try:
                    found = self._read(path)
                except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                    warnings.warn(f"{path} is damaged ({error}); it is left out", stacklevel=3)
                    continue
                note_use(path, "evidence" if folder == evidence_folder() else "kept")
                return found
        return None

    def keep(self, content: Any, tensors: Mapping[str, Tensor] | None = None, *, hardware: str | None = None) -> None:
        """Write the files, each whole or not at all, the one with the checksums last; warn where that fails."""
        path = store_folder() / FOLDER / f"{self.key}.json"
        how = {"hardware": hardware, "date": datetime.now(UTC).isoformat(timespec="seconds"), "revision": revision()}
        how["versions"] = {package: version(package) for package in ("stir-companion", "torch", "torchvision")}
        card = {"made_of": self.made_of, "how": how, "content": content, "tensors_sha256": None}
        try:
            if tensors:
                beside = path.with_suffix(".safetensors")
                whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
                write_atomically(beside, lambda partial: save_file(whole, partial))
                card["tensors_sha256"] = digest(beside)
            text = json.dumps({**card, "sha256": _digest(card)})
            write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))
        except (OSError, SafetensorError) as error:
            warnings.warn(f"a measurement could not be kept in {path.parent} ({error}); set $STIR_STORE", stacklevel=3)
            return
        note_use(path, "measured")

    def _read(self, path: Path) -> Found:
        card = json.loads(path.read_text(encoding="utf-8"))
        sha256 = card.pop("sha256")
        if sha256 != _digest(card):
            raise ValueError("its checksum is wrong")
        if card["made_of"] != json.loads(json.dumps(self.made_of)):
            raise ValueError("it is of another measurement")
        tensors: dict[str, Tensor] = {}
        if card["tensors_sha256"] is not None:
            beside = path.with_suffix(".safetensors")
            if digest(beside) != card["tensors_sha256"]:
                raise ValueError("the checksum of its tensors is wrong")
            tensors = load_file(beside)
        return Found(card["content"], tensors, card["how"])


def _digest(card: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def note_use(path: Path, word: str) -> None:
    """Add a line to the file `$STIR_USED`, if there is one: what a run has used, and whence it came.

    Args:
        path: of a file in one of the stores.
        word: "measured", in this run; "kept", in the store; or "evidence".
    """
    log = os.environ.get("STIR_USED")
    if log:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{word}\t{path.parent.name}/{path.name}\n")


@cache
def revision() -> str | None:
    """Git's name of the package's revision, with "-dirty" if it was changed since; None outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
