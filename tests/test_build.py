"""Build of the book from pages that ran to their end; `test_book` looks at a built one."""

import os
import shutil
import subprocess
import sys

import nbformat
import pytest
import yaml
from helpers.processes import descendants, left, wait_until
from helpers.project import PROJECT

from stir.book.build import build_book, write_sources
from stir.book.contents import project_book


@pytest.fixture
def project(tmp_path):
    """A book of two pages with pictures."""
    (tmp_path / "_config.yml").write_text(
        "title: T\nonly_build_toc_files: true\nexecute:\n  execute_notebooks: 'off'\n"
    )
    book = tmp_path / "book"
    book.mkdir()
    (book / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters:\n  - file: page\n")
    (book / "index.md").write_text("# First\n\n[](page.ipynb)\n")
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    output = nbformat.v4.new_output("display_data", {"image/png": png})
    cells = [nbformat.v4.new_markdown_cell("# Second"), nbformat.v4.new_code_cell("1", outputs=[output])]
    metadata = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), book / "page.ipynb")
    return tmp_path


def test_a_failed_page_is_never_built(project):
    page = nbformat.read(project / "book" / "page.ipynb", as_version=4)
    page.cells[1].outputs = [nbformat.v4.new_output("error", ename="E", evalue="e", traceback=[])]
    nbformat.write(page, project / "book" / "page.ipynb")
    with pytest.raises(ValueError, match="page.ipynb ended with an error"):
        build_book(project)


def test_a_clone_of_a_public_place_is_built_with_its_address(project, tmp_path):
    place = "git@github.com:someone/stir.git"
    for command in (["init", "--quiet"], ["remote", "add", "origin", place]):
        subprocess.run(["git", "-C", str(project), *command], check=True)
    write_sources(project, project_book(project), tmp_path / "staged")
    config = yaml.safe_load((tmp_path / "staged" / "_config.yml").read_text())
    assert config["repository"]["url"] == "https://github.com/someone/stir"


def content(html):
    """Pages and pictures of a built book."""
    return {
        path.relative_to(html).as_posix(): path.read_bytes()
        for path in sorted(html.rglob("*"))
        if path.suffix in (".html", ".png")
    }


def test_a_kill_while_the_book_is_built_breaks_nothing(project):
    html = build_book(project).parent
    first = content(html)
    assert any(name.startswith("_images/") for name in first) and b"Second" in first["page.html"]
    (project / "book" / "index.md").write_text("# Changed\n\n[](page.ipynb)\n")
    code = "import sys; from pathlib import Path; from stir.book.build import build_book; build_book(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(project)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen(command, env=environment)
    wait_until(lambda: list(project.glob("_build/.building-*/_build/html/*.html")), process)
    family = descendants(process)
    assert family  # Jupyter Book
    process.kill()
    process.wait()
    assert left(family) == [] and content(html) == first
    assert build_book(project).parent == html
    second = content(html)
    assert second.keys() == first.keys() and b"Changed" in second["index.html"]
    assert {name: text for name, text in second.items() if name.startswith("_images/")} == {
        name: text for name, text in first.items() if name.startswith("_images/")
    }
    assert not list((project / "_build").glob(".*"))


def test_a_book_is_built_again_if_anything_is_changed_or_gone(project):
    first = build_book(project)
    before = first.stat().st_mtime_ns
    assert build_book(project).stat().st_mtime_ns == before  # current
    picture = next(first.parent.glob("_images/*.png"))
    picture.unlink()
    assert build_book(project).stat().st_mtime_ns > before and picture.exists()


def test_a_change_of_the_table_of_contents_shows_on_every_page(project):
    html = build_book(project).parent
    (project / "book" / "new.md").write_text("# Third\n")
    (project / "book" / "index.md").write_text("# First\n")
    (project / "book" / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters:\n  - file: new\n")
    build_book(project)
    for page in ("index", "new"):
        sidebar = (html / f"{page}.html").read_text().partition('class="bd-links')[2].partition("</nav>")[0]
        assert "Third" in sidebar and "Second" not in sidebar
    assert not (html / "page.html").exists() and "Second" not in (html / "searchindex.js").read_text()
    assert not list(html.glob("_images/*"))


def test_a_failed_build_leaves_the_last_book_and_tells_its_warnings(project):
    first = build_book(project)
    before = content(first.parent)
    (project / "book" / "index.md").write_text("# First\n\n[](nowhere.md)\n\n[](page.ipynb)\n")
    with pytest.raises(RuntimeError, match="nowhere") as error:
        build_book(project)
    assert len(str(error.value).splitlines()) <= 5
    assert content(first.parent) == before and not list((project / "_build").glob(".*"))


def end_at(number, project):
    """Build in a process that is killed before its nth change of a file's place; whether it was."""
    process = os.fork()
    if process:
        return bool(os.waitpid(process, 0)[1])
    changes = []

    def hook(event, arguments):
        if event in ("os.rename", "os.remove", "shutil.rmtree", "os.mkdir") and str(arguments[0]).startswith(
            str(project)
        ):
            changes.append(event)
            if len(changes) == number:
                os.kill(os.getpid(), 9)

    sys.addaudithook(hook)
    build_book(project)
    os._exit(0)


def test_after_a_kill_at_any_change_the_next_build_is_whole(project, monkeypatch):
    """Jupyter Book's own work, which takes seconds, is a copy of what it did."""
    few = shutil.ignore_patterns("_static", "_sphinx_design_static")
    done = shutil.copytree(build_book(project).parent, project / "done", ignore=few)
    expected = content(done)
    monkeypatch.setattr(
        "stir.book.build.run_jupyter_book", lambda staged: shutil.copytree(done, staged / "_build" / "html")
    )
    number = 1
    while True:
        (project / "book" / "index.md").write_text(f"# {number}")
        if not end_at(number, project):
            break
        html = build_book(project).parent
        assert content(html) == expected and not list((project / "_build").glob(".*"))
        number += 1
    assert number > 4
