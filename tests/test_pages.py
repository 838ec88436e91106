"""What is added to an executed notebook: text and HTML that every viewer shows, and links that lead somewhere."""

import html
import re

import nbformat
import pytest
from helpers.project import PROJECT, notebook
from markdown_it import MarkdownIt

from stir.book import contents, pages, parameters


@pytest.mark.parametrize("value", ["a`<script>x</script>`", "a|b\n\n# c", "\\", "``", "plain <b>", "$x$ </details>"])
def test_the_value_of_a_parameter_is_text(value):
    parameter = parameters.Parameter("n", "str", "''", "help")
    text = pages.provenance({"n": parameter}, {"n": value}, "digits", 1.0)
    assert ":::" not in text and text.count("</details>") == 1
    page = MarkdownIt().render(text[text.index("<details>") :])
    cells = [re.sub("</?code>", "", cell) for cell in re.findall("<td>(.*?)</td>", page)]
    assert [html.unescape(cell) for cell in cells] == ["n", " ".join(value.split()), "help"]
    assert not any("<" in cell or "$" in cell for cell in cells)


@pytest.fixture
def executed(tmp_path):
    """Annotate a copy of a notebook for a folder; returns the links in it."""

    def links(name, folder):
        page = nbformat.read(notebook(name), as_version=4)
        page.metadata.papermill = {}
        nbformat.write(page, tmp_path / f"{name}.ipynb")
        pages.annotate(tmp_path / f"{name}.ipynb", notebook(name), folder, "about", "")
        cells = nbformat.read(tmp_path / f"{name}.ipynb", as_version=4).cells
        assert cells[-1].source == "## On what this ran\n\nabout"
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        return re.findall(r"\[([^\]]*)\]\((?!https:)([^)]*)\)", text)

    return links


@pytest.mark.parametrize("name", ["initialization", "loss", "measures", "updates"])
def test_links_have_words_and_lead_somewhere(executed, tmp_path, name):
    folder = PROJECT / "runs" / "digits" / "loss-n_images=100"
    links = executed(name, folder)
    assert links
    for words, target in links:
        assert words and (folder / target).resolve().exists(), (words, target)
    in_the_book = executed(name, PROJECT / "book" / "runs" / "digits")
    assert [words for words, _ in in_the_book] == [words for words, _ in links]
    assert all(target.startswith("../../") or target.count("/") == 0 for _, target in in_the_book)


def test_the_table_of_parameters_comes_from_the_notebook():
    text = pages.with_tables("before\n\n<!-- parameters: loss -->\n\nafter", PROJECT)
    declared = parameters.declared(notebook("loss"))
    rows = re.findall(r"<tr><td><code>(\w+)</code></td><td><code>(.*?)</code></td><td>(.*?)</td></tr>", text)
    assert [(name, *map(html.unescape, rest)) for name, *rest in rows] == [
        (name, parameter.default, parameter.help) for name, parameter in declared.items()
    ]
    assert "<!-- parameters: loss -->" in (PROJECT / "book" / "run-it-yourself.md").read_text()


def test_a_page_opens_with_the_answer_and_its_figure(tmp_path):
    new = nbformat.v4
    cells = [
        new.new_markdown_cell("# Title"),
        new.new_code_cell("networks"),
        new.new_code_cell("draw", metadata={"tags": ["answer-figure", "remove-input"]}),
        new.new_markdown_cell("caption", metadata={"tags": ["answer-figure"]}),
        new.new_code_cell("judge"),
        new.new_code_cell("answer", metadata={"tags": ["answer"]}),
        new.new_markdown_cell("tasks"),
    ]
    page = new.new_notebook(cells=cells, metadata={"papermill": {}})
    nbformat.write(page, tmp_path / "page.ipynb")
    pages.annotate(tmp_path / "page.ipynb", notebook("loss"), PROJECT / "runs", "about")
    annotated = nbformat.read(tmp_path / "page.ipynb", as_version=4).cells
    sources, (moved,) = [cell.source for cell in annotated], [cell for cell in annotated if cell.id == "moved"]
    assert moved.metadata[pages.IN_BOOK] == pages.MOVED_IN_BOOK and "#main-content" in pages.MOVED_IN_BOOK
    first = ["# Title", "answer", "draw", "caption", "networks"]
    assert sources == [*first, pages.MOVED, "judge", "tasks", "## On what this ran\n\nabout"]


@pytest.mark.parametrize(
    ("heading", "label", "titled"),
    [
        ("# Loss: why?\nMore", "CIFAR-10 (JPEG), networks of 8 channels", "# Loss, CIFAR-10 (JPEG): why?\nMore"),
        ("# The networks", "Digits (scikit-learn), networks of 8 channels", "# The networks, digits (scikit-learn)"),
        ("# Loss: why?", "n=2, seeds=0+1", "# Loss, n=2, seeds=0+1: why?"),
    ],
)
def test_pages_of_one_notebook_have_titles_of_their_own(tmp_path, heading, label, titled):
    new = nbformat.v4
    nbformat.write(new.new_notebook(cells=[new.new_markdown_cell(heading)]), tmp_path / "loss.ipynb")
    labels = {"runs/one/loss": label, "runs/two/loss": "another"}
    book = contents.Book("", {}, {}, {}, labels, {})
    assert pages.for_book(tmp_path / "loss.ipynb", "runs/one/loss", book).cells[0].source == titled
    alone = contents.Book("", {}, {}, {}, {"runs/one/loss": label}, {})
    assert pages.for_book(tmp_path / "loss.ipynb", "runs/one/loss", alone).cells[0].source == heading


def test_folded_code_that_shows_nothing_joins_what_is_beside_it(tmp_path):
    def code(source, tag="hide-input", outputs=()):
        return nbformat.v4.new_code_cell(source, metadata={"tags": [tag]}, outputs=list(outputs))

    shown = nbformat.v4.new_output("stream", text="shown")
    text = nbformat.v4.new_markdown_cell("# Title")
    warned = nbformat.v4.new_output("stream", name="stderr", text="a warning")
    named = nbformat.v4.new_output("display_data", data={"application/papermill.record/text/plain": "'3'"})
    cells = [text, code("a", outputs=[warned]), code("b", outputs=[named]), code("c", outputs=[shown])]
    cells += [code("d"), code("e", outputs=[shown]), code("f"), nbformat.v4.new_markdown_cell("# Next")]
    cells += [code("g"), code("h", "check")]
    cells[5].metadata["mystnb"] = {"image": {"alt": "what it shows"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    book = contents.Book("", toc={"root": "index"}, prose={}, notebooks={}, labels={}, elsewhere={})
    page = pages.for_book(tmp_path / "a.ipynb", "runs/digits/a", book)
    sources = [cell.source.split() for cell in page.cells]
    assert sources == [["#", "Title"], ["a", "b", "c"], ["d", "e", "f"], ["#", "Next"], ["g"], ["h"]]
    assert page.cells[1].outputs == [warned, named, shown]
    assert page.cells[2].metadata.mystnb.image.alt == "what it shows"
