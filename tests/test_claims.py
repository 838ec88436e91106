"""The page on the paper is made of the tables of the findings."""

import json

import pandas as pd
import pytest

from stir.book.claims import with_claims
from stir.book.contents import Book

PAGE = "# Title\n\n<!-- claims -->\n\nImages\n: *The authors*: some.\n<!-- measured: images -->\n: *Why*: so.\n"


@pytest.fixture
def book(tmp_path):
    """Two scales, of which the second measured one hypothesis."""
    notebooks = {}
    for number, scale in enumerate(("large", "small")):
        folder = tmp_path / scale
        folder.mkdir()
        rows = [
            {"finding": "loss", "question": "Why?", "dataset": f"{scale} images, 50 images", "claim": claim,
             "otherwise": "", "verdict": "supported", "difference_value": 0.2, "difference_low": 0.1,
             "difference_high": 0.3, "p_value": 0.01, "images": 20 + number, "recipe": json.dumps({"width": 8})}
            for claim in ("different robust losses", "than the reverse")[number:]
        ]  # fmt: skip
        pd.DataFrame(rows).to_csv(folder / "loss-verdicts.csv", index=False)
        pairs = pd.DataFrame({"reference_kind": ["a", "a", "b"], "reference_seed": [0, 1, 0]})
        pairs.to_csv(folder / "loss.csv", index=False)
        notebooks[f"runs/{scale}/loss"] = folder / "loss.ipynb"
    return Book("", {}, {}, notebooks, {}, {})


def test_claims_and_set_up_come_from_the_tables(book):
    text = with_claims(PAGE + "\nHow many\n: a\n<!-- measured: replicas -->\n", book)
    assert text.count("+0.20") == 3 and "large images</th>" in text
    assert (
        ": *`large`*: Test images of large images: 20.\n: *`small`*: Test images of small images: 21.\n: *Why*" in text
    )
    assert ": *`large`*: 2.\n: *`small`*: 2." in text
    with pytest.raises(ValueError, match="names no topic; use one of images, networks"):
        with_claims("<!-- measured: weather -->", book)


def test_without_tables_the_page_says_so():
    text = with_claims(PAGE, Book("", {}, {}, {}, {}, {}))
    assert text.count("Nothing is measured yet") == 2
    assert with_claims("# Other", Book("", {}, {}, {}, {}, {})) == "# Other"
