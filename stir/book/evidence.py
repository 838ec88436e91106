"""Evidence: the networks' cards and the measurements behind pages, copied into the project to make the pages anywhere.

It is a store without weights (`stir.kept`), with the parameters of each page and a list of its files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import Any

from stir.computing.devices import listed_hardware
from stir.files import store_folder, write_atomically
from stir.kept import DAMAGE, FOLDER, Record, read_card
from stir.training.store import read_card as read_network_card

USED = "-used.json"  # ending of the list of files that a page has used
MOST_BYTES = 15_000_000  # of all evidence; it is part of each clone
MEASUREMENTS = ("pairs", "pictures", "descent")  # kinds of records; the others describe data sets


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
    """Files that a run has used, each with the note of `stir.kept.note_use` on its origin."""
    used: dict[str, str] = {}
    if log.exists():
        for line in log.read_text(encoding="utf-8").splitlines():
            word, _, path = line.partition("\t")
            used[path] = word if word in ("measured", "lost") else used.get(path, word)
    return used


def described(used: Mapping[str, str], evidence: Path) -> str:
    """Sentences on a run's measurements: their number, hardware, dates and revisions; empty if it used none."""
    stores = {"evidence": (evidence, store_folder())}
    cards = {
        path: _card(path, stores.get(word, (store_folder(), evidence)))
        for path, word in used.items()
        if path.startswith(f"{FOLDER}/")
    }
    cards = {path: card for path, card in cards.items() if card.get("made_of", {}).get("kind") in MEASUREMENTS}
    if not cards:
        return ""
    now = sum(used[path] in ("measured", "lost") for path in cards)
    earlier = {path: card for path, card in cards.items() if used[path] in ("kept", "evidence")}
    sentence = f"Of its {len(cards)} measurements {now or 'none'} {'was' if now == 1 else 'were'} made in this run."
    if not earlier:
        return sentence
    entries = [entry for card in earlier.values() for entry in _circumstances(card)]
    dates = sorted(how["date"][:10] for how in entries)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    hardware = listed_hardware(how["hardware"] for how in entries if how["hardware"])
    whence = "from the evidence" if "evidence" in {used[path] for path in earlier} else "kept"
    revisions = sorted({how["revision"] for how in entries if how["revision"]})
    named = ", ".join(revision.replace("-dirty", " and changes to it") for revision in revisions)
    at = f", at the revision{'' if len(revisions) == 1 else 's'} {named}" if revisions else ""
    return f"{sentence} {len(earlier)} are {whence}: made on {hardware}, {when}{at}."


def _circumstances(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Circumstances under which a record's parts were made: the rows of each target, or the whole."""
    return [entry["how"] for entry in card["content"].values()] if card["made_of"]["kind"] == "pairs" else [card["how"]]


def _card(path: str, folders: Iterable[Path]) -> dict[str, Any]:
    """A record from the first folder that has it whole; empty if none has."""
    for folder in folders:
        with suppress(*DAMAGE):
            return read_card(folder / path)
    return {}


def keep(project: Path, notebook: str, scale: str, values: Mapping[str, Any], used: Mapping[str, str]) -> list[Path]:
    """Copy the files that a page has used into the evidence, and remove those that no page uses any more.

    Args:
        notebook, scale: of the page.
        values: all parameters of the page.
        used: as `read_log` returns it.

    Returns:
        The files of this page.

    Raises:
        ValueError: a file is whole neither in the store nor in the evidence, or all would be larger than `MOST_BYTES`;
            the evidence is as it was.
    """
    evidence = folder_of(project)
    page = evidence / "pages" / scale / f"{notebook}.json"
    pages = {path: read_page(path)[1] for path in evidence.glob("pages/*/*.json") if path != page}
    sources: dict[str, Path] = {}
    for path in used:
        folder = next((folder for folder in (store_folder(), evidence) if _is_whole(folder / path)), None)
        if folder is None:
            raise ValueError(
                f"{path}, which {notebook} at the scale {scale} has used, is not in {store_folder()}, or damaged; "
                f"run it again: stir run {notebook} --scale {scale}"
            )
        sources[path] = folder / path
        tensors = sources[path].with_suffix(".safetensors")
        if path.startswith(f"{FOLDER}/") and tensors.exists():
            sources[tensors.relative_to(folder).as_posix()] = tensors
    pages[page] = sorted(sources)
    in_use = {name for names in pages.values() for name in names}
    files = [path for path in (sources.get(name, evidence / name) for name in in_use) if path.exists()]
    size = sum(path.stat().st_size for path in files)
    if size > MOST_BYTES:
        raise ValueError(f"the evidence would be {size / 1e6:.1f} MB; at most {MOST_BYTES / 1e6:.0f} MB may be kept")
    for name, source in sources.items():
        if source != evidence / name:
            write_atomically(evidence / name, partial(copyfile, source))
    text = json.dumps({"parameters": {**values}, "files": pages[page]}, indent=1)
    write_atomically(page, lambda path: path.write_text(text, encoding="utf-8"))
    for folder in (FOLDER, "models"):
        for path in evidence.glob(f"{folder}/*"):
            if path.relative_to(evidence).as_posix() not in in_use:
                path.unlink()
    return [evidence / name for name in pages[page]]


def _is_whole(path: Path) -> bool:
    """True if a record or a network's card can be read."""
    with suppress(*DAMAGE):
        (read_card if path.parent.name == FOLDER else read_network_card)(path)
        return True
    return False


def read_page(page: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the parameters of a page of the evidence, and the names of its files.

    Raises:
        ValueError: it is none; with the remedy.
    """
    content = json.loads(page.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not {"parameters", "files"} <= content.keys():
        again = f"stir keep {page.stem} --scale {page.parent.name}"
        raise ValueError(f"{page} has not the parameters and the files of a page; keep them again: {again}")
    return content["parameters"], content["files"]


def lacking(project: Path, notebook: str, scale: str) -> str:
    """What a page's evidence lacks, with the remedy; empty if all of it is whole, or there is none of this page."""
    evidence = folder_of(project)
    page = evidence / "pages" / scale / f"{notebook}.json"
    if not page.exists():
        return ""
    files = [evidence / name for name in read_page(page)[1]]
    damaged = [path for path in files if not (path.exists() and _is_whole(path.with_suffix(".json")))]
    records = [path for path in files if path.parent.name == FOLDER and path not in damaged]
    older = [path for path in records if path.stem != Record(read_card(path.with_suffix(".json"))["made_of"]).key]
    parts = [
        f"{len(some)} of its {len(files)} files are {how}, such as {some[0].name}"
        for how, some in {"missing or damaged": damaged, "of another format than today's": older}.items()
        if some
    ]
    again = f"where the images are, run `stir run {notebook} --scale {scale}`, then `stir keep` with the same"
    return f"{'; '.join(parts)}; {again}" if parts else ""


def files_of(project: Path, notebook: str, scale: str) -> list[Path]:
    """Paths of a page in the evidence: its JSON list of files, and these files; empty if there is no such page."""
    page = folder_of(project) / "pages" / scale / f"{notebook}.json"
    if not page.exists():
        return []
    return [path for path in (page, *(folder_of(project) / name for name in read_page(page)[1])) if path.exists()]
