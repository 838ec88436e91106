"""Every session: what is made of it, and that its solutions pass its checks and its stubs fail them."""

import re
import warnings
from itertools import pairwise

import matplotlib
import matplotlib.pyplot as plt
import pytest
from helpers.course import run
from helpers.project import PROJECT
from pybtex.database import parse_file

from stir.course import sources

SESSIONS = sources.paths(PROJECT)
LEADING_OUT = {"doi": "https://doi.org/", "eprint": "https://arxiv.org/abs/", "url": ""}
ADDRESSES = {
    LEADING_OUT[field] + value
    for entry in parse_file(PROJECT / "book" / "references.bib").entries.values()
    for field, value in entry.fields.items()
    if field in LEADING_OUT
}
SOURCE = """---
file_format: mystnb
---
# A title

```{code-cell} ipython3
:tags: [solution]
def double(x):
    ### BEGIN SOLUTION
    y = 2 * x
    return y
    ### END SOLUTION
### BEGIN SOLUTION
guess = 3
### STUB
guess = ...  # a number
### END SOLUTION
double(2)
```

+++ {"tags": ["solution"]}

In words.
"""


@pytest.fixture(params=SESSIONS, ids=[path.stem for path in SESSIONS])
def session(request, monkeypatch):
    matplotlib.use("agg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of inversions that are stopped early, and networks that have learnt little
        yield sources.read(request.param)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "1-a.md"
    path.write_text(SOURCE)
    return path


def test_solutions_and_stubs(source):
    notebook = sources.read(source)
    assert [cell.source for cell in sources.solved(notebook).cells][1:] == [
        "def double(x):\n    y = 2 * x\n    return y\nguess = 3\ndouble(2)",
        "In words.",
    ]
    assert [cell.source for cell in sources.student(notebook).cells][1:] == [
        "def double(x):\n    ...  # yours\nguess = ...  # a number\ndouble(2)"
    ]
    folded = sources.page(notebook).cells
    assert "hide-cell" in folded[1].metadata.tags and folded[1].metadata.mystnb.code_prompt_show
    assert folded[2].source.startswith("<details>") and "In words." in folded[2].source
    assert notebook == sources.read(source)  # nothing was changed in the source itself


@pytest.mark.parametrize("line", ["    ### BEGIN SOLUTION\n", "### STUB\n", "### END SOLUTION\n"])
def test_a_mark_that_is_missing_is_told(source, line):
    source.write_text(SOURCE.replace(line, "", 1))
    if "STUB" in line:
        assert "guess = ...  # yours" not in sources.student(sources.read(source)).cells[1].source
    else:
        with pytest.raises(ValueError, match="cell 1: a solution stands between"):
            sources.read(source)


def test_what_is_no_notebook_is_told(source):
    source.write_text("# A title\n")
    with pytest.raises(ValueError, match="must begin with `file_format: mystnb`"):
        sources.read(source)


def test_every_solution_passes_and_every_stub_fails_for_want_of_one(session):
    plt.close("all")
    (passed, shown), (failed, _) = run(sources.solved(session)), run(sources.student(session))
    assert not plt.get_fignums()  # each figure was shown as a drawing, by `figures.show`
    for name, value in shown.items():
        text = value._repr_html_() if hasattr(value, "_repr_html_") else repr(value)
        assert "dtype:" not in text and "adversarial-l2" not in text, f"{name} shows {text}"
        assert not re.search(r">-\d", text), f"{name} shows a number without a minus sign: {text}"
    assert list(passed) == list(failed) and 3 <= len(passed) <= 5
    for name, told in passed.items():
        assert told.startswith("✓ Exercise"), f"{name}: {told}"
    for name, told in failed.items():
        assert "missing" in told or "nothing yet" in told, f"{name}: {told}"


def test_sessions_take_ninety_minutes_and_say_what_a_reader_needs(session):
    text = "\n".join(cell.source for cell in session.cells if cell.cell_type == "markdown")
    for word in ("**Goals**", "**Before**", "**Read**", "**Build**", "## What to take home", "## To go further"):
        assert word in text
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert sum(map(int, rows)) == 90
    exercises = [line for line in text.splitlines() if line.startswith("### Exercise")]
    parts = re.findall(r"^\| (\d+) \| (.*?\b[Ee]xercise \d\.\d).* \|$", text, re.MULTILINE)
    assert parts == [re.search(r"### (Exercise \d\.\d).*\((\d+) minutes", line).group(2, 1) for line in exercises]
    assert 3 <= len(exercises) <= 5
    for level in ("predict", "build", "research"):
        assert any(level in line for line in exercises), level
    for cell in session.cells:
        assert "figures.show(" not in cell.source or cell.metadata.mystnb.image.alt


def test_sessions_have_questions_after_their_parts_and_papers_of_the_bibliography(session):
    quizzes = [place for place, cell in enumerate(session.cells) if sources.has_tag(cell, "quiz")]
    assert 2 <= len(quizzes) <= 3
    for one, next_ in pairwise(quizzes):
        assert any("\n#" in f"\n{cell.source}" for cell in session.cells[one:next_])  # each in a part of its own
    further = session.cells[-1].source
    assert further.startswith("## To go further")
    addresses = re.findall(r"\]\((https://[^)]+)\)", "\n".join(cell.source for cell in session.cells))
    assert further.count("](https://") >= 3 and set(addresses) <= ADDRESSES
