"""Comparison of a user's own networks: what builds them, the layers, the doubts, and the command with its report."""

import sys

import nbformat
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from stir.book import compare, runner
from stir.cli import main
from stir.networks.architectures import build_model

MINE = """
import torch
from torch import nn

def network(seed, channels=1):
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU())
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10))

def first(): return network(0)
def second(): return network(1)
def coloured(): return network(0, channels=3)
def number(): return 5
def broken(): raise KeyError("weights")
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with a module of a user's, the current one; the name of the module."""
    name = f"mine_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MINE)
    (tmp_path / f"{name}_broken.py").write_text("import nothing_of_this_name")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["MINE:first"], "networks=['MINE:first'] must be two or more, none twice"),
        (["MINE:first", "MINE:first"], "must be two or more, none twice"),
        (["MINE:first", "MINE"], "network='MINE' must be MODULE:FUNCTION, such as mine:first, or torchvision:resnet50"),
        (["MINE:first", "MINE:third"], "network='MINE:third': the module MINE has no 'third'"),
        (["MINE:first", "nowhere_at_all:x"], "nowhere_at_all cannot be imported (ModuleNotFoundError: "),
        (["MINE:first", "MINE_broken:x"], "MINE_broken cannot be imported (ModuleNotFoundError: No module named 'noth"),
        (["MINE:first", "MINE:number"], "network='MINE:number': number() returned a int, no torch.nn.Module"),
        (["MINE:first", "MINE:broken"], "network='MINE:broken': broken() raised KeyError: 'weights'"),
        (["MINE:first", "MINE:coloured"], "network 'MINE:coloured': "),
        (["MINE:first", "MINE:second", "--layers", "0.9"], "layer='0.9' does not exist in Sequential"),
        (["MINE:first", "MINE:second", "--layers", "0.0,0.0"], "must hold none twice"),
        (["MINE:first", "MINE:second", "--layers", "0.0", "--layers", "0.0,0.2"], "a list of as many names for each"),
        (["MINE:first", "MINE:second", "--measures", "cka"], "measures[0]='cka' is unknown"),
        (["MINE:first", "MINE:second", "--n-images", "4"], "n_images=4 must be 5 or more"),
        (["MINE:first", "MINE:second", "--images", "folder:nowhere"], "nowhere"),
        (["MINE:first", "MINE:second", "--device", "tpu"], "device='tpu' cannot be used here"),
    ],
)
def test_bad_input_is_one_line_before_any_work(mine, arguments, message, monkeypatch, unchecked):
    monkeypatch.setattr(runner, "execute", lambda *_, **__: pytest.fail("it ran"))
    arguments = [each.replace("MINE", mine) for each in arguments]
    result = CliRunner().invoke(main, ["compare", "--images", "digits", *arguments])
    assert result.exit_code == 1 and message.replace("MINE", mine) in result.output, result.output
    assert result.output.count("\n") == 1


def test_layers_are_the_outer_parts_with_weights():
    network = build_model("resnet10", 10, width=4, channels=1)
    assert compare.stages(network) == ["stem", "stage1", "stage2", "stage3", "stage4"]
    assert compare.stages(nn.Sequential(network))[0] == "0.stem"
    assert compare.stages(nn.Flatten()) == []


def test_layers_of_networks_go_together():
    networks = {
        "a": build_model("resnet10", 10, width=4, channels=1),
        "b": build_model("vgg11", 10, width=4, channels=1),
    }
    images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    chosen = compare.choose_layers(networks, images)
    # The last stage of each, averaged, is the penultimate layer.
    assert [each["a"] for each in chosen] == ["stem", "stage1", "stage2", "stage3", "penultimate"]
    assert [each["b"] for each in chosen] == ["stage1", "stage2", "stage3", "stage4", "penultimate"]
    assert compare.choose_layers(networks, images, ["stage1"]) == [{"a": "stage1", "b": "stage1"}]
    named = compare.choose_layers(networks, images, [["stem", "stage1"], ["stage1", "stage2"]])
    assert named == [{"a": "stem", "b": "stage1"}, {"a": "stage1", "b": "stage2"}]


GOOD = dict(
    reference="a", target="b", stir=0.9, stir_low=0.8, ceiling=0.99, converged=1.0, floor=0.1, pixels=0.5, untrained=0.4
)


@pytest.mark.parametrize(
    ("changed", "reasons"),
    [
        ({}, []),
        ({"ceiling": 0.5}, ["ceiling 0.50: take more steps"]),
        ({"ceiling": float("nan")}, ["ceiling nan: take more steps"]),
        ({"converged": 0.2}, ["20% converged: take more steps"]),
        ({"pixels": 0.85, "untrained": 0.8}, ["not above pixels 0.85, untrained 0.80"]),
        ({"stir_low": float("nan"), "floor": float("nan")}, []),  # of a measure without intervals
        ({"pixels": 0.95, "target": "a"}, []),  # of a network with itself
    ],
)
def test_doubts(changed, reasons):
    assert compare.doubts(GOOD | changed) == reasons


def test_the_command_leaves_a_table_and_a_report(mine, tmp_path):
    names = [f"{mine}:first", f"{mine}:second"]
    options = ["--images", "digits", "--n-images", "12", "--steps", "2", "--layers", "0.0,penultimate"]
    result = CliRunner().invoke(main, ["compare", *names, *options, "--output", "out", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "of 4 scores can be trusted as they are." in result.output and "out/compare.ipynb" in result.output
    table = pd.read_csv(tmp_path / "out" / "compare.csv")
    assert len(table) == 2 * 2 * 2 and set(table.target_layer) == {"0.0", "penultimate"}
    assert (tmp_path / "out" / "compare-layers.png").exists()
    report = nbformat.read(tmp_path / "out" / "compare.ipynb", as_version=4)
    text = "\n".join(
        output["data"].get("text/markdown", "") for cell in report.cells for output in cell.get("outputs", [])
    )
    assert "of 4 scores can be taken as they are" in text and "ended with ceiling" in text


def test_the_report_is_a_clean_source():
    source = nbformat.read(compare.NOTEBOOK, as_version=4)
    nbformat.validate(source)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in source.cells)
