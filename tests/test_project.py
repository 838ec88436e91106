"""The files around the package agree with each other."""

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import metadata

import pytest
import yaml
from helpers.project import PROJECT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import stir
from stir.book import parameters
from stir.book.lookup import load_scale
from stir.study.conclusions import ORDER

# The way through the package: each imports only itself and those before it.
ROOMS = (
    "names",
    "files",
    "kept",
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
    "course",
    "sweep",
    "cli",
)


# Modules whose tests stand in the file of another: the test file's name less `test_`.
TESTED_WITH = {
    "blocks": "architectures",
    "data_cards": "deferred",
    "classes": "datasets",
    "collection": "trained",
    "combination": "sweeping",
    "commands": "sweeping",
    "ending": "sweeping",
    "errors": "cli",
    "evaluation": "score",
    "figure": "tidy",
    "hypothesis": "verdict",
    "kernels": "runner",
    "libraries": "datasets",
    "lookup": "runner",
    "measuring": "exercises",
    "pooling": "representation",
    "reporting": "exercises",
    "request": "trained",
    "result": "score",
    "result_plot": "score",
    "running": "cli",
    "sessions": "handout",
    "slides": "handout",
    "splits": "datasets",
    "style": "charts",
    "trees": "datasets",
}
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
EXTRAS = PYPROJECT["optional-dependencies"]
# PyTorch needs other versions of its own parts on each platform; the others come with pip.
NOT_PINNED = re.compile("(nvidia-.*|cuda-.*|triton|setuptools|wheel)$")


def test_the_environment_installs_what_make_installs():
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    requirements = [Requirement(entry) for entry in environment["dependencies"] if isinstance(entry, str)]
    assert [requirement.name for requirement in requirements] == ["python", "pip"]
    assert requirements[0].specifier == SpecifierSet(PYPROJECT["requires-python"])
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-c constraints.txt", "-e .[dev]"]
    assert "-c constraints.txt -e '.[dev]'" in (PROJECT / "Makefile").read_text()


def test_every_dependency_is_pinned():
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert [*pins] == sorted(pins, key=str.lower)
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    entries = [*PYPROJECT["dependencies"], *(entry for extra in EXTRAS.values() for entry in extra)]
    requirements = [Requirement(entry) for entry in entries]
    for requirement in requirements:
        if requirement.name != PYPROJECT["name"]:
            assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    assert installed_with(requirements) - {PYPROJECT["name"]} <= set(pins)


def installed_with(requirements: list[Requirement]) -> set[str]:
    """The names of all distributions that the requirements lead to on this machine, without those of `NOT_PINNED`."""
    waiting, done = [*requirements], set()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), requirement.extras or {""}
        if NOT_PINNED.match(name) or (name, *extras) in done:
            continue
        done.add((name, *extras))
        for needed in map(Requirement, metadata.requires(name) or []):
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return {name for name, *_ in done}


def test_the_version_stands_in_one_place():
    version = PYPROJECT["version"]
    assert stir.__version__ == version
    assert yaml.safe_load((PROJECT / "CITATION.cff").read_text())["version"] == version
    assert f"\n## {version}" in (PROJECT / "CHANGELOG.md").read_text()


def test_who_measures_needs_neither_figures_nor_notebooks_nor_clusters():
    distributions = {canonicalize_name(Requirement(entry).name) for entry in EXTRAS["book"] + EXTRAS["sweep"]}
    distributions.remove(PYPROJECT["name"])
    modules = [
        module
        for module, owners in metadata.packages_distributions().items()
        if distributions & set(map(canonicalize_name, owners))
    ]
    assert {"matplotlib", "papermill", "yaml", "distributed"} <= set(modules)
    # None among the loaded modules makes an import fail as if it were not installed.
    missing = f"import sys; sys.modules.update(dict.fromkeys({modules}))"
    code = f"{missing}\nimport stir\nfrom stir.cli import main\nmain(['models'])"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT)


def test_the_public_names_are_imported_when_they_are_asked_for():
    tree = ast.parse((PROJECT / "stir" / "__init__.py").read_text())
    declared = next(node for node in tree.body if isinstance(node, ast.If))  # what a type checker sees
    named = {(node.module, alias.name) for node in declared.body for alias in node.names}
    assert {name for _, name in named} == set(stir.__all__) <= set(dir(stir))
    for module, name in named:
        home = importlib.import_module(module)
        value = importlib.import_module(f"{module}.{name}") if name == "verdict" else getattr(home, name)
        assert getattr(stir, name) is value
    for room in ("computing", "data", "inversion", "networks", "scoring", "similarity", "study", "training"):
        assert getattr(stir, room) is importlib.import_module(f"stir.{room}")
    with pytest.raises(AttributeError, match="module 'stir' has no attribute 'scores'"):
        stir.scores  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'scores'"):
        from stir import scores  # noqa: F401


def test_scales_set_known_parameters():
    for path in (PROJECT / "notebooks" / "scales").glob("*.yml"):
        for notebook in (PROJECT / "notebooks").glob("*.ipynb"):
            load_scale(PROJECT, path.stem, notebook)


@pytest.mark.parametrize("path", sorted((PROJECT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_pages_show_what_they_found_and_fold_their_code(path):
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    unseen = {"hide-input", "remove-input", "remove-cell"}
    raw = [cell["id"] for cell in cells if unseen.isdisjoint(cell["metadata"].get("tags", []))]
    assert cells and not raw


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
    """The modules of this package that some code imports, at its top or when it runs, without the package's name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "stir":
            inside = node.module.split(".")[1:]
            names = [alias.name for alias in node.names]
            yield from [".".join(inside)] if len(inside) > 1 else [".".join([*inside, name]) for name in names]
        elif isinstance(node, ast.Import):
            yield from [alias.name.removeprefix("stir.") for alias in node.names if alias.name.startswith("stir.")]


def test_every_module_has_a_test_file_of_its_name():
    modules = {path.stem for path in (PROJECT / "stir").rglob("*.py")} - {"__init__", "__main__"}
    test_files = {path.stem.removeprefix("test_") for path in (PROJECT / "tests").glob("test_*.py")}
    assert modules - test_files == set(TESTED_WITH)
    assert set(TESTED_WITH.values()) <= test_files


def test_no_test_file_imports_another():
    for path in (PROJECT / "tests").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (test_|conftest)", path.read_text(), re.MULTILINE), path


def test_the_citation_parses():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert citation["preferred-citation"]["year"] == 2022


def test_the_page_on_the_paper_states_parameters_as_they_are():
    """`name: value` is the value on each of the paper's four findings; what scales differ in comes from the tables."""
    stated = re.findall(r"`(\w+): (.+?)`", (PROJECT / "book" / "paper.md").read_text())
    for name, value in stated:
        sources = [PROJECT / "notebooks" / f"{finding}.ipynb" for finding in ORDER[:4]]
        assert {parameters.declared(source)[name].value for source in sources} == {yaml.safe_load(value)}
    assert stated


def test_each_promise_names_tests_that_exist():
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", (PROJECT / "book" / "promises.md").read_text())
    assert len(named) > 20
    missing = [each for each in named if f"\ndef {each[1]}(" not in (PROJECT / each[0]).read_text()]
    assert missing == []


def test_the_book_describes_all_that_the_package_gives():
    page = (PROJECT / "book" / "api.md").read_text()
    described = set(re.findall(r"auto(?:function|class):: (\w+)", page))
    assert set(stir.__all__) - {"verdict"} <= described and "automodule:: stir.study.verdict" in page
    assert {measure.__name__ for measure in stir.similarity.MEASURES.values()} <= described
