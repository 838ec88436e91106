"""The benchmarks, on next to nothing: figures are those measured, and what cannot be measured is refused."""

import importlib.util
import json
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
import rates
import torch
from helpers.project import PROJECT

import stir
from stir.book.benchmarks import with_benchmarks
from stir.networks.architectures import build_model


def load(name):
    spec = importlib.util.spec_from_file_location(f"bench_{name}", PROJECT / "tests" / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bench, solvers = load("run"), load("solvers")


def test_figures_are_printed_and_written(folder, tmp_path, capsys):
    output = tmp_path / "new" / "figures.jsonl"
    bench.main(["--data", f"folder:{folder[0]}", "--only", "loading", "--output", str(output)])
    written = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["figure"] for line in written] == ["load-first-seconds", "load-again-seconds"]
    assert all(line["value"] > 0 and line["goal"] and line["hardware"] for line in written)
    printed = capsys.readouterr().out
    assert "load-first-seconds" in printed and "minutes" in printed


def test_speed_beside_what_it_could_cost(monkeypatch, tmp_path):
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
        theirs, ours, complete = again(**few, precision="float32"), again(steps=speed["steps"]), again()
        assert speed["value"] > 0 and speed["goal"] is None
        assert ours.distance.median() <= speed["paper_distance"] + 1e-4
        fewer = [steps for steps in bench.STEPS if steps < speed["steps"]]
        assert not fewer or again(steps=fewer[-1]).distance.median() > speed["paper_distance"] - 1e-4
        for prefix, inversion in (("paper_", theirs), ("", ours), ("end_", complete)):
            moved, share = inversion.moved.mean().item(), inversion.converged.float().mean().item()
            assert [speed[prefix + name] for name in ("moved", "converged")] == [
                pytest.approx(moved, rel=0.01),
                pytest.approx(share, abs=1e-3),
            ]
        assert distance["value"] == pytest.approx(complete.distance.median().item(), rel=0.01, abs=1e-4)
        assert converged["value"] == speed["end_converged"] and converged["steps"] == complete.steps


def test_rates_with_the_limit_beside_them(monkeypatch, tmp_path):
    monkeypatch.setitem(rates.SIZES, "small", rates.Size(4, (2, 4), 256, False))
    monkeypatch.setattr(rates, "PIXELS", 8)
    monkeypatch.setattr(rates, "matrix_rate", lambda device, dtype: 1e12)
    recipes, training = [], rates.train

    def train(model, split, recipe, **options):
        recipes.append(recipe)
        return training(model, split, recipe, **options)

    monkeypatch.setattr(rates, "train", train)
    invert = bench.Bench.invert
    monkeypatch.setattr(bench.Bench, "invert", lambda self, *arguments, **_: invert(self, *arguments, steps=5))
    output = tmp_path / "rates.jsonl"
    bench.main(["--only", "rates", "--device", "cpu", "--output", str(output)])
    *times, rate, standard, adversarial = [json.loads(line) for line in output.read_text().splitlines()]
    assert [time["count"] for time in times] == [2, 4] and {line["goal"] for line in times} == {None}
    assert rate["figure"] == "image-steps-per-second" and rate["value"] == pytest.approx(
        1e6 / times[1]["value"], rel=0.02
    )
    # Of a 3x3 convolution, as ResNet18 has them, to 4 channels at 8x8 pixels alone: 2 * 9 * 3 * 4 * 64 operations.
    assert 0 < rate["limit"] < 1e12 / (2 * 2 * 9 * 3 * 4 * 64)
    assert rate["share"] == pytest.approx(rate["value"] / rate["limit"], rel=0.02, abs=1e-3)
    assert [line["loss"] for line in (standard, adversarial)] == ["standard", "adversarial-l2"]
    assert standard["value"] > 0 and adversarial["value"] > 0
    assert [recipe.loss for recipe in recipes] == ["standard", "adversarial-l2"]
    assert recipes[0].attack is None and recipes[1].attack.steps == 3  # which takes longer, on an idle machine


def test_rates_have_goals_on_a_gpu_at_full_size(monkeypatch):
    goals = []
    monkeypatch.setattr(rates, "inversion_rates", lambda bench, size, goal: goals.append(goal))
    monkeypatch.setattr(rates, "training_rates", lambda bench, size, own: goals.append(own))
    for size, device in (("full", "cuda"), ("small", "cuda"), ("full", "cpu")):
        rates.rates(SimpleNamespace(size=size, device=torch.device(device)))
    assert goals == [170_000, {"standard": 40_000, "adversarial-l2": 12_000}, None, {}, None, {}]


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


PAIRS = [("a 0", "a 1"), ("a 1", "a 0")]


