"""The descent keeps the best iterate of each image, by the last objective."""

import pytest
import torch
from helpers.waits import DEVICE, Waits
from torch import nn

from stir.data.balls import Ball
from stir.inversion.descent import descend
from stir.inversion.options import InversionOptions
from stir.inversion.solvers import SOLVERS, AdamLogit, Solver
from stir.networks.frozen import Frozen


class Brighter(Solver):
    """Every step adds 0.1 to each pixel, whatever the residual is."""

    name, default_steps, coarse = "brighter", 4, 0.5

    def __init__(self, start, steps, project):
        self.pixels = project(start)

    def images(self):
        return self.pixels

    def update(self, residual):
        self.pixels = self.pixels + 0.1


def run(aims, *, half=False, coarse_aim=None, nan_above=2.0, **options):
    """Descend from black images of one pixel to the pixel values `aims`, in batches of two."""
    images = torch.tensor(aims)[:, None, None, None]
    calls = []

    def objective(batch, coarse):
        def evaluate(candidates):
            calls.append(coarse)
            aim = coarse_aim if coarse and coarse_aim is not None else batch
            residual = (candidates - aim).flatten(1)
            residual = torch.where(candidates.flatten(1) > nan_above, torch.nan, residual)
            return residual, residual.abs()[:, 0]

        return evaluate

    chosen, rank, _ = descend(
        objective,
        Brighter,
        images,
        torch.zeros_like(images),
        InversionOptions(progress=False, **options),
        half=half,
        batch_size=2,
        device=torch.device("cpu"),
        where="layer='1'",
    )
    return chosen.flatten(), rank, calls


def test_each_image_gets_its_own_best_iterate_the_last_included():
    chosen, rank, calls = run([0.0, 0.2, 0.4, 0.9])
    torch.testing.assert_close(chosen, torch.tensor([0.0, 0.2, 0.4, 0.4]))
    torch.testing.assert_close(rank, torch.tensor([0.0, 0.0, 0.0, 0.5]))
    assert calls == [False] * 10  # 2 batches of 4 steps, each with a look at the last iterate


def test_coarse_steps_come_first_and_their_best_is_ranked_anew():
    chosen, _, calls = run([0.05, 0.3], half=True, coarse_aim=0.0)
    assert calls == [True] * 2 + [False] * 4  # half of 4 steps; the best of these, 2 steps, the last iterate
    # By the coarse objective the seed image was the best for both; by the exact one it is so for the first alone.
    torch.testing.assert_close(chosen, torch.tensor([0.0, 0.3]))


def test_steps_given_win_over_the_solvers_own():
    _, _, calls = run([0.5, 0.5], steps=2)
    assert len(calls) == 3


@pytest.mark.parametrize(("half", "step"), [(False, 3), (True, 1)])
def test_nan_stops_with_step_and_layer(half, step):
    """A residual that is NaN beyond 0.15: reached at the third step; coarsely it is NaN from the start."""

    def objective(batch, coarse):
        def evaluate(candidates):
            residual = (candidates - batch).flatten(1)
            residual = torch.where(candidates.flatten(1) > (-1 if coarse else 0.15), torch.nan, residual)
            return residual, residual.abs()[:, 0]

        return evaluate

    images = torch.zeros(2, 1, 1, 1)
    with pytest.raises(FloatingPointError, match=f"layer='1': the representation became NaN at step {step}; use prec"):
        descend(
            objective, Brighter, images, images, InversionOptions(progress=False), half=half, batch_size=2,
            device=torch.device("cpu"), where="layer='1'",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("solver", "within"), [*((each, None) for each in SOLVERS.values()), (AdamLogit, Ball("l2", 2.0))]
)
def test_no_step_waits_for_the_device(solver, within):
    """A GPU goes on with the next steps while the processor prepares those after them."""
    waits, passes = [], []
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()).to(DEVICE)
    model.register_forward_hook(lambda *_: passes.append(1))
    with Frozen(model, DEVICE) as frozen:

        def objective(batch, half):
            def evaluate(candidates):
                residual = frozen(candidates) - 1
                return residual, residual.detach().norm(dim=1)

            return evaluate

        images = torch.zeros(3, 1, 8, 8)
        for steps in (2, 4):
            options = InversionOptions(steps=steps, within=within, progress=False)
            with Waits() as counted:
                descend(
                    objective, solver, images, images, options, half=False, batch_size=3, device=DEVICE, where="",
                )  # fmt: skip
            waits.append(counted.count)
    assert waits[0] == waits[1] and len(passes) == 3 + 5


def test_nan_at_the_last_iterate_alone():
    with pytest.raises(FloatingPointError, match="became NaN at step 4"):
        run([0.4, 0.4], nan_above=0.35)
