"""The files around the package agree with each other."""

import ast
import re
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter

import yaml
from helpers.project import PROJECT

from stir.book import parameters
from stir.book.runner import load_scale
from stir.study.conclusions import ORDER

# The way through the package: each imports only itself and those before it.
ROOMS = (
    "files",
    "style",
    "computing",
    "data",
    "networks",
    "training",
    "inversion",
    "similarity",
    "scoring",
    "study",
    "book",
    "cli",
)


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
    pins = {
        line.split("==")[0].lower() for line in (PROJECT / "constraints.txt").read_text().splitlines() if "==" in line
    }
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    assert {re.split(r"[<>=]", entry)[0].lower() for entry in wanted} <= pins


def test_scales_set_known_parameters():
    for path in (PROJECT / "notebooks" / "scales").glob("*.yml"):
        for notebook in (PROJECT / "notebooks").glob("*.ipynb"):
            load_scale(PROJECT, path.stem, notebook)


def test_modules_import_only_rooms_before_theirs_and_never_in_a_circle():
    package = PROJECT / "stir"
    rooms = {path.name for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"} | {
        path.stem for path in package.glob("*.py")
    }
    assert rooms - {"__init__", "__main__"} == set(ROOMS)
    imports: dict[str, set[str]] = {}
    for path in package.rglob("*.py"):
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        if name.split(".")[0] in ROOMS and path.name != "__init__.py":
            imports[name] = set(imported(ast.parse(path.read_text())))
    for name, others in imports.items():
        room = name.split(".")[0]
        backward = {other for other in others if ROOMS.index(other.split(".")[0]) > ROOMS.index(room)}
        assert not backward, f"{name} imports {backward}"
    list(TopologicalSorter(imports).static_order())  # raises on a circle


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules of this package that some code imports, also where it does so only when it runs, without the package's name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "stir":
            inside = node.module.split(".")[1:]
            names = [alias.name for alias in node.names]
            yield from [".".join(inside)] if len(inside) > 1 else [".".join([*inside, name]) for name in names]
        elif isinstance(node, ast.Import):
            yield from [alias.name.removeprefix("stir.") for alias in node.names if alias.name.startswith("stir.")]


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
                own = {
                    each: ast.literal_eval(declared.default) for each, declared in parameters.declared(source).items()
                }
                own |= load_scale(PROJECT, scale[1] or "digits", source)
                if name in own:
                    used.append(len(own[name]) if shown.startswith("len") else own[name])
            wanted = yaml.safe_load(value)
            assert used == (wanted if isinstance(wanted, list) else [wanted] * len(used)) != [], (
                f"{line}: {shown} is {used}"
            )
            stated += 1
    assert stated > 20
