"""A little of `make fuzz`: each target in a few seconds, and that an outcome which is wrong is reported."""

import fuzz
import pytest
import yaml

from stir.book import parameters

pytestmark = pytest.mark.usefixtures("unchecked", "own_store")


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_few_inputs(target):
    report = fuzz.fuzz(target, 50)
    assert report.findings == {} and report.count == 50
    assert report.outcomes["accepted"] > 0 and report.outcomes["refused"] > 0


def test_the_same_seed_tries_the_same_inputs():
    assert fuzz.fuzz("classes", 50, 1).outcomes == fuzz.fuzz("classes", 50, 1).outcomes


def test_a_wrong_outcome_is_reported(monkeypatch):
    monkeypatch.setattr(parameters, "load_yaml", yaml.safe_load)  # YAML 1.1
    report = fuzz.fuzz("parameters", 100)
    assert report.outcomes["wrong"] > 0
    assert any("though it means" in finding and "Failing test case" in finding for finding in report.findings)


def test_what_is_printed(capsys):
    assert fuzz.main(["--count", "30", "--only", "classes", "parameters"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" in ")[0] for line in lines[:2]] == ["classes: 12 inputs", "parameters: 18 inputs"]
    assert lines[-1] == "no wrong outcome"
