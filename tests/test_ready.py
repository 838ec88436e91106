"""Whether a machine is ready for the course."""

import os

import pytest
from click.testing import CliRunner

from stir.cli import main
from stir.course import ready


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ready, "_trial", lambda: 1.0)  # an inversion, as test_invert.py has them
    return tmp_path


def test_networks_that_were_handed_out_are_read(in_a_folder, monkeypatch):
    monkeypatch.delenv("STIR_STORE")
    ready.begin()
    assert "STIR_STORE" not in os.environ
    (in_a_folder / "store" / "models").mkdir(parents=True)
    (in_a_folder / "store" / "models" / "a.safetensors").touch()
    told = CliRunner().invoke(main, ["course", "check"])
    assert told.exit_code == 0 and f"1 trained networks in {in_a_folder / 'store'}" in told.output
    monkeypatch.setenv("STIR_STORE", "/elsewhere")
    ready.begin()
    assert os.environ["STIR_STORE"] == "/elsewhere"


def test_what_is_missing_is_told_with_its_remedy(in_a_folder, monkeypatch):
    monkeypatch.setenv("STIR_STORE", str(in_a_folder / "none"))
    monkeypatch.setattr(ready, "PACKAGES", ("numpy", "no_such_package"))
    monkeypatch.setattr(ready, "_trial", lambda: 60.0)
    told = CliRunner().invoke(main, ["course", "check"])
    assert told.exit_code == 1
    assert "NOT  packages: no_such_package missing; in your clone: pip install '.[book]'" in told.output
    assert "go to the folder that holds `store`" in told.output
    assert "an inversion of 20 digits took 60.0 s; give fewer images" in told.output


def test_elsewhere_than_in_a_clone_there_is_nothing_to_write():
    told = CliRunner().invoke(main, ["course", "write"])
    assert told.exit_code == 1 and "holds no sessions" in told.output
