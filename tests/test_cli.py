"""Command line: refused arguments and missing packages; `test_store` lists and removes networks with it."""

import subprocess
import sys

import pytest
from click.testing import CliRunner
from helpers.project import PROJECT

import stir.book
from stir.book import runner
from stir.cli import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["initialisation"], "notebook='initialisation' is unknown; use one of architecture"),
        (["initialization", "--scale", "huge"], "scale='huge' is unknown; use one of cifar10-jpeg, digits"),
        (["initialization", "-p", "n_image", "3"], "did you mean 'n_images'"),
        (["initialization", "-p", "n_images", "many"], "must be of type int"),
    ],
)
def test_the_command_line_refuses_before_it_runs(arguments, message, monkeypatch):
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(runner, "execute", lambda *_, **__: pytest.fail("it ran"))
    result = CliRunner().invoke(main, ["run", *arguments])
    assert result.exit_code == 1
    assert message in result.output


@pytest.mark.parametrize("package", ["papermill", "nbformat", "yaml"])
@pytest.mark.parametrize("command", [["run", "initialization"], ["book"]])
def test_without_the_packages_of_the_book(command, package, monkeypatch):
    for module in ("build", "freshness", "parameters", "runner"):
        monkeypatch.delitem(sys.modules, f"stir.book.{module}", raising=False)
        monkeypatch.delattr(stir.book, module, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.chdir(PROJECT)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert f"{package}" in result.output and "pip install 'stir-companion[book]'" in result.output


def test_networks_are_listed_without_the_packages_of_the_book(own_store):
    missing = ("papermill", "nbformat", "yaml", "jupyter_book", "ipykernel", "IPython")
    code = f"import sys; sys.modules |= dict.fromkeys({missing}); from stir.cli import main; main(['models'])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "No networks in" in result.stdout
