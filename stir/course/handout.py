"""Handouts for a class: notebooks to work in, the teacher's, slides, and trained networks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import nbformat

from stir.book import evidence, slides
from stir.book.staging import staging
from stir.book.takeaways import alone
from stir.course import sessions, sources
from stir.files import store_folder

PACKAGE = ("pyproject.toml", "README.md", "LICENSE", "constraints.txt", "stir")
ENDING = (".py", ".typed", ".ipynb", ".html", ".js", ".toml", ".md", ".txt", "")


def write(project: Path, folder: Path, tell: Callable[[str], object] = print) -> Path:
    """Write all that a class needs into `folder`, whose folders `student` and `teacher` are replaced.

    Sessions are executed first where their pages are stale, so that the networks which they train are at hand.

    Returns:
        student.zip, what to hand out: notebooks, networks and the package itself.

    Raises:
        ValueError: a figure of the book is not there yet.
        RuntimeError: a session failed.
    """
    sessions.make_pages(project, tell)
    with staging(folder, ".writing-") as staged:
        student, teacher = staged / "student", staged / "teacher"
        for source, page in zip(sources.paths(project), sessions.pages(project)):
            session, executed = sources.read(source), nbformat.read(page, as_version=4)
            sources.write(alone(sources.student(session), page.parent), student / page.name)
            sources.write(alone(executed, page.parent), teacher / page.name)
            shown = teacher / "slides" / f"{page.stem}.html"
            shown.parent.mkdir(exist_ok=True)
            shown.write_text(slides.page(executed, page.parent, "mathjax"), encoding="utf-8")
        shutil.copytree(project / "book" / "_static" / "mathjax", teacher / "slides" / "mathjax")
        _copy_networks(sessions.pages(project), student / "store")
        shutil.copytree(student / "store", teacher / "store")
        shutil.copy(project / "course" / "README.md", student / "README.md")
        shutil.copy(project / "book" / "course" / "teachers.md", teacher / "README.md")
        _pack(project, staged / "package")
        shutil.make_archive(str(student / "stir-companion"), "zip", staged / "package")
        shutil.make_archive(str(staged / "student"), "zip", staged, "student")
        for name in ("student", "teacher", "student.zip"):
            _replace(staged / name, folder / name)
    return folder / "student.zip"


def _copy_networks(pages: Iterable[Path], store: Path) -> None:
    """Copy the trained networks that the pages have used."""
    (store / "models").mkdir(parents=True)
    for page in pages:
        used = json.loads(page.with_name(f"{page.stem}{evidence.USED}").read_text(encoding="utf-8"))
        for path in used:
            if path.startswith("models/"):
                for ending in (".json", ".safetensors"):
                    shutil.copy((store_folder() / path).with_suffix(ending), store / "models")


def _pack(project: Path, folder: Path) -> None:
    """Copy what pip needs to install this package."""
    for name in PACKAGE:
        for path in [project / name, *(project / name).rglob("*")]:
            if path.is_file() and path.suffix in ENDING and "__pycache__" not in path.parts:
                place = folder / path.relative_to(project)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)


def _replace(new: Path, place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    new.replace(place)
