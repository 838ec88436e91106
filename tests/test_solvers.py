"""The descents against the ends that theory gives them."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from stir import Ball, invert
from stir.architectures import build_model
from stir.solvers import SOLVERS

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


def test_what_the_last_steps_tell_is_used():
    """On a linear problem Anderson's method is GMRES, but for its damping and caution: far ahead of steps along the gradient alone."""
    matrix, images, seeds = problem(100, noise=0.05)
    options = dict(layer="1", seeds=seeds, steps=25, precision="float32", **QUIET)
    with pytest.MonkeyPatch.context() as patch:
        ours = invert(linear(matrix), images, **options).distance
        patch.setattr(SOLVERS["tethered"], "trust", 0.0)
        alone = invert(linear(matrix), images, **options).distance
    assert ours.median() < 0.7 * alone.median()


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


def nearest_in_box(matrix, images, seeds):
    """SciPy's answer to: the x' in [0, 1] nearest to the seed with Ax' = Ax."""
    a = matrix.double().numpy()
    found = []
    for x, z in zip(images.flatten(1).double().numpy(), seeds.flatten(1).double().numpy(), strict=True):
        answer = minimize(
            lambda v, z=z: ((v - z) @ (v - z) / 2, v - z),
            x,
            jac=True,
            method="SLSQP",
            bounds=[(0, 1)] * len(x),
            constraints={"type": "eq", "fun": lambda v, x=x: a @ (v - x), "jac": lambda v: a},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert answer.success
        found.append(answer.x)
    return torch.from_numpy(np.stack(found)).float().reshape(images.shape)


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
    found = invert(linear(matrix), images, layer="1", seeds=seeds, solver="nearest", within=Ball("linf", 0.6), steps=500, **QUIET)
    start = seeds.clamp(0, 1)
    low, high = (start - 0.6).clamp_min(0).flatten(1).numpy(), (start + 0.6).clamp_max(1).flatten(1).numpy()
    a = matrix.double().numpy()
    for x, z, lo, hi, mine in zip(images.flatten(1).double().numpy(), start.flatten(1).double().numpy(), low, high, found.images.flatten(1), strict=True):
        answer = minimize(lambda v, z=z: ((v - z) @ (v - z) / 2, v - z), z, jac=True, method="SLSQP", bounds=list(zip(lo, hi, strict=True)),
                          constraints={"type": "eq", "fun": lambda v, x=x: a @ (v - x), "jac": lambda v: a}, options={"ftol": 1e-14, "maxiter": 500})  # fmt: skip
        assert answer.success
        assert np.abs(mine.numpy() - answer.x).max() < 2e-3
