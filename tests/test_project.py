"""The files around the package agree with each other."""

import re
import tomllib

import yaml

from paths import PROJECT
from stir.runner import load_scale


def test_environment_repeats_no_dependency():
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    entries = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=\[]", entry)[0] for entry in project["dependencies"]}
    assert {re.split(r"[<>=]", entry)[0] for entry in entries} == {"python", "pip"}
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert "-e .[test]" in pip
    assert not names & {re.split(r"[<>=]", entry)[0] for entry in pip}


def test_every_dependency_is_pinned():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    pins = {line.split("==")[0].lower() for line in (PROJECT / "constraints.txt").read_text().splitlines() if "==" in line}
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    assert {re.split(r"[<>=]", entry)[0].lower() for entry in wanted} <= pins


def test_scales_set_known_parameters():
    for path in (PROJECT / "notebooks" / "scales").glob("*.yml"):
        for notebook in (PROJECT / "notebooks").glob("*.ipynb"):
            load_scale(PROJECT, path.stem, notebook)


def test_the_citation_parses():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert citation["preferred-citation"]["year"] == 2022
