"""A book of real runs: its pages read as the book's do, and its links lead to pages that it has."""

import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from click.testing import CliRunner
from helpers.project import write_project

from stir.cli import main

TEXT = """# First: does it matter?

See {cite}`holm1979simple`, [Data](second.ipynb), [The idea](../../idea.md), [the paper](../../paper.md) and
{glue:text}`five:s`."""
CODE = """
from IPython.display import Markdown, display
from myst_nb import glue

glue("five", "5", display=False)
with open("first-verdicts.csv", "w") as file:
    file.write("claim,verdict,difference_value,difference_low,difference_high\\nIt holds,supported,1,0.5,1.5\\n")
display(Markdown("[there](./second.html)"))
"""
TOC = """
format: jb-book
root: index
parts:
  - caption: Findings
    chapters:
      - file: runs/digits/first
      - file: runs/digits/second
      - file: paper
  - caption: More
    chapters:
      - file: idea
      - file: bibliography
"""
FIGURE = ":::{figure} runs/digits/first.svg\n:alt: Shown.\n\nSaid.\n:::\n\n"  # of a run that a book of others lacks
PROSE = {
    "index": "# Book\n\n{glue:text}`runs/digits/first.ipynb::five:s`\n",
    "paper": "# The paper\n\n{glue:text}`runs/digits/first.ipynb::five:s`\n",
    "idea": "# The idea\n\n"
    + FIGURE
    + "```{glue:any} five\n:doc: runs/digits/first.ipynb\n```\n\n[](runs/digits/first.ipynb), [](paper.md)\n",
    "bibliography": "# Bibliography\n\n```{bibliography}\n:all:\n```\n",
}
BIB = (
    "@article{holm1979simple, title = {T}, author = {Holm, Sture}, journal = {J}, year = {1979}, url = {https://x.org}}"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with a book, its pages not executed, and two runs of one of its two notebooks."""
    folder = tmp_path_factory.mktemp("project")
    write_project(folder, "first", "n: int = 1  # help", CODE, text=TEXT)
    write_project(folder, "second", "n: int = 1  # help", "n", text="# Second")
    (folder / "notebooks" / "scales" / "small.yml").write_text("# Small images: seconds.\nn: 5\n")
    (folder / "book").mkdir()
    for name, text in PROSE.items():
        (folder / "book" / f"{name}.md").write_text(text)
    (folder / "book" / "_toc.yml").write_text(TOC)
    (folder / "book" / "references.bib").write_text(BIB)
    (folder / "_config.yml").write_text(
        "title: T\nonly_build_toc_files: true\nexecute:\n  execute_notebooks: 'off'\n"
        "bibtex_bibfiles: [references.bib]\nsphinx:\n  config:\n    bibtex_reference_style: author_year\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for n in ("2", "3"):
            stir("run", "first", "-p", "n", n)
        yield folder


def stir(*arguments):
    result = CliRunner().invoke(main, [*arguments])
    assert result.exit_code == 0, result.output
    return result.output


def dead_links(html):
    links = [(path, link) for path in html.rglob("*.html") for link in re.findall('href="([^"#]+)', path.read_text())]
    inside = [(path, link) for path, link in links if not re.match("[a-z]+:", link) and "_static" not in str(path)]
    assert len(inside) > 20
    return [each for each in inside if not (each[0].parent / unquote(each[1].partition("?")[0])).exists()]


def test_an_executed_notebook_reads_without_a_book(project):
    page = nbformat.read(project / "runs" / "digits" / "first-n=2" / "first.ipynb", as_version=4)
    assert "See ([Holm, 1979](https://x.org)), [Data](../../../notebooks/second.ipynb), " in page.cells[0].source
    assert "[The idea](../../../book/idea.md), [the paper](../../../book/paper.md) and\n5." in page.cells[0].source
    (shown,) = [each.data["text/markdown"] for each in page.cells[-2].outputs if "text/markdown" in each.data]
    assert shown == "[there](../../../notebooks/second.ipynb)"


def test_a_book_of_runs(project, monkeypatch):
    monkeypatch.chdir(project)
    assert stir("book", "--with", "runs/digits").endswith("The book: _build/own/index.html\n")
    html = project / "_build" / "own"
    assert dead_links(html) == []
    pages = [html / "runs" / f"digits-first-n={n}" / "first.html" for n in (2, 3)]
    first = pages[0].read_text()
    text = re.sub("<[^>]+>", "", first)
    assert "n=2. The same with: n=3." in " ".join(text.split()) and "Ran at the scale" in text
    assert re.search(r'href="\.\./\.\./bibliography.html#[^>]*>Holm, 1979</a>\]', first)  # a citation
    assert ", Data, The idea, the paper and 5." in " ".join(text.split())  # two of which this book has no page of
    assert 'href="../../idea.html"' in first and not re.search('href="[^"]*second.html', first)
    assert "First: n=2" in text and "First: n=3" in text  # the sidebar
    front = unquote((html / "index.html").read_text())
    assert front.count('href="runs/digits-first-n=2/first.html"') >= 2 and not (html / "paper.html").exists()
    before = (html / "index.html").stat().st_mtime_ns
    stir(
        "book", "--with", "runs/digits/first-n=2", "--with", "runs/digits/first-n=3"
    )  # the same pages: not built again
    assert (html / "index.html").stat().st_mtime_ns == before


def test_a_book_of_a_scale(project, monkeypatch):
    monkeypatch.chdir(project)
    told = stir("book", "--scale", "small", "--with", "runs/digits/first-n=3")
    assert told.splitlines()[0] == "Executing first.ipynb at the scale small ..."
    html = project / "_build" / "own-small"
    assert dead_links(html) == []
    page = (html / "runs" / "small" / "first.html").read_text()
    assert re.search('href="second.html"><[^>]*>Data<', page) and "<strong>Small images.</strong>" in page
    assert 'href="../small/second.html"' in (html / "runs" / "digits-first-n=3" / "first.html").read_text()
    assert "Executing" not in stir("book", "--scale", "small")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--with", "nowhere"], "with='nowhere' is no folder; name one that `stir run` or `stir sweep` wrote"),
        (["--with", "notebooks"], "with='notebooks' holds no executed notebook; "),
        (["--with", "runs/digits", "--with", "FAILED"], "first.ipynb ended with an error; run it again"),
        (["--with", "ONE/same", "--with", "OTHER/same"], "would be one page; rename one"),
        (["--scale", "smal"], "scale='smal' is unknown; did you mean 'small'?"),
        (["--scale", "small", "--with", "nowhere"], "with='nowhere' is no folder; "),
        (["--scale", "bad"], "bad.yml: parameter n=5.5 is of type float; it must be of type int"),
    ],
)
def test_what_makes_no_book_is_refused_before_any_work(project, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(project)
    page = project / "runs" / "digits" / "first-n=2" / "first.ipynb"
    for name in ("ONE/same", "OTHER/same", "FAILED"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "first.ipynb").write_text(page.read_text())
    broken = nbformat.read(page, as_version=4)
    broken.cells[-1].outputs = [nbformat.v4.new_output("error", ename="E", evalue="e", traceback=[])]
    nbformat.write(broken, tmp_path / "FAILED" / "first.ipynb")
    places = {name: str(tmp_path / name) for name in ("ONE/same", "OTHER/same", "FAILED")}
    bad = Path("notebooks/scales/bad.yml")
    bad.write_text("n: 5.5\n" if arguments[-1] == "bad" else "")
    monkeypatch.setattr("stir.book.runner.execute", lambda *_, **__: pytest.fail("it ran"))
    monkeypatch.setattr("stir.book.build.run_jupyter_book", lambda *_: pytest.fail("it built"))
    result = CliRunner().invoke(main, ["book", *(places.get(each, each) for each in arguments)])
    bad.unlink()
    assert result.exit_code == 1 and message in result.output and result.output.count("\n") == 1
