"""Devices and their names."""

import pytest
import torch

from stir.computing.devices import hardware, listed_hardware, resolve_device


def test_names_and_devices():
    assert resolve_device("cpu") == resolve_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device().type == resolve_device("auto").type == expected


@pytest.mark.parametrize("name", ["abacus", "", "cuda:99"])
def test_devices_that_are_not_here(name):
    with pytest.raises(ValueError, match=f"device='{name}' cannot be used here .*; use 'auto', 'cpu', 'cuda' or 'mps'"):
        resolve_device(name)


def test_hardware_is_one_line():
    line = hardware(torch.device("cpu"))
    assert line and "\n" not in line and f"{torch.get_num_threads()} core" in line


def test_hardware_of_several_runs_is_told_in_few_words():
    lines = ["AMD EPYC, 2 cores", "NVIDIA H200", "AMD EPYC, 1 core", "AMD EPYC, 2 cores"]
    assert listed_hardware(lines) == "AMD EPYC, 1 or 2 cores; NVIDIA H200"
    assert listed_hardware(["AMD EPYC, 1 core"]) == "AMD EPYC, 1 core" and listed_hardware([]) == ""
