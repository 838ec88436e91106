"""Sphinx extension: each term of the book's glossary leads there from its first use on a page.

Where a page means something else by a word, `<!-- no terms: scale, evidence -->` anywhere on it leaves these alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

# Parts of a page that a link would break, or in which a reader looks for no definition.
CLOSED = (
    nodes.reference,
    addnodes.pending_xref,
    nodes.title,
    nodes.rubric,
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.math_block,
    nodes.raw,
    nodes.comment,
    nodes.citation,
    nodes.footnote,
    nodes.label,
    addnodes.glossary,
    addnodes.desc,
    addnodes.toctree,
)

NO_TERMS = re.compile(r"<!--\s*no terms:([^>]*?)-->")


def pattern(terms: Mapping[str, object]) -> re.Pattern:
    """Return a regular expression for the terms, the longest first, in the singular or the plural.

    A term that begins with a small letter may begin with a capital one, as in a sentence; capitals are kept.
    """
    words = [
        f"[{term[0]}{term[0].upper()}]{re.escape(term[1:])}" if term[0].islower() else re.escape(term)
        for term in sorted(terms, key=len, reverse=True)
    ]
    return re.compile(rf"(?<![\w-])({'|'.join(words)})(?:e?s)?(?![\w-])") if words else re.compile(r"(?!)")


def key(text: str, terms: Mapping[str, object]) -> str:
    """Return the term that a matched text, without a plural's ending, stands for."""
    return text if text in terms else text[0].lower() + text[1:]


def texts(document: nodes.document) -> Iterator[nodes.Text]:
    """Yield the texts of a page, in their order, that may hold a link."""
    closed: set[nodes.Node] = set()
    for node in document.findall():
        if node.parent in closed or isinstance(node, CLOSED):
            closed.add(node)
        elif isinstance(node, nodes.Text):
            yield node


def left_alone(document: nodes.document) -> set[str]:
    """The terms to leave without links: those that a page lists in a comment, where it means other words."""
    matches = (NO_TERMS.search(node.astext()) for node in document.findall(nodes.raw))
    return {term.strip() for match in matches if match for term in match[1].split(",")}


def link_first_uses(document: nodes.document, terms: Mapping[str, str]) -> None:
    """Make the first use of each term a link, but for those that the page leaves alone.

    Args:
        terms: the address of each term's definition, as it is from the page.
    """
    other_words = left_alone(document)
    left = {term: address for term, address in terms.items() if term not in other_words}
    search = pattern(terms)
    for text in list(texts(document)):
        parts: list[nodes.Node] = []
        content, end = text.astext(), 0
        for match in search.finditer(content):
            term = key(match[1], terms)
            if term in left:
                link = nodes.reference("", match[0], internal=True, refuri=left.pop(term), classes=["term"])
                parts += [nodes.Text(content[end : match.start()]), link]
                end = match.end()
        if parts:
            text.parent.replace(text, [*parts, nodes.Text(content[end:])])


def link_terms(app: Sphinx, document: nodes.document, page: str) -> None:
    """Link the terms on a page, unless it is the glossary's own."""
    terms = {}
    for (kind, name), (home, label) in app.env.get_domain("std").data["objects"].items():
        if kind == "term" and home != page:
            terms[name] = f"{app.builder.get_relative_uri(page, home)}#{label}"
    link_first_uses(document, terms)


def setup(app: Sphinx) -> dict[str, bool]:
    """Have the terms linked once all pages are read."""
    app.connect("doctree-resolved", link_terms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
