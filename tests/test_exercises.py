"""Checks of exercises name the usual mistakes."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import t as student
from torch import nn

import stir
from stir.course import exercises
from stir.course.exercises import measuring
from stir.course.judging import Unmet
from stir.similarity import linear_cka
from stir.study.hypothesis import Hypothesis, Quantity


def cka(x, y, centre=True, over=0, power=2):
    if centre:
        x, y = (each - each.mean(over, keepdim=True) for each in (x, y))
    return ((x.T @ y).norm() ** power / (x.T @ x).norm() / (y.T @ y).norm()).item()


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (dict(centre=False), "centre x and y first"),
        (dict(over=1), "not over the features"),
        (dict(power=1), "the norm in the numerator is squared"),
        (dict(power=3), r"should be 0\.\d+\.$"),
    ],
)
def test_mistakes_in_cka(mistake, message):
    exercises.check_cka(cka)
    with pytest.raises(Unmet, match=message):
        exercises.check_cka(lambda x, y: cka(x, y, **mistake))


def test_mistakes_in_the_number_of_images():
    exercises.check_images_needed(lambda p, score: -((score * p - p) // score))
    with pytest.raises(Unmet, match="the largest number that does not suffice"):
        exercises.check_images_needed(lambda p, score: -((score * p - p) // score) - 1)
    with pytest.raises(Unmet, match="p is still to be taken away"):
        exercises.check_images_needed(lambda p, score: -(-p // score))


def test_mistakes_in_the_table_of_layers(monkeypatch, capsys):
    networks = {nn.Identity(): torch.randn(20, 3) for _ in range(4)}
    trained, fresh = [*networks][:2], [*networks][2:]
    monkeypatch.setattr(measuring, "features", lambda network, images, layer: networks[network])
    right = [linear_cka(networks[one], networks[other]) for one, other in (trained, fresh)]
    images = torch.rand(20, 1, 4, 4)
    exercises.check_table_of_layers({"stage1": right}, ["stage1"], trained, fresh, images)
    assert f"At {'stage1' if right[1] >= right[0] else 'no layer'} the fresh networks" in capsys.readouterr().out
    for wrong, message in (
        ({"stage1": right[::-1]}, "trained and fresh are exchanged"),
        ({"stage1": (1.0, right[1])}, "compared with itself"),
        ({"stage1": right[0]}, "should be a pair"),
        ({}, "lacks stage1"),
        (right, "should be a dictionary"),
    ):
        with pytest.raises(Unmet, match=message):
            exercises.check_table_of_layers(wrong, ["stage1"], trained, fresh, images)


def distance(represent, u, x, by=None, power=1):
    length = represent(x if by is None else by).norm(dim=1) if by is not False else 1
    return ((represent(u) - represent(x)).norm(dim=1) / length) ** power


def test_mistakes_in_the_distance():
    exercises.check_distance(distance)
    for wrong, message in (
        (lambda r, u, x: distance(r, u, x, by=False), "divide by the length of the representation of x"),
        (lambda r, u, x: distance(r, u, x, by=u), "of x, not of u"),
        (lambda r, u, x: distance(r, u, x, power=2), "not squared"),
        (lambda r, u, x: distance(r, u, x).mean(), r"has the shape \(\), and should have \(3,\)"),
    ):
        with pytest.raises(Unmet, match=message):
            exercises.check_distance(wrong)


def step(represent, u, x, rate, sign=-1, dims=(1, 2, 3), clamp=True, unit=True):
    u = u.clone().requires_grad_()
    gradient = torch.autograd.grad(distance(represent, u, x).sum(), u)[0]
    length = torch.linalg.vector_norm(gradient, dim=dims, keepdim=True) if unit else 1
    moved = (u + sign * rate * gradient / length).detach()
    return moved.clamp(0, 1) if clamp else moved


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (dict(sign=1), "up the gradient"),
        (dict(clamp=False), "clamp the pixels"),
        (dict(unit=False), "give the gradient of each image the length 1"),
        (dict(dims=(0, 1, 2, 3)), "not that of all images together"),
    ],
)
def test_mistakes_in_a_step(mistake, message):
    exercises.check_step(step)
    with pytest.raises(Unmet, match=message):
        exercises.check_step(lambda *arguments: step(*arguments, **mistake))


@pytest.fixture(scope="module")
def networks():
    """Two networks with fresh weights, and images."""
    images = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return *(stir.build_model("resnet10", 3, width=4, channels=1, seed=seed) for seed in (0, 1)), images


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (("reference", "images", "target", "images"), "nothing was inverted"),
        (("reference", "images", "reference", "inverted"), "this is the ceiling"),
        (("reference", "inverted", "target", "inverted"), "the target is to compare X with X'"),
        (("target", "images", "target", "other"), "this inverts the target"),
        (("reference", "images", "reference", "other"), r"this is STIR\(given \| target\)"),
    ],
)
def test_mistakes_in_stir(networks, of, message):
    target, reference, images = networks

    def stir_of(target, given, images, steps, of=("target", "images", "target", "inverted")):
        said = {"target": target, "reference": given, "images": images}
        said["inverted"], said["other"] = (stir.invert(each, images, steps=steps).images for each in (given, target))
        return linear_cka(stir.features(said[of[0]], said[of[1]]), stir.features(said[of[2]], said[of[3]]))

    exercises.check_stir(stir_of, target, reference, images, 3)
    with pytest.raises(Unmet, match=message):
        exercises.check_stir(lambda *arguments: stir_of(*arguments, of=of), target, reference, images, 3)


@pytest.mark.filterwarnings("ignore:.*ended with ceiling:UserWarning")  # after so few steps
def test_stir_by_hand_is_the_packages(networks):
    target, reference, images = networks
    inverted = stir.invert(reference, images, steps=3).images
    by_hand = linear_cka(stir.features(target, images), stir.features(target, inverted))
    assert by_hand == pytest.approx(stir.score(target, given=reference, images=images, steps=3).value, abs=1e-4)


def test_mistakes_in_baselines(networks):
    target, reference, images = networks

    def baselines(target, images, inverted, places=1):
        others = stir.features(target, inverted.roll(places, 0))
        return linear_cka(images.flatten(1), inverted.flatten(1)), linear_cka(stir.features(target, images), others)

    exercises.check_baselines(baselines, target, reference, images, 3)
    for wrong, message in (
        (lambda *arguments: baselines(*arguments)[::-1], "pixels and floor are exchanged"),
        (lambda *arguments: baselines(*arguments, places=0), "not dealt out to the wrong images"),
        (lambda *arguments: baselines(*arguments)[0], "should return a pair"),
    ):
        with pytest.raises(Unmet, match=message):
            exercises.check_baselines(wrong, target, reference, images, 3)


def test_mistakes_in_the_table_of_scores(networks, monkeypatch):
    one, other, images = networks
    inversions = {network: stir.invert(network, images, steps=3) for network in (one, other)}
    monkeypatch.setattr(measuring, "invert", lambda network, *_, **__: inversions[network])  # each once is enough

    def score(reference, target):
        inverted = inversions[reference].images
        return {
            "CKA": linear_cka(stir.features(reference, images), stir.features(target, images)),
            "STIR": linear_cka(stir.features(target, images), stir.features(target, inverted)),
            "pixels": linear_cka(images.flatten(1), inverted.flatten(1)),
        }

    right = {"standard": score(one, other), "robust": score(other, one)}
    pairs = [one, other], [other, one]
    exercises.check_table_of_scores(right, *pairs, images, 3)
    for wrong, message in (
        ({}, "`table\\['standard'\\]` is missing"),
        (right | {"robust": right["robust"] | {"STIR": right["robust"]["CKA"]}}, "this is its CKA"),
        (
            right | {"robust": right["robust"] | {"STIR": right["standard"]["STIR"]}},
            "reference and target are exchanged",
        ),
    ):
        with pytest.raises(Unmet, match=message):
            exercises.check_table_of_scores(wrong, *pairs, images, 3)


def interval(x, y, factor=lambda n: (n - 1) ** 2 / n, fisher=True, t=None):
    n, there, back = len(x), *((math.atanh, math.tanh) if fisher else (float, float))
    z = torch.tensor([there(linear_cka(x[torch.arange(n) != i], y[torch.arange(n) != i])) for i in range(n)])
    half = (student.ppf(0.975, n - 1) if t is None else t) * math.sqrt(factor(n) * z.double().var())
    return back(there(linear_cka(x, y)) - half), back(there(linear_cka(x, y)) + half)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (dict(factor=lambda n: 1 / n), "the interval of a mean"),
        (dict(factor=lambda n: 1), r"the factor \(n - 1\)² / n is missing"),
        (dict(fisher=False), "compute on Fisher's z"),
        (dict(t=1.0), "multiply by Student's t"),
        (dict(t=1.96), "in place of 1.96"),
    ],
)
def test_mistakes_in_an_interval(mistake, message):
    exercises.check_interval(interval)
    with pytest.raises(Unmet, match=message):
        exercises.check_interval(lambda x, y: interval(x, y, **mistake))


def test_mistakes_in_a_verdict():
    def word(low, high, converged, few=0.5, else_="not supported"):
        if converged < few:
            return "not judged"
        return "supported" if low > 0 else "contradicted" if high < 0 else else_

    exercises.check_word(word)
    for wrong, message in (
        (dict(few=0.0), "too few of the images have converged"),
        (dict(few=0.6), "which is not fewer than half"),
        (dict(else_="contradicted"), "the interval holds 0"),
    ):
        with pytest.raises(Unmet, match=message):
            exercises.check_word(lambda *case, wrong=wrong: word(*case, **wrong))


def test_mistakes_in_leaving_networks_out():
    losses = {"a": "standard", "b": "standard", "c": "standard"} | dict.fromkeys("def", "adversarial-l2")
    rows = [
        dict(reference=one, target=other, reference_loss=losses[one], target_loss=losses[other])
        for one, other in product(losses, repeat=2)
    ]
    values = np.random.default_rng(0).random(len(rows))
    table = pd.DataFrame(rows).assign(stir=values)

    def without(table, name, sides=("reference", "target"), own=False, sign=1):
        for side in sides:
            table = table[table[side] != name]
        table = table if own else table[table.reference != table.target]
        means = [
            table[(table.reference_loss == each) & (table.target_loss == each)].stir.mean() for each in losses.values()
        ]
        return sign * (means[-1] - means[0])

    exercises.check_without({name: without(table, name) for name in losses}, table)
    for wrong, message in (
        (dict(sides=("reference",)), "as a target too"),
        (dict(sides=("target",)), "as a reference too"),
        (dict(sides=()), "no network is left out"),
        (dict(own=True), "no pair of different networks"),
        (dict(sign=-1), "standard less robust"),
    ):
        with pytest.raises(Unmet, match=message):
            exercises.check_without({name: without(table, name, **wrong) for name in losses}, table)


def test_mistakes_in_a_hypothesis():
    def hypothesis(more=True, less=False, value="stir", claim="Networks of one kind share more invariances."):
        quantities = (Quantity(str(same), value, {"same_kind": same}) for same in (more, less))
        return Hypothesis(claim, *quantities)

    exercises.check_hypothesis(hypothesis())
    for wrong, message in (
        (dict(more=False, less=True), "`more` and `less` are exchanged"),
        (dict(less=True), "and should be {'same_kind': False}"),
        (dict(value="cka"), "is 'cka', and should be 'stir'"),
        (dict(claim="more"), "as a sentence"),
    ):
        with pytest.raises(Unmet, match=message):
            exercises.check_hypothesis(hypothesis(**wrong))


def test_mistakes_in_wrapping_a_network():
    mine, images = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), torch.rand(5, 1, 4, 4)
    normalize = stir.Normalize(mean=[0.3], std=[0.2])
    exercises.check_wrapped(nn.Sequential(normalize, mine), mine, images, 0.3, 0.2)
    for wrong, message in (
        (mine, "not normalized before"),
        (nn.Sequential(normalize, normalize, mine), "normalized twice"),
        (None, "still missing"),
    ):
        with pytest.raises(Unmet, match=message):
            exercises.check_wrapped(wrong, mine, images, 0.3, 0.2)


@pytest.mark.filterwarnings("ignore:.*ended with ceiling:UserWarning")
def test_what_a_report_or_a_plan_lacks_is_named(networks):
    target, reference, images = networks
    result = stir.score(target, given=reference, images=images, steps=3)
    row = result.as_row() | {"interval": result.interval, "layer": result.target_taken, "images": 12}
    exercises.check_report(lambda result: row, result)
    exercises.check_report(lambda result: row | {"stir": round(row["stir"], 2)}, result)
    with pytest.raises(Unmet, match="The report's stir is"):
        exercises.check_report(lambda result: row | {"stir": row["stir"] + 0.02}, result)
    with pytest.raises(Unmet, match="lacks pixels, solver"):
        exercises.check_report(lambda _: {name: row[name] for name in row if name not in ("pixels", "solver")}, result)
    with pytest.raises(Unmet, match="'must fail' is still missing"):
        exercises.check_plan({"question": "q" * 30, "networks": "n" * 30, "hypothesis": "h" * 30, "must fail": ...})
    with pytest.raises(Unmet, match="'question' should be a sentence"):
        exercises.check_plan({"question": "why?"})
