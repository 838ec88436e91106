"""How a run ended, for the terminal; `test_cli` has whole runs."""

import json
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

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
        f"/a/b.py:{number}: UserWarning: of {'abcdefg'[number % 7]} {'x ' * 200}\n  code(1)\n" for number in range(14)
    )
    text = outcome.summary(page(f"noise\n{told}", "own-verdicts.csv", "own.csv", "own-a.png"))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100 and len(lines) < 35
    assert lines[0] == "supported      +0.50 [+0.25, +0.75]   It holds"
    assert lines[1].startswith("supported" + " " * 29 + "of some length")
    assert text.count("Warning (the first of 2 alike): of ") == outcome.MOST_WARNINGS
    assert text.count("x [... the rest is in own.ipynb]\n") == outcome.MOST_WARNINGS
    assert "2 more kinds of warnings are in own.ipynb." in text
    assert lines[-3:] == [
        "page     own.ipynb",
        "tables   beside it: own.csv, own-verdicts.csv",
        "figures  beside it: own-a.png",
    ]


def test_a_long_warning_keeps_its_advice(page):
    told = f"/a/b.py:1: UserWarning: {'poor ' * 100}; use more than steps=10\n  code(1)\n"
    first, *_, last = outcome.summary(page(told)).split("\n\n")[0].splitlines()
    assert first.startswith("Warning: poor") and last == "  use more than steps=10"


def test_a_page_without_verdicts_has_its_place(page):
    assert outcome.summary(page("")) == "page     own.ipynb"


def test_warnings_that_differ_in_numbers_and_names_are_told_once(page):
    poor = "inverting 'standard, seed {}' at layer 'fc' ended with ceiling 0.99: STIR is not to be trusted"
    low = "{} of 9 scores are not above their baselines{}: STIR(a, seed 1 | b (L2)) is 0.5; more images"
    told = [low.format(3, ", the worst first"), *map(poor.format, range(3)), low.format(1, ""), "something else"]
    text = outcome.summary(page("".join(f"/a/b.py:1: UserWarning: {each}\n  code(1)\n" for each in told)))
    assert [line for line in text.splitlines() if line.startswith("Warning")] == [
        "Warning (the first of 2 alike): 3 of 9 scores are not above their baselines, the worst first:",
        "Warning (the first of 3 alike): inverting 'standard, seed 0' at layer 'fc' ended with ceiling 0.99:",
        "Warning: something else",
    ]


def test_a_failure_quotes_the_line_of_the_cell_and_not_a_librarys():
    """In IPython's own traceback, where what an exception came of stands first, and begins in a library."""
    shell, told = InteractiveShell(), []
    shell._showtraceback = lambda kind, value, lines: told.append((kind.__name__, str(value), lines))
    shell.run_cell("import urllib.request\n\nfor _ in range(2):\n    urllib.request.urlopen('file:///nowhere')")
    ((name, value, lines),) = told
    error = SimpleNamespace(traceback=lines, exec_count=2, ename=name, evalue=value)
    assert outcome.what_failed(error).startswith(
        "cell 2, `urllib.request.urlopen('file:///nowhere')`: URLError: <urlopen error [Errno 2]"
    )


@pytest.mark.parametrize(
    ("text", "short"),
    [("x" * 5_000, "x" * (outcome.MOST_CHARACTERS - 12)), ("a\nb\nc\nd\ne", "a\nb\nc\nd")],
)
def test_long_messages_of_a_cell_are_cut(text, short):
    error = SimpleNamespace(traceback=["----> 1 f()"], exec_count=3, ename="ValueError", evalue=text)
    assert outcome.what_failed(error) == f"cell 3, `f()`: ValueError: {short} ..."
