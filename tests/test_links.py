"""Links lead to pages that a book has, or from any other folder to files that are there."""

from pathlib import Path

import pytest
from helpers.project import PROJECT

from stir.book import links

PAGES = ["index", "runs/big/loss", "runs/small/loss", "runs/small/dataset", "idea"]
TEXT = "[a](loss.ipynb) and [](dataset.ipynb), [b](other.ipynb), [](../../idea.md), [c](./loss.html), [d](https://x.org/a.md)"


def test_links_lead_to_pages_that_there_are():
    assert links.in_book(TEXT, "runs/small/loss", PAGES) == TEXT
    other_scale = TEXT.replace("(dataset", "(../small/dataset")
    assert links.in_book(TEXT, "runs/big/loss", PAGES) == other_scale
    own = links.in_book(TEXT, "runs/own/dataset", PAGES)
    assert "[a](../big/loss.ipynb)" in own and "[c](../big/loss.html)" in own and "[b](other.ipynb)" in own


def test_a_link_to_a_page_of_other_books_alone_is_left_as_words():
    elsewhere = {"other": "Other", "paper": "The paper"}
    assert links.in_book("[b](other.ipynb) [](other.ipynb)", "runs/big/loss", PAGES, elsewhere) == "b Other"
    assert links.in_book("[](paper.md) [](runs/x/loss.ipynb)", "idea", PAGES, elsewhere) == (
        "The paper [](runs/big/loss.ipynb)"
    )
    assert links.in_book("[](exercise) [](#here)", "idea", PAGES, elsewhere) == "[](exercise) [](#here)"


@pytest.mark.parametrize("folder", ["runs/digits/loss-n_images=100", "book/runs/mine", "book/runs/digits"])
def test_from_any_folder_links_lead_to_files(folder):
    text = links.outside(
        "[a](loss.ipynb) [b](../../idea.md) [c](./loss.html) [d](#x)", "loss", PROJECT / folder, PROJECT
    )
    targets = [target for _, target in links.LINK.findall(text)]
    assert len(targets) == 3
    if folder == "book/runs/digits":  # where its neighbours will be
        assert targets == ["loss.ipynb", "../../idea.md", "./loss.ipynb"]
        return
    places = [(PROJECT / folder / target).resolve() for target in targets]
    assert places == [
        Path(PROJECT / "notebooks/loss.ipynb"),
        PROJECT / "book/idea.md",
        PROJECT / "notebooks/loss.ipynb",
    ]
