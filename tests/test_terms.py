"""Links from the first use of a term to the glossary."""

import pytest
from docutils import nodes
from docutils.utils import new_document

from stir.book import terms

TERMS = {"seed image": "g.html#seed", "STIR": "g.html#stir", "image": "g.html#image", "box": "g.html#box"}


def linked(*children):
    document = new_document("page")
    document += [nodes.title("", "STIR and its box"), *children]
    before = document.astext()
    terms.link_first_uses(document, TERMS)
    assert document.astext() == before
    return [(link.astext(), link["refuri"]) for link in document.findall(nodes.reference) if "refuri" in link]


def test_the_first_use_leads_to_the_definition_and_later_ones_do_not():
    paragraph = nodes.paragraph("", "", nodes.Text("Seed images: a seed image, an image. "), nodes.strong("", "STIR"))
    assert linked(paragraph, nodes.paragraph("", "STIR of an image")) == [
        ("Seed images", "g.html#seed"),
        ("image", "g.html#image"),
        ("STIR", "g.html#stir"),
    ]


@pytest.mark.parametrize("words", ["stir", "STIRs'", "boxing", "pre-image", "imagery"])
def test_other_words_stay(words):
    assert [text for text, _ in linked(nodes.paragraph("", words))] == (["STIRs"] if words == "STIRs'" else [])


def test_plurals_count():
    assert linked(nodes.paragraph("", "Boxes")) == [("Boxes", "g.html#box")]


@pytest.mark.parametrize(
    "closed", [nodes.literal("", "STIR"), nodes.reference("", "STIR"), nodes.math("", "STIR"), nodes.raw("", "STIR")]
)
def test_code_links_and_mathematics_hold_no_link(closed):
    assert linked(nodes.paragraph("", "", closed)) == []


def test_a_page_may_mean_something_else_by_a_word():
    comment = nodes.raw("", "<!-- no terms: box, seed image -->", format="html")
    assert linked(nodes.paragraph("", "A box, a STIR, a seed image."), comment) == [("STIR", "g.html#stir")]


def test_without_a_glossary_nothing_happens():
    document = new_document("page")
    document += nodes.paragraph("", "STIR")
    terms.link_first_uses(document, {})
    assert not list(document.findall(nodes.reference))
