"""Ways out of a page: its notebook, its tables, and other places to run it."""

import io
import json
import re
import zipfile
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from helpers.project import PROJECT, notebook
from sphinx.errors import ExtensionError
from sphinx.testing.util import SphinxTestApp

from stir.book import exits
from stir.book.parameters import declared
from stir.book.takeaways import STUDENT

ADDRESS = "https://github.com/someone/stir"


@pytest.fixture
def book(tmp_path):
    """The sources of a book with one executed page that has two tables."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "loss.ipynb").write_text(notebook("loss").read_text())
    folder = tmp_path / "book" / "runs" / "digits"
    folder.mkdir(parents=True)
    for name in ("loss.csv", "loss-verdicts.csv", "lossy.csv"):
        (folder / name).write_text("a,b\n1,0.1\n")
    return tmp_path / "book"


def test_a_page_leads_to_its_notebook_and_its_tables(book):
    ways = exits.downloads("runs/digits/loss", book)
    assert [(way.words, way.address) for way in ways] == [
        ("loss.ipynb", "notebooks/digits/loss.ipynb"),
        ("loss.csv", "tables/digits/loss.csv.zip"),
        ("loss-verdicts.csv", "tables/digits/loss-verdicts.csv.zip"),
    ]
    assert all(way.is_here for way in ways)
    assert exits.downloads("idea", book) == []


def test_without_an_address_nothing_leads_to_the_repository():
    assert exits.launches("runs/digits/loss", "", "main") == []
    assert not any("None" in way.address or "issues" in way.address for way in exits.sources("idea", "", Path()))


def test_each_page_leads_to_places_of_the_bibliography_that_are_there():
    marks = {f"({place})=" for place in ("cite", "licence")}
    places = {way.address for way in exits.sources("idea", "", Path()) if way.is_here}
    assert places == {f"bibliography.html#{mark[1:-2]}" for mark in marks}
    assert marks <= set((PROJECT / "book" / "bibliography.md").read_text().splitlines())


def test_with_one_colab_and_binder_open_the_source_notebook():
    colab, binder = exits.launches("runs/digits/loss", ADDRESS, "main")
    assert colab.address == "https://colab.research.google.com/github/someone/stir/blob/colab/digits/loss.ipynb"
    assert binder.address.endswith("/v2/gh/someone/stir/main?labpath=notebooks%2Floss.ipynb")
    assert "/someone/stir/a%2Fb?" in exits.launches("runs/digits/loss", ADDRESS, "a/b")[1].address
    (session,) = exits.launches("runs/course/1-similarity", ADDRESS, "main")
    assert session.address.endswith("/stir/blob/colab/1-similarity.ipynb")
    assert exits.launches("idea", ADDRESS, "main") == []
    ways = [way.address for way in exits.sources("runs/digits/loss", ADDRESS, Path())]
    assert ADDRESS in ways and f"{ADDRESS}/issues/new?title=runs%2Fdigits%2Floss.html" in ways
    assert f"origin HEAD:{exits.COLAB}" in (PROJECT / ".github" / "workflows" / "book.yml").read_text()


def test_a_finding_offers_its_source_that_installs_what_it_needs(book):
    source = nbformat.read(notebook("loss"), as_version=4)
    away = nbformat.reads(exits.takeaway("runs/digits/loss", book, ADDRESS), as_version=4)
    nbformat.validate(away)
    assert f'%pip install --quiet "stir-companion[book] @ git+{ADDRESS}"' in away.cells[1].source
    assert [away.cells[0], *away.cells[2:]] == source.cells
    assert nbformat.reads(exits.takeaway("runs/digits/loss", book, ""), as_version=4) == source


def test_a_page_of_another_scale_offers_its_notebook_with_the_parameters_of_the_page(book, tmp_path):
    values = {"n_train": 20000, "seeds": [0, 1], "dataset": "folder:/a b/ü", "gone": 1}  # the last is declared no more
    (book / "runs" / "digits" / "loss.json").write_text(json.dumps({"made_of": {"parameters": values}, "files": {}}))
    text = exits.takeaway("runs/digits/loss", book, "")
    away, source = nbformat.reads(text, as_version=4), nbformat.read(notebook("loss"), as_version=4)
    nbformat.validate(away)
    (place,) = (number for number, cell in enumerate(source.cells) if "parameters" in cell.metadata.get("tags", ()))
    assert [*away.cells[:place], *away.cells[place + 1 :]] == [*source.cells[:place], *source.cells[place + 1 :]]
    (tmp_path / "away.ipynb").write_text(text)
    own, here = declared(notebook("loss")), declared(tmp_path / "away.ipynb")
    assert {name: here[name].value for name in here} == {
        name: values.get(name, parameter.value) for name, parameter in own.items()
    }
    assert [each.help for each in here.values()] == [each.help for each in own.values()]


def test_a_session_offers_the_notebook_that_students_work_in(book):
    assert exits.downloads("runs/course/1-a", book) == []
    (book / "runs" / "course").mkdir()
    session = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A\n\n[b](../../b.md)")])
    nbformat.write(session, book / "runs" / "course" / f"1-a{STUDENT}")
    way, _ = exits.downloads("runs/course/1-a", book)
    assert (way.words, way.address) == ("1-a.ipynb", "notebooks/1-a.ipynb")
    away = nbformat.reads(exits.takeaway("runs/course/1-a", book, ADDRESS), as_version=4)
    assert away.cells[0].source == "# A\n\n*b* (in the book)" and ADDRESS in away.cells[1].source


def test_a_session_leads_to_its_slides_which_need_no_more_than_the_book(book):
    (book / "runs" / "course").mkdir()
    text = nbformat.v4.new_markdown_cell("# A <b>\n\nIs $x^2$ [there](../../b.md)?", metadata={"tags": ["slide"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[text]), book / "runs" / "course" / "1-a.ipynb")
    nbformat.write(nbformat.v4.new_notebook(), book / "runs" / "course" / f"1-a{STUDENT}")
    _, way = exits.downloads("runs/course/1-a", book)
    assert (way.words, way.address) == ("slides", "slides/1-a.html")
    page = exits.content("runs/course/1-a", way, book, "").decode()
    assert page.count("<section>") == 1 and "<title>A &lt;b&gt;</title>" in page and "Is $x^2$ there?" in page
    script, back = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert script == "../_static/mathjax/tex-svg.mjs" and back == "../runs/course/1-a.html"
    assert (PROJECT / "book" / "slides" / script).resolve().exists()


def test_the_course_offers_the_notebooks_of_all_sessions(book):
    assert exits.downloads(exits.CLASS, book) == []
    (book / "runs" / "course").mkdir()
    for name in ("2-b", "1-a"):
        session = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {name}")])
        nbformat.write(session, book / "runs" / "course" / f"{name}{STUDENT}")
    (way,) = exits.downloads(exits.CLASS, book)
    archive = zipfile.ZipFile(io.BytesIO(exits.content(exits.CLASS, way, book, "")))
    assert archive.namelist() == ["sessions/1-a.ipynb", "sessions/2-b.ipynb"]
    assert "# 2-b" in archive.read("sessions/2-b.ipynb").decode()


def test_a_zipped_table_is_the_table(book, tmp_path):
    table = book / "runs" / "digits" / "loss.csv"
    (_, way, _) = exits.downloads("runs/digits/loss", book)
    archive = exits.content("runs/digits/loss", way, book, "")
    assert archive == exits.content("runs/digits/loss", way, book, "")
    assert zipfile.ZipFile(io.BytesIO(archive)).namelist() == ["loss.csv"]
    (tmp_path / "loss.csv.zip").write_bytes(archive)
    assert pd.read_csv(tmp_path / "loss.csv.zip").equals(pd.read_csv(table))


def test_the_print_of_the_book_is_led_to_where_there_is_one(book):
    words = "The book as PDF"
    assert words not in [way.words for way in exits.sources("idea", "", book)]
    (book / exits.PRINT).write_bytes(b"%PDF")
    way = exits.sources("idea", "", book)[0]
    assert (way.words, way.address, way.is_here) == (words, "book.pdf", True)


def test_an_address_that_is_none_is_refused(tmp_path):
    (tmp_path / "conf.py").write_text(
        "extensions = ['stir.book.exits']\nhtml_theme_options = {'repository_url': 'github.com/someone'}\n"
    )
    with pytest.raises(ExtensionError, match=r"repository.url='github.com/someone'"):
        SphinxTestApp(srcdir=tmp_path)
