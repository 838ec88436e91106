"""Measurements kept on disk, each under the hash of everything it depends on, and looked up before measuring.

They are kept in the store, and looked up there and then in the evidence, a store of the same layout without weights
that travels with the project (`$STIR_EVIDENCE`).
"""

from __future__ import annotations

import os
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import NoneType
from typing import Any

from filelock import Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from stir.files import (
    check_card,
    check_made_of,
    digest,
    key_of,
    lock,
    read_fields,
    store_folder,
    write_atomically,
    write_card,
)

# Raise after a change, of the inversion, the scores or the baselines, that gives other numbers for the same question;
# part of each key. Tests compare numbers with those of this version.
MEASURING_VERSION = 1
FOLDER = "measured"  # within the store, and within the evidence
CARD_FIELDS: dict[str, type | tuple[type, ...]] = {
    "made_of": dict, "how": dict, "content": object, "tensors_sha256": (str, NoneType), "sha256": str,
}  # fmt: skip
DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    SafetensorError,
)  # what reading a record may raise


def evidence_folder() -> Path | None:
    """The folder of the evidence, `$STIR_EVIDENCE`; None where there is none."""
    value = os.environ.get("STIR_EVIDENCE")
    return Path(value).absolute() if value else None


def is_fresh() -> bool:
    """True if everything is to be measured again, by `$STIR_FRESH=1`."""
    return os.environ.get("STIR_FRESH") == "1"


def folders() -> list[Path]:
    """The stores that are looked up, the writable one first."""
    evidence = evidence_folder()
    return [store_folder()] if evidence is None else [store_folder(), evidence]


@dataclass(frozen=True)
class Stored:
    """A kept measurement: `content` is JSON, `tensors` are by name, `how` has hardware, date and versions."""

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
        return key_of({"format": MEASURING_VERSION, **self.made_of})

    def find(self) -> Stored | None:
        """The kept measurement of the first store that has one, as `find_all` returns them."""
        return next(iter(self.find_all()), None)

    def find_all(self) -> list[Stored]:
        """The kept measurement of each store, the writable one first; none if `is_fresh`; damaged files are skipped."""
        return [] if is_fresh() else self._read_all(note=True)

    def _read_all(self, note: bool) -> list[Stored]:
        stored = []
        for folder in folders():
            path = folder / FOLDER / f"{self.key}.json"
            if path.exists():
                try:
                    stored.append(self._read(path))
                except DAMAGE as error:
                    warnings.warn(f"{path} is damaged ({error}); it is left out", stacklevel=4)
                    continue
                if note:
                    note_use(path, "evidence" if folder == evidence_folder() else "kept")
        return stored

    def merge(self, content: Mapping[str, Any]) -> None:
        """Keep entries by name beside those in the stores, also those that other processes add meanwhile."""

        def add(path: Path) -> None:
            before: dict[str, Any] = {}
            for stored in reversed(self._read_all(note=False)):
                before.update(stored.content)
            self._write(path, {**before, **content}, {}, None)

        self._locked(add)

    @contextmanager
    def claimed(self, wait: bool = True) -> Iterator[bool]:
        """Lock this measurement, so that one process makes it; look it up inside, since another may just have made it.

        Args:
            wait: for a process that is making it; else False is yielded.

        Yields True without a lock where the store cannot be written.
        """
        path = store_folder() / FOLDER / f"{self.key}-claim"
        with ExitStack() as stack:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(lock(path).acquire(timeout=-1 if wait else 0))
                claimed = True
            except Timeout:
                claimed = False
            except OSError:
                claimed = True
            yield claimed

    def keep(
        self, content: Any, tensors: Mapping[str, Tensor] | None = None, *, how: Mapping[str, Any] | None = None
    ) -> None:
        """Write the files, each whole or not at all, the one with the checksums last; warn where that fails.

        Args:
            how: what `circumstances` returns, if hardware and seconds are to be known.
        """
        self._locked(lambda path: self._write(path, content, tensors or {}, how))

    def _locked(self, write: Callable[[Path], None]) -> None:
        """Call `write` with the card's path under the lock of its files; warn where that fails.

        Without it, a process that removes litter would remove tensors whose card is about to be written.
        """
        path = store_folder() / FOLDER / f"{self.key}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with lock(path):
                write(path)
        except (OSError, SafetensorError) as error:
            warnings.warn(f"a measurement could not be kept in {path.parent} ({error}); set $STIR_STORE", stacklevel=4)
            note_use(path, "lost")

    def _write(self, path: Path, content: Any, tensors: Mapping[str, Tensor], how: Mapping[str, Any] | None) -> None:
        card = {"made_of": self.made_of, "how": how or circumstances(None), "content": content, "tensors_sha256": None}
        if tensors:
            beside = path.with_suffix(".safetensors")
            whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            write_atomically(beside, lambda partial: save_file(whole, partial))
            card["tensors_sha256"] = digest(beside)
        write_card(path, card)
        note_use(path, "measured")

    def _read(self, path: Path) -> Stored:
        card = read_card(path)
        check_made_of(card["made_of"], self.made_of, "measurement")
        tensors = {} if card["tensors_sha256"] is None else load_file(path.with_suffix(".safetensors"))
        return Stored(card["content"], tensors, card["how"])


def circumstances(hardware: str | None, **seconds: float) -> dict[str, Any]:
    """Circumstances of a measurement made now, as JSON: hardware, date, revision, versions and seconds.

    Args:
        seconds: by stage, such as `inversion`.
    """
    date = datetime.now(UTC).isoformat(timespec="seconds")
    versions = {package: version(package) for package in ("stir-companion", "torch", "torchvision")}
    known = {"hardware": hardware, "date": date, "revision": revision(), "versions": versions}
    return known | {"seconds": {stage: round(each, 3) for stage, each in seconds.items()}}


def read_card(path: Path) -> dict[str, Any]:
    """Read a record's JSON, if it and the tensors beside it are whole.

    Raises:
        OSError, ValueError, RecursionError: they are not.
    """
    card = read_fields(path, CARD_FIELDS)
    check_card(card)
    if card["tensors_sha256"] is not None and card["tensors_sha256"] != digest(path.with_suffix(".safetensors")):
        raise ValueError("the checksum of its tensors is wrong")
    return card


def litter() -> list[Path]:
    """Files that killed runs left among the measurements of the store: half-written ones, tensors without a card."""
    folder = store_folder() / FOLDER
    alone = [path for path in folder.glob("*.safetensors") if not path.with_suffix(".json").exists()]
    return sorted([*folder.glob("*.partial"), *alone])


def note_use(path: Path, word: str) -> None:
    """Add a line to the file `$STIR_USED`, if it is set: a file that a run has used, and its origin.

    Args:
        path: of a file in one of the stores.
        word: "measured", in this run; "lost", the same, but it could not be kept; "kept", in the store; or "evidence".
    """
    log = os.environ.get("STIR_USED")
    if log:
        with suppress(OSError), open(log, "a", encoding="utf-8") as file:
            file.write(f"{word}\t{path.parent.name}/{path.name}\n")


@cache
def revision() -> str | None:
    """Git's name of the package's revision, with "-dirty" if it was changed since; None outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
