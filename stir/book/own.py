"""A book of one's own runs: executed notebooks that a reader names, among the prose of the project's book."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stir.book import checking, listing, running
from stir.book.build import build_book, check_page
from stir.book.contents import Book, files_in, read_prose, read_toc, title
from stir.study.conclusions import VERDICTS
from stir.study.scales import WORDS

TITLE = "Shared invariances: runs of one's own"
OTHERS = "Further notebooks"  # caption above those that the project's book has no page of
OF_RUNS = ("{glue", "<!-- claims -->")  # put numbers of the project's own runs into prose
FIGURE = re.compile(r"^(:::+|```+)\{(?:figure\} runs/|glue:any\}).*?^\1\n+", re.DOTALL | re.MULTILINE)  # of its runs


def build(project: Path, scale: str | None, folders: Sequence[Path], cell_timeout: int) -> Path:
    """Build a book of all notebooks at a scale, executed where they are stale, and of what is in folders.

    Returns:
        Its first page, in `_build/own-<scale>`, or in `_build/own` without a scale.

    Raises:
        ValueError: as `executed`, before anything runs; or a notebook cannot run at the scale.
        click.ClickException: a notebook came to no end.
    """
    executed(project, folders)
    if scale:
        lines, good = checking.scale(project, scale)
        if not good:
            raise ValueError(f"scale={scale!r} does not do for a book of all notebooks. {lines[-1]}")
        for notebook, values, folder in running.stale(project, scale):
            running.run_notebook(project, notebook, values, folder, scale=scale, cell_timeout=cell_timeout)
        folders = [project / "book" / "runs" / scale, *folders]
    book = own_book(project, executed(project, folders))
    return build_book(project, book, f"own-{scale}" if scale else "own")


def executed(project: Path, folders: Iterable[Path]) -> dict[str, Path]:
    """Find executed notebooks in folders and all folders below them.

    Args:
        folders: such as `runs/digits`, or `runs/digits/loss-epsilon=0.5`.

    Returns:
        Name of a page -> the notebook.

    Raises:
        ValueError: a folder is not there, or holds none; one of them came to no end; or two would have one name.
    """
    pages: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"with={str(folder)!r} is no folder; name one that `stir run` or `stir sweep` wrote")
        notebooks = [path for path in sorted(folder.rglob("*.ipynb")) if _is_executed(path.relative_to(folder), path)]
        if not notebooks:
            raise ValueError(
                f"with={str(folder)!r} holds no executed notebook; name a folder that `stir run` wrote into"
            )
        for path in map(Path.resolve, notebooks):
            check_page(path)
            page = f"runs/{_place(project, path.parent)}/{path.stem}"
            if pages.setdefault(page, path) != path:
                raise ValueError(
                    f"with={str(path.parent)!r} and {str(pages[page].parent)!r} would be one page; rename one"
                )
    return pages


def _is_executed(inside: Path, path: Path) -> bool:
    """True if a file is a notebook that ran to its end, rather than part of one that failed or still runs.

    Args:
        inside: its path in the folder that is searched.
    """
    if path.stem.endswith("-failed") or any(part.startswith(".") for part in inside.parts):
        return False
    try:
        return "papermill" in json.loads(path.read_text(encoding="utf-8"))["metadata"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _place(project: Path, folder: Path) -> str:
    """Name of a folder of runs in a book: its path below the project's runs, as one name."""
    for runs in (project / "runs", project / "book" / "runs"):
        if folder.is_relative_to(runs.resolve()) and folder != runs.resolve():
            return "-".join(folder.relative_to(runs.resolve()).parts)
    return folder.name


def own_book(project: Path, notebooks: Mapping[str, Path]) -> Book:
    """The book of some executed notebooks, in the order of the project's book, with the prose that fits any runs.

    Args:
        notebooks: as `executed` returns them.
    """
    written = read_prose(project)
    prose = {page: FIGURE.sub("", text) for page, text in written.items()}
    prose = {page: text for page, text in prose.items() if not any(word in text for word in OF_RUNS)}
    labels = _labels(project, notebooks)
    toc = {"format": "jb-book", "root": "index", "parts": _parts(project, notebooks, prose, labels)}
    pages = files_in(toc)
    prose = {page: text for page, text in prose.items() if page in pages}
    first = _first_page({page: notebooks[page] for page in pages if page in notebooks}, labels)
    elsewhere = {path.stem: listing.title(path) for path in (project / "notebooks").glob("*.ipynb")}
    elsewhere |= {page: _heading(text) for page, text in written.items() if page not in prose}
    return Book(TITLE, toc, {"index": first, **prose}, notebooks, labels, elsewhere)


def _parts(
    project: Path, notebooks: Mapping[str, Path], prose: Iterable[str], labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The parts of the project's table of contents, with these pages: all runs of a notebook where its first stands."""
    entries: dict[str, list[dict[str, str]]] = {page: [{"file": page}] for page in prose}
    counts = Counter(path.stem for path in notebooks.values())
    for page, path in notebooks.items():
        named = {"title": f"{path.stem.capitalize()}: {labels[page]}"} if counts[path.stem] > 1 else {}
        entries.setdefault(path.stem, []).append({"file": page, **named})
    parts = []
    for part in read_toc(project).get("parts", []):
        names = [page.rpartition("/")[2] for page in files_in(part["chapters"])]
        parts.append(
            {"caption": part["caption"], "chapters": [each for name in names for each in entries.pop(name, [])]}
        )
    others = [each for name, pages in entries.items() if name in counts for each in pages]
    return [part for part in [*parts, {"caption": OTHERS, "chapters": others}] if part["chapters"]]


def _labels(project: Path, notebooks: Mapping[str, Path]) -> dict[str, str]:
    """Label of each run, by its folder: its parameters, with the scale if there are several; or else its scale."""
    named = {page: path for page, path in notebooks.items() if path.parent.name.startswith(f"{path.stem}-")}
    several = len({path.parents[1] for path in named.values()}) > 1
    labels = {page: title(project, path.parent.name) for page, path in notebooks.items()}
    for page, path in named.items():
        values = path.parent.name.removeprefix(f"{path.stem}-").replace(",", ", ")
        labels[page] = f"{path.parents[1].name}, {values}" if several else values
    return labels


def _heading(text: str) -> str:
    """The first heading of Markdown."""
    return next((line.lstrip("# ") for line in text.splitlines() if line.startswith("# ")), "")


def _first_page(notebooks: Mapping[str, Path], labels: Mapping[str, str]) -> str:
    """Markdown of the first page: each run with its verdicts, counted."""
    lines = [f"# {TITLE.partition(': ')[2].capitalize()}", ""]
    lines += [f"| run | of | {' | '.join(WORDS)} |", f"| --- | --- |{' --- |' * len(WORDS)}"]
    for page, path in notebooks.items():
        table = path.with_name(f"{path.stem}{VERDICTS}")
        counts = pd.read_csv(table).verdict.value_counts() if table.exists() else {}
        cells = [str(counts.get(word, 0)) if len(counts) else "" for word in WORDS]
        words = [f"[{listing.title(path)}]({page}.ipynb)", labels[page], *cells]
        lines.append(f"| {' | '.join(each.replace('|', chr(92) + '|') for each in words)} |")
    return "\n".join([*lines, "", "*Verdicts on the hypotheses of each run; see its page for details.*", ""])
