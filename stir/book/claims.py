"""The page on the paper: the verdicts on its claims and the set-up of the measurements, from the findings' tables."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from stir.book.contents import Book
from stir.study import paper, scales
from stir.study.conclusions import VERDICTS, read_verdicts

CLAIMS = "<!-- claims -->"
MEASURED = re.compile(r"^<!-- measured: ([\w ]+) -->$", re.MULTILINE)
NOTHING = "*Nothing is measured yet.*"


def with_claims(text: str, book: Book) -> str:
    """Markdown with the verdicts on the paper's claims after `<!-- claims -->`, and a definition for each scale in
    place of each `<!-- measured: TOPIC -->`.

    Args:
        text: of a page.
        book: whose executed notebooks have the tables beside them.

    Raises:
        ValueError: a topic is not one of `stir.study.paper.set_up`.
    """
    if CLAIMS not in text and not MEASURED.search(text):
        return text
    places = dict.fromkeys(path.parent for path in book.notebooks.values())
    folders = [folder for folder in places if [*folder.glob(f"*{VERDICTS}")]]
    verdicts = paper.on_claims(scales.at_scales(scales.labelled(folders))) if folders else NOTHING
    set_ups = {folder.name: _set_up(folder) for folder in folders}

    def lines(match: re.Match) -> str:
        topics = next(iter(set_ups.values()), {match[1]: ""})
        if match[1] not in topics:
            raise ValueError(f"{match[0]!r} names no topic; use one of {', '.join(topics)}")
        return "\n".join(f": *`{scale}`*: {each[match[1]]}." for scale, each in set_ups.items()) or f": {NOTHING}"

    return MEASURED.sub(lines, text.replace(CLAIMS, f"{CLAIMS}\n{verdicts}"))


def _set_up(folder: Path) -> dict[str, str]:
    judged = read_verdicts(folder)
    replicas = {}
    for finding in dict.fromkeys(judged.finding):
        pairs = pd.read_csv(folder / f"{finding}.csv", usecols=["reference_kind", "reference_seed"])
        replicas[finding] = int(pairs.groupby("reference_kind").reference_seed.nunique().max())
    return paper.set_up(judged, replicas)
