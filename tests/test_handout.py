"""A little course, executed for real: its pages, and what is handed out."""

import os
import re
import shutil
import zipfile

import nbformat
import pytest
from helpers.project import PROJECT

import stir
from stir.book.takeaways import STUDENT
from stir.course import handout, sessions, sources

SESSION = """---
file_format: mystnb
---
+++ {"tags": ["slide"]}

# A title

What is $x^2$ of <b>two</b>? See [a page](../../page.md).

![A figure.](figure.png)

+++ {"tags": ["quiz", "slide"]}

Is it $4$?

- [x] Yes.

  Two times two.

- [ ] No.

  It is.

- [ ] Perhaps.

  Count.

```{code-cell} ipython3
---
tags: [slide]
mystnb:
  image:
    alt: A line.
---
import matplotlib.pyplot as plt
import stir
data = stir.load_dataset("digits", n_train=64)
recipe = dict(architecture="resnet10", width=4, dataset=data, epochs=1, progress=False)
models = stir.trained_models({"one": dict(seed=0)}, **recipe)
plt.plot([0, 1])
plt.show()
```

```{code-cell} ipython3
:tags: [solution]
### BEGIN SOLUTION
value = 4
### END SOLUTION
```

```{code-cell} ipython3
:tags: [check]
assert value == 4
```
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory, digits):
    """A project with one session, and its page."""
    project = tmp_path_factory.mktemp("project")
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(PROJECT / name, project)
    (project / "course").mkdir()
    (project / "course" / "1-a.md").write_text(SESSION)
    shutil.copy(PROJECT / "course" / "README.md", project / "course")
    (project / "book" / "course").mkdir(parents=True)
    shutil.copy(PROJECT / "book" / "course" / "teachers.md", project / "book" / "course")
    (project / "book" / "_static" / "mathjax").mkdir(parents=True)
    (project / "book" / "_static" / "mathjax" / "tex-svg.mjs").write_text("")
    (project / "stir").mkdir()
    (project / "stir" / "__init__.py").write_text("")
    (project / "stir" / "weights.safetensors").write_text("no part of a package")
    told = []
    sessions.make_pages(project, told.append)
    sessions.make_pages(project, told.append)
    assert told == ["Executing the session 1-a.md ..."]  # the second time it is current
    return project


@pytest.fixture(scope="module")
def folder(project, tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    with pytest.raises(ValueError, match="figure.png is not there yet; run `stir book` first"):
        handout.write(project, folder)
    assert list(folder.iterdir()) == []
    shutil.copy(PROJECT / "book" / "_static" / "initialization-layers.png", project / sessions.FOLDER / "figure.png")
    (folder / "student").mkdir()
    (folder / "student" / "of-last-year.txt").write_text("")
    assert handout.write(project, folder) == folder / "student.zip"
    return folder


def test_a_page_has_its_solution_folded_and_says_what_it_ran_on(project):
    page = nbformat.read(project / sessions.FOLDER / "1-a.ipynb", as_version=4)
    (solution,) = [cell for cell in page.cells if sources.has_tag(cell, "solution")]
    assert solution.source == "value = 4" and solution.execution_count
    assert "hide-cell" in solution.metadata.tags
    assert page.cells[-1].source.startswith("*Ran at the scale `digits` on ")


def test_beside_a_page_is_the_notebook_that_students_work_in(project):
    page = nbformat.read(project / sessions.FOLDER / f"1-a{STUDENT}", as_version=4)
    assert [cell.source for cell in page.cells if sources.has_tag(cell, "solution")] == ["...  # yours"]
    assert not any(cell.get("outputs") for cell in page.cells)


def test_a_solution_that_fails_its_check_stops_the_page(project, tmp_path):
    path = tmp_path / "2-b.md"
    path.write_text("---\nfile_format: mystnb\n---\n# B\n\n```{code-cell} ipython3\nassert 1 == 2, 'no'\n```\n")
    with pytest.raises(RuntimeError, match=r"2-b\.md failed: AssertionError: no"):
        sessions.make_page(path, tmp_path / "2-b.ipynb")
    assert [each.name for each in tmp_path.iterdir()] == ["2-b.md"]


def test_a_changed_source_makes_its_page_stale(project):
    (source,), (page,) = sources.paths(project), sessions.pages(project)
    assert sessions.is_current(source, page)
    source.write_text(SESSION.replace("= 4", "= 5"))
    assert not sessions.is_current(source, page)
    source.write_text(SESSION)


def test_students_get_stubs_and_teachers_solutions(folder):
    student, teacher = (nbformat.read(folder / who / "1-a.ipynb", as_version=4).cells for who in ("student", "teacher"))
    assert student[3].source == "...  # yours" and teacher[3].source == "value = 4"
    for cells in (student, teacher):
        assert "See *a page* (in the book)." in cells[0].source
        assert "![A figure.](attachment:figure.png)" in cells[0].source and "figure.png" in cells[0].attachments
    assert not any(cell.get("outputs") for cell in student)
    assert not (folder / "student" / "of-last-year.txt").exists()
    assert (folder / "teacher" / "README.md").read_text() == (PROJECT / "book" / "course" / "teachers.md").read_text()


def test_nobody_has_to_train(folder, digits, monkeypatch, no_training):
    monkeypatch.setenv("STIR_STORE", str(folder / "student" / "store"))
    no_training()
    little = stir.load_dataset("digits", n_train=64)
    model = stir.trained_model("resnet10", width=4, dataset=little, epochs=1, progress=False)
    assert model.card["accuracy"] > 0
    assert len(list((folder / "student" / "store" / "models").glob("*.safetensors"))) == 1


def test_the_archive_holds_what_pip_needs(folder):
    with zipfile.ZipFile(folder / "student.zip") as archive:
        names = archive.namelist()
        assert "student/1-a.ipynb" in names and "student/README.md" in names
        archive.extract("student/stir-companion.zip", folder)
    with zipfile.ZipFile(folder / "student" / "stir-companion.zip") as package:
        names = [name for name in package.namelist() if not name.endswith("/")]
    assert sorted(names) == ["LICENSE", "README.md", "constraints.txt", "pyproject.toml", "stir/__init__.py"]


def test_slides_ask_nobody_for_anything(folder):
    slides = (folder / "teacher" / "slides" / "1-a.html").read_text()
    assert slides.count("<section>") == 3
    assert slides.count('<details class="choice">') == 3 and "<strong>Right.</strong> Two times two." in slides
    assert "<title>A title</title>" in slides and "$x^2$" in slides and "See a page." in slides
    addresses = re.findall(r'(?:src|href)="(?!data:)([^"]*)"', slides)
    assert addresses == ["mathjax/tex-svg.mjs"]
    assert (folder / "teacher" / "slides" / addresses[0]).exists()
    assert 'alt="A line."' in slides and 'alt="A figure."' in slides
    assert os.path.getsize(folder / "teacher" / "slides" / "1-a.html") > 10_000
