"""`make bench`, on next to nothing: what it reports is what was measured, and what it cannot do it says."""

import importlib.util
import json

import pytest

from paths import PROJECT
from stir.networks import build_model

spec = importlib.util.spec_from_file_location("bench", PROJECT / "tests" / "benchmarks" / "run.py")
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)


def test_figures_are_printed_and_written(folder, tmp_path, capsys):
    output = tmp_path / "new" / "figures.jsonl"
    bench.main(["--data", f"folder:{folder[0]}", "--only", "loading", "--output", str(output)])
    written = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["figure"] for line in written] == ["load-first-seconds", "load-again-seconds"]
    assert all(line["value"] > 0 and line["goal"] and line["hardware"] for line in written)
    printed = capsys.readouterr().out
    assert "load-first-seconds" in printed and "minutes" in printed


def test_the_fewest_steps_to_the_authors_distance(monkeypatch, tmp_path):
    network = build_model("resnet10", 10, width=4, channels=1)
    monkeypatch.setattr(bench.Bench, "networks", lambda *_: {"it": network})
    monkeypatch.setattr(bench.Bench, "half_gain", 1.0)
    invert = bench.Bench.invert
    monkeypatch.setattr(bench.Bench, "invert", lambda self, model, **options: invert(self, model, **options | {"steps": min(options["steps"], 100)}))
    one = bench.Bench("digits", 3, "cpu", tmp_path / "figures.jsonl")
    bench.time_to_quality(one, (("resnet10", "standard"),))
    quality, depth = one.figures
    reached = {steps: distance for steps, _, distance in quality["curve"]}
    assert reached[quality["steps"]] <= quality["paper_distance"] + 1e-4
    assert all(distance > quality["paper_distance"] - 1e-4 for steps, distance in reached.items() if steps < quality["steps"])
    assert quality["steps"] - 1 in reached or quality["steps"] == 1
    assert quality["value"] > 0 and depth["value"] in (pytest.approx(distance, rel=0.01, abs=1e-4) for distance in reached.values())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--only", "loading"], "--only loading and recipe need --data folder:PATH, not digits"),
        (["--only", "qualities"], "invalid choice: 'qualities'"),
    ],
)
def test_what_cannot_be_measured(arguments, text, capsys):
    with pytest.raises(SystemExit):
        bench.main(arguments)
    assert text in capsys.readouterr().err
