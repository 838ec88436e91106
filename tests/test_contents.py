"""The table of contents tells which pages there are, and a page which others are its like."""

import json
import re

import pytest
from helpers.project import PROJECT

from stir.book import contents


@pytest.fixture
def project(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "notebooks" / "scales").mkdir(parents=True)
    (tmp_path / "notebooks" / "scales" / "big.yml").write_text("# Large images: for hours.\nn: 1\n")
    (tmp_path / "notebooks" / "scales" / "small.yml").write_text("n: 1\n")
    (tmp_path / "book" / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nparts:\n- caption: One\n  chapters:\n  - file: runs/big/loss\n    sections:\n"
        "    - file: runs/small/loss\n      title: Small\n  - file: runs/small/dataset\n"
        "- caption: Two\n  chapters:\n  - file: idea\n"
    )
    return tmp_path


def test_pages_are_in_their_order(project):
    assert contents.pages_of(project) == ["index", "runs/big/loss", "runs/small/loss", "runs/small/dataset", "idea"]
    assert contents.pages_of(project / "nowhere") == []
    toc = (PROJECT / "book" / "_toc.yml").read_text()
    assert contents.pages_of(PROJECT) == re.findall(r"^(?:root| *- file): (\S+)", toc, re.MULTILINE)


def test_prose_lies_in_folders_too_and_labels_are_of_runs(project):
    for page in ("index", "course/index", "evidence/card", "runs/big/prose"):
        path = project / "book" / f"{page}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page)
    (project / "notebooks" / "loss.ipynb").touch()
    (project / "book" / "_toc.yml").write_text(
        "root: index\nchapters:\n- file: runs/big/loss\n- file: runs/big/session\n"
    )
    for name in ("loss", "session"):  # the second is made from no notebook with parameters
        (project / "book" / "runs" / "big" / f"{name}.ipynb").touch()
    book = contents.project_book(project)
    assert book.prose == {"index": "index", "course/index": "course/index"}
    assert [*book.notebooks] == ["runs/big/loss", "runs/big/session"]
    assert book.labels == {"runs/big/loss": "Large images"}


def test_a_page_of_two_scales_names_both(project):
    (project / "notebooks" / "loss.ipynb").touch()
    folder = project / "book" / "runs" / "big"
    folder.mkdir(parents=True)
    (folder / "loss.ipynb").touch()
    (folder / "loss.json").write_text(json.dumps({"made_of": {"parameters": {"beside": "/book/runs/small"}}}))
    assert contents.project_book(project).labels == {"runs/big/loss": "Large images; beside it: small"}


def test_each_scale_says_what_it_is():
    for path in (PROJECT / "notebooks" / "scales").glob("*.yml"):
        assert contents.title(PROJECT, path.stem) != path.stem
