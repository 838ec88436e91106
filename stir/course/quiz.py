"""Questions with several choices, by which readers check themselves.

A Markdown cell of a session tagged `quiz` holds a question, and choices of which one is right, each with its reason:

    Is CKA the same both ways?

    - [x] Yes.

      Its formula does not change when X and Y are exchanged.

    - [ ] No, one of the two is the reference.

      That is so with STIR.

Choices unfold, each to its reason, without a script: on a page, in a notebook and on a slide.
"""

from __future__ import annotations

import html
import re
import textwrap

CHOICE = re.compile(r"^- \[([ x])\] ", re.MULTILINE)
LETTERS = "ABCDE"


def folded(source: str) -> str:
    """Return a question as Markdown in which each choice is a line that unfolds to its reason.

    Raises:
        ValueError: not exactly one choice is right, there are fewer than three or more than five, or one lacks its
            reason.
    """
    question, *parts = CHOICE.split(source)
    marks, choices = parts[::2], parts[1::2]
    if marks.count("x") != 1 or not 3 <= len(marks) <= len(LETTERS):
        raise ValueError(
            f"the question {_first_line(question)!r} has {len(marks)} choices, {marks.count('x')} of them right; write "
            "three to five choices `- [ ] ...`, and one of them as `- [x] ...`"
        )
    lines = [f"**Check yourself.** {question.strip()}"]
    for letter, mark, choice in zip(LETTERS, marks, choices, strict=False):
        text, _, reason = choice.strip().partition("\n\n")
        if not reason:
            raise ValueError(f"the choice {_first_line(text)!r} lacks its reason; write it below, after an empty line")
        summary = html.escape(f"{letter}. {' '.join(text.split())}", quote=False)
        response = f"**{'Right' if mark == 'x' else 'No'}.** {textwrap.dedent(f'  {reason.lstrip()}').strip()}"
        lines.append(f'<details class="choice">\n<summary>{summary}</summary>\n\n{response}\n\n</details>')
    return "\n\n".join(lines)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
