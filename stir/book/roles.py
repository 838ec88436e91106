"""Roles of MyST, citations and glued values, as Markdown that every viewer of a notebook shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pybtex.database import Entry, parse_file

from stir.book.citations import label

# Field of an entry -> what its address begins with; the first that there is counts.
ADDRESSES = {"eprint": "https://arxiv.org/abs/", "doi": "https://doi.org/", "url": ""}
ROLE = re.compile(r"\{(cite|cite:t|glue:text)\}`([^`]+)`")


def plain(text: str, references: Path, values: Mapping[str, str]) -> str:
    """Markdown whose citations are authors and years with links, such as "(Holm, 1979)", and whose glue is values.

    Args:
        references: the project's file of BibTeX; where it lacks a key, the key itself is shown.
        values: name of a glued value -> its text; a role of another name stays as it is.
    """
    if not ROLE.search(text):
        return text
    entries = parse_file(str(references), "bibtex").entries if references.exists() else {}

    def role(match: re.Match) -> str:
        kind, content = match.groups()
        if kind == "glue:text":
            return values.get(content.partition(":")[0], match[0])
        cited = [_cited(key.strip(), entries, in_text=kind == "cite:t") for key in content.split(",")]
        return " and ".join(cited) if kind == "cite:t" else f"({'; '.join(cited)})"

    return ROLE.sub(role, text)


def _cited(key: str, entries: Mapping[str, Entry], *, in_text: bool) -> str:
    """A citation without parentheses around it, linked where the entry has an address."""
    if key not in entries:
        return key
    fields, words = entries[key].fields or {}, label(entries[key])
    if in_text:
        authors, _, year = words.rpartition(", ")
        words = f"{authors} ({year})"
    address = next((f"{start}{fields[name]}" for name, start in ADDRESSES.items() if name in fields), "")
    return f"[{words}]({address})" if address else words
