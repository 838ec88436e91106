"""The descents against the ends that theory gives them."""

import numpy as np
import pytest
import torch
from helpers.inversion import nearest_in_box
from scipy.optimize import minimize
from torch import nn

from stir import Ball, invert, load_dataset, trained_model
from stir.inversion.solvers import SOLVERS
from stir.networks.architectures import build_model

QUIET = {"device": "cpu", "progress": False}


def linear(matrix):
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
    layer.weight.data = matrix.clone()
    return nn.Sequential(nn.Flatten(), layer)


def problem(outputs=6, noise=1.0):
    """Ax on 5x5 images, and seeds of standard deviation `noise` around gray."""
    generator = torch.Generator().manual_seed(outputs)
    matrix = torch.randn(outputs, 25, generator=generator)
    images = 0.5 + 0.1 * (torch.rand(12, 1, 5, 5, generator=generator) - 0.5)
    seeds = 0.5 + noise * torch.randn(12, 1, 5, 5, generator=generator)
    return matrix, images, seeds


@pytest.mark.parametrize("outputs", [1, 6, 20])
def test_the_default_too_ends_at_the_projection_where_no_pixel_meets_its_bound(outputs):
    matrix, images, seeds = problem(outputs, noise=0.05)
    offset = (images - seeds).flatten(1) @ (torch.linalg.pinv(matrix) @ matrix).T
    closed = seeds + offset.reshape(seeds.shape)
    found = invert(linear(matrix), images, layer="1", seeds=seeds, precision="float32", **QUIET)
    assert found.distance.max() < 1e-3
    assert torch.allclose(found.images, closed, atol=2e-3)


@pytest.mark.parametrize("solver", SOLVERS)
def test_whatever_precision_the_caller_has_set(solver):
    matrix, images, seeds = problem(6, noise=0.05)
    options = dict(layer="1", seeds=seeds, steps=5, solver=solver, **QUIET)
    wanted = invert(linear(matrix), images, precision="float32", **options)
    with torch.autocast("cpu", torch.bfloat16):
        found = invert(linear(matrix), images, **options)
    assert found.images.dtype == torch.float32 and found.distance.max() < 1.5 * wanted.distance.max()
    try:
        torch.set_default_dtype(torch.float64)
        assert torch.allclose(invert(linear(matrix), images, precision="float32", **options).images, wanted.images)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("outputs", [1, 6, 20])
def test_nearest_ends_at_the_projection_of_the_seed(outputs):
    # Gray seeds and images: the closed form stays inside [0, 1], as if there were no box.
    matrix, images, seeds = problem(outputs, noise=0.05)
    seen = torch.linalg.pinv(matrix) @ matrix
    offset = (images - seeds).flatten(1) @ seen.T
    closed = seeds + offset.reshape(seeds.shape)
    assert closed.min() > 0 and closed.max() < 1
    found = invert(linear(matrix), images, layer="1", seeds=seeds, solver="nearest", **QUIET)
    assert found.distance.max() < 1e-5
    assert torch.allclose(found.images, closed, atol=1e-4)


@pytest.mark.parametrize("outputs", [1, 6, 12])
def test_nearest_solves_the_boxed_problem(outputs):
    matrix, images, seeds = problem(outputs)
    expected = nearest_in_box(matrix, images, seeds.clamp(0, 1))
    assert ((expected < 1e-6) | (expected > 1 - 1e-6)).float().mean() > 0.1  # the box does bind
    found = invert(linear(matrix), images, layer="1", seeds=seeds, solver="nearest", **QUIET)
    assert (found.images - expected).abs().max() < 1e-3
    # So does the default, nearly: within 2% of the least way, which is also the mean over images.
    found = invert(linear(matrix), images, layer="1", seeds=seeds, precision="float32", **QUIET)
    least = (expected - seeds.clamp(0, 1)).flatten(1).norm(dim=1)
    assert found.distance.max() < 0.02 and found.moved.mean() < 1.02 * least.mean()


@pytest.fixture(scope="module")
def robust():
    """A robust network, whose invariances lie far from any seed image: the hardest case that a test can train."""
    return trained_model(
        "resnet10",
        dataset="digits",
        loss="adversarial-l2",
        epsilon=1.0,
        attack_steps=1,
        width=8,
        epochs=3,
        batch_size=64,
        device="cpu",
        progress=False,
    )


