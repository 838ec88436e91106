"""A clone of a public place leads there, without a word in `_config.yml`."""

import subprocess

import pytest

from stir.book import address

CONFIG = {"title": "T", "repository": {"url": "", "branch": "main"}, "html": {"baseurl": ""}}
HERE = "https://github.com/some-one/stir.book"


@pytest.fixture
def clone(tmp_path):
    """A function that makes a clone of a place, of which nothing is read."""

    def make(place):
        project = tmp_path / "clone"
        subprocess.run(["git", "init", "--quiet", str(project)], check=True)
        subprocess.run(["git", "-C", str(project), "remote", "add", "origin", place], check=True)
        return project

    return make


@pytest.mark.parametrize(
    "place",
    [
        HERE,
        f"{HERE}.git",
        f"{HERE}/",
        "https://x-access-token:secret@github.com/some-one/stir.book.git",
        "git@github.com:some-one/stir.book.git",
        "git@github.com:some-one/stir.book",
        "ssh://git@github.com/some-one/stir.book.git",
    ],
)
def test_a_clone_from_github_has_its_public_address(clone, place):
    project = clone(place)
    assert address.origin(project) == HERE
    config = address.with_address(CONFIG, project)
    assert config["repository"] == {"url": HERE, "branch": "main"} and config["title"] == "T"
    assert config["html"]["baseurl"] == "https://some-one.github.io/stir.book/"
    assert address.origin(project.parent) == ""
    (project / "inside").mkdir()
    assert address.origin(project / "inside") == ""  # a project of its own in somebody's repository


@pytest.mark.parametrize(
    "place",
    [
        "https://gitlab.com/some-one/stir",
        "https://github.com.evil.org/some-one/stir",
        "https://evil.org/@github.com/some-one/stir",
        "https://github.com/some-one",
        "https://github.com/some-one/stir/tree/main",
        'https://github.com/some-one/stir"onclick=',
        "http://github.com/some-one/stir",
        "../stir",
        "file:///srv/stir.git",
    ],
)
def test_any_other_place_is_none(clone, place):
    project = clone(place)
    assert address.origin(project) == ""
    assert address.with_address(CONFIG, project) == CONFIG


def test_what_is_set_wins(clone):
    project = clone(HERE)
    config = {**CONFIG, "repository": {"url": "https://github.com/other/stir"}}
    assert address.with_address(config, project) == config
    book = {**CONFIG, "html": {"baseurl": "https://stir.org/"}}
    assert address.with_address(book, project)["html"]["baseurl"] == "https://stir.org/"


def test_without_git_there_is_none(clone, monkeypatch):
    project = clone(HERE)
    monkeypatch.setenv("PATH", "")
    assert address.origin(project) == ""
    assert address.with_address({"title": "T"}, project) == {"title": "T"}


def test_the_site_of_a_user_has_no_folder():
    assert address.published("https://github.com/Someone/someone.github.io") == "https://someone.github.io/"
