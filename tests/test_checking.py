"""What `stir check` tells of scales and of pages; no notebook runs."""

import shutil

import nbformat
import pytest
from helpers.project import notebook

from stir.book import checking, freshness
from stir.book.staging import move_files, staging


@pytest.fixture
def project(tmp_path):
    """A project of two notebooks, whose executed pages `finish` writes."""
    (tmp_path / "notebooks" / "scales").mkdir(parents=True)
    (tmp_path / "notebooks" / "scales" / "digits.yml").write_text("n_images: 50")
    for name in ("loss", "initialization"):
        shutil.copy(notebook(name), tmp_path / "notebooks")
    return tmp_path


def finish(project, name, folder, values):
    page = project / "notebooks" / f"{name}.ipynb"
    made_of = freshness.fingerprint(page, values, project / folder)
    with staging(project / folder, ".running-") as staged:
        shutil.copy(page, staged)
        (staged / f"{name}.csv").write_text("table")
        move_files(staged, project / folder / f"{name}.json", made_of)


def test_a_scale_is_checked_for_all_notebooks(project, monkeypatch):
    monkeypatch.chdir(project)
    assert checking.scale(project, "digits") == (["Can run at the scale digits: initialization, loss"], True)
    (project / "notebooks" / "scales" / "digits.yml").write_text("losses: [standard, mart, trades]")
    lines, good = checking.scale(project, "digits")
    assert not good and lines[0] == "Can run at the scale digits: loss"
    assert lines[1].startswith("Cannot run: initialization: losses=['standard', 'mart', 'trades'] must be")
    (project / "notebooks" / "scales" / "digits.yml").write_text("dataset: folder:nowhere")
    lines, good = checking.scale(project, "digits")  # the same reason is told once
    assert len(lines) == 1 and lines[0].startswith("Cannot run: initialization, loss: dataset='folder:nowhere': ")


def test_pages_are_current_or_stale_for_a_reason(project):
    assert checking.pages(project) == (["No page was executed yet; `stir book` executes those of the book."], True)
    finish(project, "loss", "book/runs/digits", {"n_images": 50})
    finish(project, "loss", "runs/digits/loss-n_images=60", {"n_images": 60})
    finish(project, "initialization", "runs/digits", {"n_images": 70})
    own = "runs/digits/loss-n_images=60/loss.ipynb"
    pages = ["book/runs/digits/loss.ipynb", "runs/digits/initialization.ipynb", own]
    assert checking.pages(project) == ([f"{page}: current" for page in pages], True)
    (project / "notebooks" / "scales" / "digits.yml").write_text("n_images: 40\nepochs: 2")
    (project / "runs/digits/initialization.csv").write_text("other")
    page = nbformat.read(project / "notebooks" / "initialization.ipynb", as_version=4)
    page.cells[0].source = "# Other"
    nbformat.write(page, project / "notebooks" / "initialization.ipynb")
    lines, good = checking.pages(project)
    stale = "stale: since it ran, there changed"
    assert not good and lines == [
        f"{pages[0]}: {stale} parameters (n_images=40, not 50, epochs=2, not default)",
        f"{pages[1]}: {stale} the notebook, files of the page itself (initialization.csv)",
        f"{own}: current",
    ]
    (project / "runs/digits/initialization.json").unlink()
    lines, _ = checking.pages(project)
    assert lines[1] == f"{pages[1]}: stale: nothing tells what it was made of"
