"""`make bench`, on next to nothing: what it reports is what was measured, and what it cannot do it says."""

import importlib.util
import json
from functools import partial

import pytest
from helpers.project import PROJECT

import stir
from stir.training.trained import build_model

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


def test_speed_and_what_it_could_be_bought_with(monkeypatch, tmp_path):
    network = build_model("resnet10", 10, width=4, channels=1)
    monkeypatch.setattr(bench.Bench, "network", lambda *_: network)
    monkeypatch.setattr(bench.Bench, "half_gain", 1.0)
    invert = bench.Bench.invert
    few = {"solver": "paper", "steps": 50}
    monkeypatch.setattr(
        bench.Bench,
        "invert",
        lambda self, model, **options: invert(self, model, **options | few if "solver" in options else options),
    )
    one = bench.Bench("digits", 2, "cpu", tmp_path / "figures.jsonl")
    bench.time_to_quality(one, (("resnet10", "standard"),))
    assert [line["layer"] for line in one.figures] == ["stage2"] * 3 + ["penultimate"] * 3
    for speed, distance, converged in zip(*[iter(one.figures)] * 3, strict=True):
        again = partial(stir.invert, network, one.images, layer=speed["layer"], device="cpu", progress=False)
        theirs, ours, whole = again(**few, precision="float32"), again(steps=speed["steps"]), again()
        assert speed["value"] > 0 and speed["goal"] is None
        assert ours.distance.median() <= speed["paper_distance"] + 1e-4
        too_few = [steps for steps in bench.STEPS if steps < speed["steps"]]
        assert not too_few or again(steps=too_few[-1]).distance.median() > speed["paper_distance"] - 1e-4
        for prefix, inversion in (("paper_", theirs), ("", ours), ("end_", whole)):
            moved, share = inversion.moved.mean().item(), inversion.converged.float().mean().item()
            assert [speed[prefix + name] for name in ("moved", "converged")] == [
                pytest.approx(moved, rel=0.01),
                pytest.approx(share, abs=1e-3),
            ]
        assert distance["value"] == pytest.approx(whole.distance.median().item(), rel=0.01, abs=1e-4)
        assert converged["value"] == speed["end_converged"] and converged["steps"] == whole.steps


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
