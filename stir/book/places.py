"""Folders of runs: each set of parameters has its own, named by what differs from the scale."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stir.book import parameters
from stir.book.evidence import USED
from stir.book.staging import made_from
from stir.study.conclusions import VERDICTS

LONGEST, LONG = 100, 40  # characters of a folder's name, and of a value in one with a hash
NONE = "none"  # an empty list
ABOVE = ".."  # where a page is executed, in a folder of its own, the others lie one above
PLAIN = re.compile(r"[a-z0-9._-]+")  # safe on every file system, also where case does not count


def run_folder(project: Path, notebook: Path, scale: str, base: Mapping[str, Any], values: Mapping[str, Any]) -> Path:
    """Folder for a run of `notebook` with the parameters `values`: `book/runs/SCALE` if they are the scale's own.

    Args:
        base: the scale's values.

    Returns:
        A folder that holds no page of `notebook` with other parameters.
    """
    different = differences(notebook, base, values)
    if not different:
        return project / "book" / "runs" / scale
    folder = project / "runs" / scale / label(notebook.stem, different)
    if other_parameters(folder, notebook, values):  # the scale was another then
        folder = folder.with_name(f"{folder.name}-{_hash(values)}")
    return folder


def differences(notebook: Path, base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of `values` that differ from those of `base` or the notebook's defaults, as it declares them."""
    declared = parameters.declared(notebook)
    before = {name: base.get(name, parameter.value) for name, parameter in declared.items()}
    return {
        name: float(values[name]) if parameter.type == "float" else values[name]
        for name, parameter in declared.items()
        if name in values and values[name] != before[name]
    }


def with_given(notebook: Path, base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a scale with the given ones, except those equal to the scale's value or the notebook's default."""
    before = parameters.complete(notebook, base)
    return {**base, **{name: value for name, value in given.items() if not _same(value, before.get(name))}}


def _same(value: Any, other: Any) -> bool:
    """True if two values are equal and of one type; 1 and 1.0 count as of one type."""
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(_same, value, other))
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def label(name: str, different: Mapping[str, Any]) -> str:
    """Name of a folder: the notebook's and the parameters', with a hash where these are not short and plain."""
    texts = {parameter: _plain(value) for parameter, value in different.items()}
    text = f"{name}-" + ",".join(f"{parameter}={value}" for parameter, value in texts.items())
    if None not in texts.values() and len(text) <= LONGEST:
        return text
    safe = {
        parameter: f"{parameter}={(texts[parameter] or _squeezed(value) or NONE)[:LONG]}"
        for parameter, value in different.items()
    }
    room, named = LONGEST - 9 - len(name), set()
    for parameter in sorted(safe, key=lambda each: len(safe[each])):  # so that as many as possible are named
        room -= len(safe[parameter]) + 1
        if room >= 0:
            named.add(parameter)
    text = f"{name}-{','.join(safe[parameter] for parameter in different if parameter in named)}"
    return f"{text.rstrip(',=+-.')}-{_hash(different)}"


def _plain(value: Any) -> str | None:
    """Text of a value that tells it from all others of its parameter; None if that cannot be in a file's name."""
    if isinstance(value, list):
        parts = [None if isinstance(each, list) else _plain(each) for each in value]
        return None if None in parts or parts == [NONE] else "+".join(map(str, parts)) or NONE
    text = value if isinstance(value, str) else json.dumps(value).removesuffix(".0")
    return text if value is not None and PLAIN.fullmatch(text) and not text.endswith(".") else None


def _squeezed(value: Any) -> str:
    """A value, or the name of a folder, shortened for a file name, with `_` for characters that are not plain."""
    if isinstance(value, list):
        return "+".join(filter(None, map(_squeezed, value)))
    text = value if isinstance(value, str) else json.dumps(value)
    text = Path(text).name if text.startswith("folder:") else text
    return re.sub(r"[^a-z0-9._-]+", "_", text.lower()).strip("_.")[-30:]


def shown(path: Path) -> Path:
    """A path as commands print it: relative to the current folder, if it lies there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _hash(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def other_parameters(folder: Path, notebook: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of the page of `notebook` in `folder` that differ from `values`; empty if there is no page."""
    made_of = made_from(folder / f"{notebook.stem}.json")
    before = made_of.get("parameters")
    if not isinstance(before, dict) or not (folder / notebook.name).exists():
        return {}
    return {name: before.get(name) for name in {**before, **values} if before.get(name) != values.get(name)}


def check_free(folder: Path, notebook: Path, values: Mapping[str, Any]) -> None:
    """Raise a ValueError if `folder` holds a page of `notebook` with other parameters."""
    others = other_parameters(folder, notebook, values)
    if others:
        listed = ", ".join(f"{name}={'default' if value is None else value}" for name, value in others.items())
        raise ValueError(
            f"output={str(shown(folder))!r} holds {notebook.name} with other parameters ({listed}); name another "
            "folder, or remove it"
        )


def check_findings(folder: Path, notebook: Path, values: Mapping[str, Any]) -> None:
    """Raise a ValueError if `notebook` sums up findings and there are none where it looks, by default in `folder`."""
    known = parameters.complete(notebook, values)
    needed = {"tables": f"*{VERDICTS}", "pages": f"*{USED}"}
    for name, pattern in needed.items():
        place = folder if known.get(name) == ABOVE else Path(known.get(name, folder)).absolute()
        if name in known and not any(place.glob(pattern)):
            raise ValueError(
                f"{notebook.stem} adds up findings, and {shown(place)} holds none; run them first, such as "
                f"`stir run initialization`, or name the folder that holds them by -p {name} PATH"
            )