@pytest.mark.parametrize("layer", ["stage3", None])
def test_the_default_arrives_at_a_robust_network_and_stays_near(robust, digits, layer):
    images = digits.test.images[:16]
    found = invert(robust, images, layer=layer, **QUIET)
    assert found.distance.median() < 0.05 and found.converged.float().mean() >= 0.9
    # Dual averaging stays near too, in far more steps; Adam on the pixels' logits, and Anderson acceleration without
    # a pull back, ended a fifth to a half further away.
    slow = invert(robust, images, layer=layer, solver="nearest", steps=1_200, **QUIET)
    assert slow.distance.median() < 0.07
    assert found.moved.mean() < 1.02 * slow.moved.mean()


def test_what_the_last_steps_tell_is_used(robust, digits):
    options = dict(steps=60, **QUIET)
    ours = invert(robust, digits.test.images[:16], **options).distance
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SOLVERS["tethered"], "reach", 0.0)  # no combinations of iterates
        alone = invert(robust, digits.test.images[:16], **options).distance
    assert ours.median() < 0.6 * alone.median()


@pytest.mark.parametrize(("part", "further"), [("pull", 1.03), ("nearness", 1.01)])
def test_without_a_part_of_the_tether_it_ends_further_from_the_seed(robust, digits, monkeypatch, part, further):
    images = digits.test.images[:16]
    tethered = invert(robust, images, **QUIET)
    if part == "pull":
        monkeypatch.setattr(SOLVERS["tethered"], "pull", 0.0)
    else:
        combined = SOLVERS["tethered"]._combined

        def by_residuals_alone(solver, *given):
            weight, solver.weight = solver.weight, torch.zeros_like(solver.weight)
            try:
                return combined(solver, *given)
            finally:
                solver.weight = weight

        monkeypatch.setattr(SOLVERS["tethered"], "_combined", by_residuals_alone)
    loose = invert(robust, images, **QUIET)
    assert loose.converged.float().mean() >= 0.9 and loose.moved.mean() > further * tethered.moved.mean()


def test_the_tether_slackens_for_an_image_that_lags_behind(images_of_colour):
    """An early layer of an untrained VGG is not reached where every image is held alike."""
    network = build_model("vgg11", 10, width=4, channels=3, seed=1)
    found = invert(network, images_of_colour, layer="stage2", **QUIET)
    assert found.distance.median() < 0.05
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SOLVERS["tethered"], "slack", 1.0)
        held = invert(network, images_of_colour, layer="stage2", **QUIET)
    assert held.distance.median() > 0.1


@pytest.fixture
def images_of_colour():
    generator = torch.Generator().manual_seed(0)
    return load_dataset("digits", image_size=32).test.images[:8] * torch.rand(8, 3, 1, 1, generator=generator)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("ball", [Ball("l2", 0.7), Ball("linf", 0.15), Ball("linf", 1e-3)], ids=str)
def test_a_ball_around_the_seed_is_never_left(solver, ball):
    matrix, images, seeds = problem()
    model = linear(matrix)
    inside = invert(model, images, layer="1", seeds=seeds, solver=solver, within=ball, steps=60, **QUIET)
    free = invert(model, images, layer="1", seeds=seeds, solver=solver, steps=60, **QUIET)
    start = seeds.clamp(0, 1)
    assert torch.equal(inside.seeds, start)
    offset = inside.images - start
    size = offset.flatten(1).norm(dim=1) if ball.norm == "l2" else offset.abs().amax(dim=(1, 2, 3))
    assert size.max() <= ball.radius + 1e-5
    assert size.min() > 0.5 * ball.radius  # it moves as far as it may
    assert inside.images.min() >= 0 and inside.images.max() <= 1
    assert inside.distance.median() > free.distance.median()


def test_nearest_in_a_ball_is_scipys_answer_too():
    matrix, images, seeds = problem(outputs=2)
    found = invert(
        linear(matrix), images, layer="1", seeds=seeds, solver="nearest", within=Ball("linf", 0.6), steps=500, **QUIET
    )
    start = seeds.clamp(0, 1)
    low, high = (start - 0.6).clamp_min(0).flatten(1).numpy(), (start + 0.6).clamp_max(1).flatten(1).numpy()
    a = matrix.double().numpy()
    for x, z, lo, hi, mine in zip(
        images.flatten(1).double().numpy(),
        start.flatten(1).double().numpy(),
        low,
        high,
        found.images.flatten(1),
        strict=True,
    ):
        answer = minimize(
            lambda v, z=z: ((v - z) @ (v - z) / 2, v - z),
            z,
            jac=True,
            method="SLSQP",
            bounds=list(zip(lo, hi, strict=True)),
            constraints={"type": "eq", "fun": lambda v, x=x: a @ (v - x), "jac": lambda v: a},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert answer.success
        assert np.abs(mine.numpy() - answer.x).max() < 2e-3
