"""What MyST alone can read is text in an executed notebook."""

import re

import nbformat
import pytest
from helpers.project import PROJECT
from pybtex.database import parse_file

from stir.book import roles

REFERENCES = PROJECT / "book" / "references.bib"
NOTEBOOKS = [*(PROJECT / "notebooks").glob("*.ipynb"), PROJECT / "stir" / "book" / "compare.ipynb"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "so {cite}`nanda2022measuring`.",
            "so ([Nanda et al., 2022](https://arxiv.org/abs/2206.11939)).",
        ),
        ("{cite:t}`jones2022if` say", "[Jones et al. (2022)](https://proceedings.mlr.press/v180/jones22a.html) say"),
        (
            "{cite}`simonyan2015very,holm1979simple`",
            "([Simonyan and Zisserman, 2015](https://arxiv.org/abs/1409.1556); "
            "[Holm, 1979](https://www.jstor.org/stable/4615733))",
        ),
        ("{cite}`nobody1900`", "(nobody1900)"),
        ("{glue:text}`decay:s` and {glue:text}`other:s`", "0.5 and {glue:text}`other:s`"),
        ("$x_{a}$ and `{code}`", "$x_{a}$ and `{code}`"),
    ],
)
def test_roles_are_words(text, words):
    assert roles.plain(text, REFERENCES, {"decay": "0.5"}) == words


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_use_no_other_syntax_of_myst(path):
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    cited = {key for keys in re.findall(r"\{cite(?::t)?\}`([^`]+)`", text) for key in keys.split(",")}
    entries = parse_file(str(REFERENCES), "bibtex").entries
    assert all(not roles.ADDRESSES.keys().isdisjoint(entries[key].fields) for key in cited)
    rest = roles.ROLE.sub("", text)
    assert not re.search(r"\{[\w:-]+\}`|^(:::|```)\{|^\(\S+\)=$", rest, re.MULTILINE)
