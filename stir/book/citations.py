"""Sphinx extension: labels of the bibliography by author and year, as the citations in the text have them."""

from __future__ import annotations

from collections.abc import Iterable

from pybtex.database import Entry
from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style as UnsrtStyle
from pybtex.style.labels import BaseLabelStyle
from sphinx.application import Sphinx

NAME = "author-year"  # what `{bibliography}` calls the style


def label(entry: Entry) -> str:
    """Return the label of an entry as the citations of sphinxcontrib-bibtex have it: "Nanda et al., 2022"."""
    persons, fields = entry.persons or {}, entry.fields or {}
    # Rich names, in which the braces of BibTeX are gone.
    authors = [" ".join(map(str, each.rich_prelast_names + each.rich_last_names)) for each in persons["author"]]
    names = f"{authors[0]} et al." if len(authors) > 2 else " and ".join(authors)
    return f"{names}, {fields['year']}"


class AuthorYearLabels(BaseLabelStyle):
    """Labels of author and year."""

    def format_labels(self, sorted_entries: Iterable[Entry]) -> list[str]:
        """Return a label for each entry."""
        return [label(entry) for entry in sorted_entries]


class AuthorYear(UnsrtStyle):
    """A bibliography in the order of its labels, authors first."""

    default_sorting_style = "author_year_title"
    default_label_style = NAME


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the style."""
    register_plugin("pybtex.style.labels", NAME, AuthorYearLabels)
    register_plugin("pybtex.style.formatting", NAME, AuthorYear)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
