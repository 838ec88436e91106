"""Evidence: what pages were measured with, copied into the project, so that they can be made anywhere.

It is a store without weights (`stir.kept`), with a list of the files of each page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import Any

from stir.files import store_folder, write_atomically
from stir.kept import FOLDER

USED = "-used.json"  # ending of the list of files that a page has used
MOST_BYTES = 15_000_000  # of all evidence; it is part of each clone
MEASUREMENTS = ("pairs", "pictures")  # kinds of records; the others describe data sets
WORDS = {
    "measured": "made in this run",
    "kept": "found in the store, from earlier runs",
    "evidence": "taken from the evidence that comes with the project",
}


def folder_of(project: Path) -> Path:
    """Folder of a project's evidence; it need not exist."""
    return project / "book" / "evidence"


def pages(project: Path) -> dict[str, list[str]]:
    """Names of the notebooks that the evidence has pages of, by their scale."""
    names: dict[str, list[str]] = {}
    for path in sorted(folder_of(project).glob("pages/*/*.json")):
        names.setdefault(path.parent.name, []).append(path.stem)
    return names


def read_log(log: Path) -> dict[str, str]:
    """Files that a run has used, and whence each came at first, from the lines that `stir.kept.note_use` wrote."""
    used: dict[str, str] = {}
    if log.exists():
        for line in log.read_text(encoding="utf-8").splitlines():
            word, _, path = line.partition("\t")
            used.setdefault(path, word)
    return used


def described(used: Mapping[str, str], evidence: Path) -> str:
    """A sentence on how many measurements a run has used, and when and on what they were made; empty if on none."""
    cards = {path: _card(path, evidence) for path in used if path.startswith(f"{FOLDER}/")}
    cards = {path: card for path, card in cards.items() if card.get("made_of", {}).get("kind") in MEASUREMENTS}
    if not cards:
        return ""
    counts = {word: sum(used[path] == word for path in cards) for word in WORDS}
    parts = [f"{counts[word]} {text}" for word, text in WORDS.items() if counts[word]]
    sentence = f"Of its {len(cards)} measurements, {', '.join(parts)}."
    before = [card["how"] for path, card in cards.items() if used[path] != "measured"]
    if before:
        dates = sorted(how["date"][:10] for how in before)
        when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
        hardware = sorted({how["hardware"] for how in before if how["hardware"]})
        revisions = sorted({how["revision"] for how in before if how["revision"]})
        sentence += f" Those that were not made now were made on {', '.join(hardware)}, {when}"
        sentence += f", at the revision{'s' * (len(revisions) > 1)} {', '.join(revisions)}." if revisions else "."
    return sentence


def _card(path: str, evidence: Path) -> dict[str, Any]:
    for folder in (store_folder(), evidence):
        if (folder / path).exists():
            return json.loads((folder / path).read_text(encoding="utf-8"))
    return {}


def keep(project: Path, notebook: str, scale: str, used: Mapping[str, str]) -> list[Path]:
    """Copy what a page has used into the evidence, and remove from it what no page uses any more.

    Args:
        notebook, scale: of the page.
        used: as `read_log` returns it.

    Returns:
        The files of this page.

    Raises:
        ValueError: a file is neither in the store nor in the evidence, or all would be larger than `MOST_BYTES`;
            the evidence is as it was.
    """
    evidence = folder_of(project)
    pages = {path: _listed(path) for path in evidence.glob("pages/*/*.json")}
    listed: list[str] = []
    sources: dict[str, Path] = {}
    for path in used:
        folders = [folder for folder in (store_folder(), evidence) if (folder / path).exists()]
        if not folders:
            raise ValueError(
                f"{path}, which {notebook} at the scale {scale} has used, is not in {store_folder()}; run it again"
            )
        names = [path, path.replace(".json", ".safetensors")] if path.startswith(f"{FOLDER}/") else [path]
        listed += [name for name in names if (folders[0] / name).exists()]
        sources |= {name: folders[0] / name for name in names if (folders[0] / name).exists()}
    page = evidence / "pages" / scale / f"{notebook}.json"
    pages[page] = sorted(listed)
    in_use = {name for names in pages.values() for name in names}
    size = sum((sources.get(name) or evidence / name).stat().st_size for name in in_use)
    if size > MOST_BYTES:
        raise ValueError(f"the evidence would be {size / 1e6:.1f} MB; at most {MOST_BYTES / 1e6:.0f} MB may be kept")
    for name, source in sources.items():
        if source != evidence / name:
            write_atomically(evidence / name, partial(copyfile, source))
    text = json.dumps(pages[page], indent=1)
    write_atomically(page, lambda path: path.write_text(text, encoding="utf-8"))
    for folder in (FOLDER, "models"):
        for path in evidence.glob(f"{folder}/*"):
            if path.relative_to(evidence).as_posix() not in in_use:
                path.unlink()
    return [evidence / name for name in pages[page]]


def _listed(page: Path) -> list[str]:
    return json.loads(page.read_text(encoding="utf-8"))
