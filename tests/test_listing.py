"""Tables of the notebooks and of their parameters."""

import json

import nbformat
import pytest
from helpers.project import PROJECT, TINY, notebook

from stir.book import listing, parameters
from stir.book.checks import ALLOWED


def test_each_notebook_has_a_line_with_the_time_of_its_last_run(tmp_path):
    folder = tmp_path / "book" / "runs" / "digits"
    folder.mkdir(parents=True)
    for name, metadata in {"loss": {"papermill": {"duration": 185.2}}, "dataset": {}}.items():
        (folder / f"{name}.ipynb").write_text(json.dumps({"metadata": metadata}))
    (folder / "networks.ipynb").write_text("damaged")
    lines = listing.notebooks_table(tmp_path, [notebook(name) for name in TINY], "digits").splitlines()
    assert len(lines) == len(TINY) + 1 and max(map(len, lines)) <= 100
    times = {line.split()[0]: line.split()[1:3] for line in lines}
    assert times["loss"] == ["3:05", "min"] and times["dataset"][0] == times["networks"][0] == "-"
    assert any("Loss: does the training loss decide what is ignored?" in line for line in lines)


@pytest.mark.parametrize("name", TINY)
def test_the_table_of_parameters_fits(name):
    text = listing.parameters_table(notebook(name), {"n_images": 7})
    assert max(map(len, text.splitlines())) <= 100
    assert " 7 " in text or "n_images" not in text
    # No word is broken, and no line sends a reader to a list in the package.
    declared = parameters.declared(notebook(name)).values()
    shown = [f"{listing.POINTER.sub('', each.help)} {ALLOWED.get(each.name, '')}" for each in declared]
    shown += [each.default for each in declared if each.name != "n_images"]
    assert set(" ".join(shown).split()) <= set(text.split()) and "from stir." not in text


def test_a_notebook_without_a_title(tmp_path):
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "own.ipynb")
    assert listing.title(tmp_path / "own.ipynb") == "own" and listing.title(notebook("solvers")).isascii()


def test_allowed_values_are_known_wherever_a_name_is_asked_for():
    """Help that sends a reader to a list in the package is no help at the terminal."""
    for path in (PROJECT / "notebooks").glob("*.ipynb"):
        for name, parameter in parameters.declared(path).items():
            assert "a name from" not in parameter.help or name in ALLOWED, (path.stem, name)