def rows_of(layer, solver, steps, values, failed=0):
    """X' are features of X, but for the first `failed` images."""
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    inverted, within = x.clone(), torch.arange(len(x)) >= failed
    inverted[:failed] += 5
    ends = dict(distance=0.1, p90=0.2, converged=1 - failed / len(x), ceiling=0.99, moved=5.0)
    about = dict(layer=layer, solver=solver, steps=steps, of_x=x, of_inverted=inverted, within=within) | ends
    return [about | dict(reference=a, target=b, stir=value) for (a, b), value in zip(PAIRS, values, strict=True)]


def test_agreement_is_the_difference_of_each_pair_to_the_first_solver():
    rows = [row for layer in ("stage1", "stage2") for row in rows_of(layer, "tethered", 200, [0.5, 0.6])]
    rows += rows_of("stage1", "nearest", 300, [0.6, 0.4])[::-1]  # pairs in another order
    rows += rows_of("stage1", "tethered", 50, [0.5, 0.6]) + rows_of("stage2", "paper", 1000, [0.2, 0.5])
    table = solvers.agreement(pd.DataFrame(rows)).reset_index()
    table = table[table.images == "all"]
    names = ["layer", "solver", "steps", "against", "pairs"]
    assert table[names].to_numpy().tolist() == [
        ["stage1", "nearest", 300, "tethered, 200 steps", 2],
        ["stage1", "tethered", 50, "tethered, 200 steps", 2],
        ["stage2", "paper", 1000, "tethered, 200 steps", 2],
    ]
    numbers = table[["mean", "mean_size", "largest"]].to_numpy()
    assert numbers == pytest.approx(pd.DataFrame([[-0.05, 0.15, 0.2], [0, 0, 0], [-0.2, 0.2, 0.3]]).to_numpy())


def test_agreement_on_images_that_both_inverted():
    rows = rows_of("stage1", "tethered", 200, [0.9, 0.9], failed=1) + rows_of(
        "stage1", "nearest", 9, [0.5, 0.5], failed=2
    )
    everywhere, where_both = solvers.agreement(pd.DataFrame(rows)).to_dict("records")
    assert everywhere["mean"] == pytest.approx(-0.4) and everywhere["share"] == 1
    # On those X' is represented as X, by both.
    assert where_both["share"] == 0.75 and where_both["largest"] == pytest.approx(0, abs=1e-6)


def test_both_tables_of_the_solvers_are_printed_and_written(digits, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(solvers, "networks", lambda data: (digits, {}))

    def measure(models, images, layer, solver, steps, straight):
        return rows_of(layer, solver, steps, [0.5, len(images) / 8])

    monkeypatch.setattr(solvers, "measure", measure)
    output = tmp_path / "figures.csv"
    options = ["--solvers", "tethered:200", "nearest:300", "--layers", "stage1", "--images", "4"]
    solvers.main([*options, "--output", str(output)])
    assert list(pd.read_csv(output).solver) == ["tethered", "nearest"]
    assert pd.read_csv(tmp_path / "figures-agreement.csv").solver.tolist() == ["nearest"] * 2
    printed = capsys.readouterr().out
    assert "STIR of robust" in printed and printed.index("STIR of robust") < printed.index("mean_size")
    solvers.main(options)
    assert {path.name for path in tmp_path.iterdir()} == {"figures.csv", "figures-agreement.csv"}


@pytest.fixture
def ends(tmp_path):
    """A project with a table of what solvers came to."""
    folder = tmp_path / "book" / "benchmarks"
    folder.mkdir(parents=True)
    (folder / "ends.csv").write_text(
        "layer,given,solver,steps,distance,p90,converged,moved\n"
        "penultimate,standard,paper,1000,0.0649,0.1,0.92,11.604\npenultimate,robust,paper,1000,-0.0,0.2,1.0,20.096\n"
    )
    return tmp_path


def test_a_page_has_the_table_of_a_benchmark_in_words(ends):
    lines = with_benchmarks("before <!-- benchmark: ends --> after", ends).splitlines()
    assert lines[0] == "before :::{table}" and lines[-1] == "::: after"
    assert lines[2:-1] == [
        "| solver | reference | median distance | 90% are nearer than | converged | moved |",
        "| :-- | :-- | --: | --: | --: | --: |",
        "| paper, 1,000 steps | standard | 0.065 | 0.100 | 92% | 11.6 |",
        "| paper, 1,000 steps | robust | 0.000 | 0.200 | 100% | 20.1 |",
    ]


def test_a_page_has_single_numbers_of_a_benchmark(ends):
    text = "<!-- of ends: paper 1000 robust moved --> and <!-- of ends: paper 1000 standard converged -->"
    assert with_benchmarks(text, ends) == "20.1 and 92%"
    for wrong in ("paper 999 robust moved", "nearest 1000 robust moved", "paper 1000 robust lived"):
        with pytest.raises(ValueError, match="rows of ends.csv"):
            with_benchmarks(f"<!-- of ends: {wrong} -->", ends)


def test_no_mark_of_a_benchmark_is_left_in_the_book():
    for path in (PROJECT / "book").glob("*.md"):
        assert "<!-- of " not in with_benchmarks(path.read_text(), PROJECT), path
