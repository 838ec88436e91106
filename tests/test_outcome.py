"""How a run ended, for the terminal; `test_cli` has whole runs."""

import json
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest

from stir.book import outcome


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Write an executed page that printed the given text to stderr, with files beside it."""
    monkeypatch.chdir(tmp_path)

    def write(told, *files):
        stream = nbformat.v4.new_output("stream", name="stderr", text=told)
        cell = nbformat.v4.new_code_cell(outputs=[stream])
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "own.ipynb")
        (tmp_path / "own.json").write_text(json.dumps({"files": dict.fromkeys(["own.ipynb", *files], "")}))
        return tmp_path / "own.ipynb"

    return write


def test_verdicts_warnings_and_files_are_told_in_a_few_short_lines(page, tmp_path):
    claims = {"It holds": (0.5, 0.25, 0.75), "of some length " * 12: (float("nan"),) * 3}
    rows = [
        {
            "claim": claim,
            "verdict": "supported",
            **dict(zip([f"difference_{end}" for end in ("value", "low", "high")], each)),
        }
        for claim, each in claims.items()
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "own-verdicts.csv")
    told = "".join(
        f"/a/b.py:{number}: UserWarning: number {number % 7} {'x ' * 200}\n  code(1)\n" for number in range(14)
    )
    text = outcome.summary(page(f"noise\n{told}", "own-verdicts.csv", "own.csv", "own-a.png"))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100 and len(lines) < 35
    assert lines[0] == "supported      +0.50 [+0.25, +0.75]   It holds"
    assert lines[1].startswith("supported" + " " * 29 + "of some length")
    assert text.count("Warning: number") == outcome.MOST_WARNINGS and "2 more warnings are in the page." in text
    assert lines[-3:] == [
        "page     own.ipynb",
        "tables   beside it: own.csv, own-verdicts.csv",
        "figures  beside it: own-a.png",
    ]


def test_a_page_without_verdicts_has_its_place(page):
    assert outcome.summary(page("")) == "page     own.ipynb"


def test_long_messages_of_a_cell_are_cut():
    error = SimpleNamespace(traceback=["----> 1 f()"], exec_count=3, ename="ValueError", evalue="x" * 5_000)
    assert outcome.what_failed(error) == f"cell 3, `f()`: ValueError: {'x' * 1_988} ..."
