"""The files around the package agree with each other."""

import ast
import re
import tomllib

import yaml

from paths import PROJECT
from stir import parameters
from stir.conclusions import ORDER
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


def test_modules_import_only_those_before_them():
    """In the order that the README gives."""
    (listed,) = re.findall(r"each importing only those before it: (.*?)\. The runner", (PROJECT / "README.md").read_text(), flags=re.S)
    order = [name.strip() for name in listed.split("→")]
    assert set(order) == {path.stem for path in (PROJECT / "stir").glob("*.py")} - {"__init__", "__main__"}
    for place, name in enumerate(order):
        tree = ast.parse((PROJECT / "stir" / f"{name}.py").read_text())
        for node in tree.body:  # what a function imports when it runs, or a type checker alone, is no dependence of the module
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "stir":
                parts = node.module.split(".")
                for imported in parts[1:2] or [alias.name for alias in node.names]:
                    assert imported in order[:place], f"{name} imports {imported}"


def test_the_citation_parses():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert citation["preferred-citation"]["year"] == 2022


def test_the_page_on_the_paper_states_the_set_up_as_it_is():
    """`name: value` stands for the value on each of the paper's four findings, a list for theirs in turn, and `len(name)` for a list's length."""
    page = (PROJECT / "book" / "paper.md").read_text()
    stated = 0
    for line in page.splitlines():
        scale = re.match(r": \*(?:`(\S+)`|Here)\*: ", line)
        for shown, name, value in re.findall(r"`((?:len\()?(\w+)\)?): (.+?)`", line if scale else ""):
            used = []
            for finding in ORDER[:4]:
                source = PROJECT / "notebooks" / f"{finding}.ipynb"
                own = {each: ast.literal_eval(declared.default) for each, declared in parameters.declared(source).items()}
                own |= load_scale(PROJECT, scale[1] or "digits", source)
                if name in own:
                    used.append(len(own[name]) if shown.startswith("len") else own[name])
            wanted = yaml.safe_load(value)
            assert used == (wanted if isinstance(wanted, list) else [wanted] * len(used)) != [], f"{line}: {shown} is {used}"
            stated += 1
    assert stated > 20
