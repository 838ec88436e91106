"""Questions whose choices unfold to their reasons."""

import pytest
from bs4 import BeautifulSoup
from docutils.core import publish_parts
from myst_parser.parsers.docutils_ import Parser

from stir.course import quiz, sources

QUESTION = """Is $S$ the same
both ways?

- [ ] No, as X < Y.

  So it is with STIR.

- [x] Yes: it is
  symmetric.

  Exchange $X$ and $Y$:

      x, y = y, x

- [ ] That depends on
  the images.

  It does not.
"""


def test_each_choice_unfolds_to_its_own_reason():
    page = publish_parts(
        quiz.folded(QUESTION),
        parser=Parser(),
        writer_name="html5",
        settings_overrides={"myst_enable_extensions": ["dollarmath"]},
    )["body"]
    soup = BeautifulSoup(page, "html.parser")
    assert soup.p.get_text().startswith("Check yourself. Is ")
    choices = soup.find_all("details", class_="choice")
    assert [choice.summary.get_text() for choice in choices] == [
        "A. No, as X < Y.", "B. Yes: it is symmetric.", "C. That depends on the images.",
    ]  # fmt: skip
    assert [choice.strong.get_text() for choice in choices] == ["No.", "Right.", "No."]
    assert "So it is with STIR." in choices[0].get_text() and "It does not." in choices[2].get_text()
    assert choices[1].pre.get_text().strip() == "x, y = y, x"  # reasons are Markdown
    assert not any(choice.has_attr("open") for choice in choices)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[x]", "[ ]", r"'Is \$S\$ the same' has 3 choices, 0 of them right"),
        ("[ ]", "[x]", "3 choices, 3 of them right"),
        (
            "- [ ] That depends on\n  the images.\n\n  It does not.\n",
            "",
            "2 choices, 1 of them right",
        ),
        ("  It does not.\n", "", "the choice 'That depends on' lacks its reason"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(old, new, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        quiz.folded(QUESTION.replace(old, new))
    path = tmp_path / "1-a.md"
    path.write_text('---\nfile_format: mystnb\n---\n# A\n\n+++ {"tags": ["quiz"]}\n\n' + QUESTION.replace(old, new))
    with pytest.raises(ValueError, match=rf"1-a\.md, cell 1: .*{message}"):
        sources.read(path)


def test_students_and_readers_get_the_same_question(tmp_path):
    path = tmp_path / "1-a.md"
    path.write_text('---\nfile_format: mystnb\n---\n# A\n\n+++ {"tags": ["quiz"]}\n\n' + QUESTION)
    notebook = sources.read(path)
    for version in (sources.student, sources.solved, sources.page):
        assert version(notebook).cells[1].source == quiz.folded(QUESTION)
