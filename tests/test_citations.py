"""Labels of the bibliography, and what it says of the paper and of this software."""

import pytest
import yaml
from helpers.project import PROJECT
from pybtex.database import Entry, Person, parse_file

from stir.book import citations

ENTRIES = parse_file(PROJECT / "book" / "references.bib").entries


@pytest.mark.parametrize(
    ("authors", "label"),
    [
        (["Holm, Sture"], "Holm, 2020"),
        (["Simonyan, Karen", "Zisserman, Andrew"], "Simonyan and Zisserman, 2020"),
        (["van der Maaten, L.", "B, C.", "D, E."], "van der Maaten et al., 2020"),
        (["{The authors of it}"], "The authors of it, 2020"),
    ],
)
def test_a_label_is_author_and_year(authors, label):
    entry = Entry("misc", fields={"year": "2020"}, persons={"author": [Person(each) for each in authors]})
    assert citations.label(entry) == label


def test_no_two_references_have_one_label():
    labels = [citations.label(entry) for entry in ENTRIES.values()]
    assert len(set(labels)) == len(labels)


def test_each_reference_leads_out():
    without = {key for key, entry in ENTRIES.items() if not {"doi", "eprint", "url"} & set(entry.fields)}
    assert without <= {"stircompanion"}  # until it has an address
    for entry in ENTRIES.values():
        assert entry.fields.get("archiveprefix", "arXiv") == "arXiv"
        assert not entry.fields.get("doi", "10.").startswith("http")


def test_the_book_asks_to_be_cited_as_the_repository_does():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    software, paper = ENTRIES["stircompanion"].fields, ENTRIES["nanda2022measuring"].fields
    assert software["title"].replace("{", "").replace("}", "") == citation["title"]
    assert software["note"] == f"Version {citation['version']}"
    preferred = citation["preferred-citation"]
    assert paper["title"] == preferred["title"] and paper["pages"] == f"{preferred['start']}--{preferred['end']}"
    assert preferred["url"].endswith(paper["eprint"])
