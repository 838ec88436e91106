"""What a GPU repeats is what the same calls would have computed one by one."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import stir
from stir.computing.replay import WARM_UP, Replayed
from stir.data import Split
from stir.data.balls import Ball
from stir.inversion.solvers import SOLVERS, Tethered, box, box_and_ball
from stir.training.accuracy import accuracy
from stir.training.loop import train
from stir.training.recipe import Recipe

CALLS = WARM_UP + 4


class Operations(TorchDispatchMode):
    """Lists, in a `with` block, each operation, the shapes and places that it reads, and its numbers."""

    def __enter__(self):
        self.list = []
        return super().__enter__()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.list.append((str(function), *(_described(value) for value in (*args, *(kwargs or {}).items()))))
        return function(*args, **kwargs or {})


def _described(value):
    return (value.shape, value.dtype) if isinstance(value, torch.Tensor) else str(value)


def _kept(solver):
    """Places in memory of all tensors that a solver keeps."""
    values = [*vars(solver).values(), *(getattr(solver, "before", None) or ())]
    return {value.data_ptr() for value in values if isinstance(value, torch.Tensor)}


@pytest.mark.parametrize("within", [None, Ball("l2", 1.0)])
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_once_settled_all_steps_of_a_solver_are_alike(solver, within):
    """The same operations on the same numbers, and what is kept stays where it is: so one of them stands for all."""
    generator = torch.Generator().manual_seed(0)
    matrix, start = torch.randn(27, 5, generator=generator), torch.rand(4, 3, 3, 3, generator=generator)
    steps = solver.settled + 6
    taking = solver(start, steps, box if within is None else box_and_ball(start, within))
    lists, places = [], []
    for _ in range(steps):
        residual = taking.images().flatten(1) @ matrix - 1
        with Operations() as operations:
            taking.update(residual)
        lists.append(operations.list)
        places.append(_kept(taking))
    settled = solver.settled
    assert all(each == lists[settled] for each in lists[settled:])
    assert all(each == places[settled] for each in places[settled:])
    assert solver is not Tethered or lists[settled - 2] != lists[settled]


def test_elsewhere_every_call_is_made():
    calls = []
    step = Replayed(lambda x: calls.append(1) or x + 1, torch.device("cpu"))
    assert [step(torch.tensor(float(n))).item() for n in range(CALLS)] == [n + 1 for n in range(CALLS)]
    assert len(calls) == CALLS


def test_a_gpu_records_once_and_computes_with_each_calls_tensors(gpu):
    calls, total = [], torch.zeros(3, device=gpu)

    def add(x):
        calls.append(1)
        total.add_(x)
        return total * 2

    step = Replayed(add, gpu)
    results = [step(torch.full((3,), float(n), device=gpu)) for n in range(CALLS)]
    assert [result[0].item() for result in results] == [n * (n + 1) for n in range(CALLS)]
    assert len(calls) == WARM_UP + 1 and not step.refused


def test_other_shapes_are_computed_plainly(gpu):
    step = Replayed(lambda x: x.sum(), gpu)
    for n in range(CALLS):
        assert step(torch.ones(2 if n % 3 == 2 else 5, device=gpu)).item() == (2 if n % 3 == 2 else 5)


def test_a_step_that_waits_is_called_plainly_and_random_numbers_still_come(gpu):
    step = Replayed(lambda x: torch.rand(2, device=gpu) * x.sum().item(), gpu)
    before = torch.cuda.current_stream()
    results = [step(torch.full((3,), float(n), device=gpu)) for n in range(CALLS)]
    assert step.refused and torch.cuda.current_stream() == before
    assert results[0].tolist() == [0, 0] and all(result.min() > 0 for result in results[1:])
    assert torch.rand(1, device=gpu) < 1 and torch.randn(3, device=gpu).isfinite().all()


def test_a_step_whose_python_code_matters_is_not_repeated(gpu):
    numbers = iter(range(100))

    def step(x):
        return x + next(numbers)

    replayed = Replayed(step, gpu, expected=lambda x: step(x))
    results = [replayed(torch.zeros(1, device=gpu)).item() for _ in range(CALLS + 3)]
    assert results[-1] > results[-2] > results[-3]


@pytest.fixture
def recorded(monkeypatch):
    """Whether each `Replayed` that is made was recorded, asked for when it ended."""
    made, init = [], Replayed.__init__

    def remember(self, *arguments, **named):
        made.append(self)
        init(self, *arguments, **named)

    monkeypatch.setattr(Replayed, "__init__", remember)
    return lambda: [each._graph is not None and not each.refused for each in made]


def plain(step, *_, **__):
    """In place of `Replayed`."""
    return step


def small_network():
    return stir.build_model("resnet10", 10, width=8, seed=0)


def images(n):
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("within", [None, Ball("l2", 1.0)])
@pytest.mark.parametrize("solver", SOLVERS)
def test_inversions_on_a_gpu_are_those_of_single_calls(gpu, monkeypatch, recorded, solver, within):
    def run():
        return stir.invert(
            small_network(), images(8), layer="stage3", solver=solver, within=within, steps=40, device=gpu,
            progress=False,
        )  # fmt: skip

    replayed, again = run(), run()
    assert recorded() and all(recorded())
    monkeypatch.setattr("stir.inversion.descent.Replayed", plain)
    for other in (again, run()):
        assert torch.equal(replayed.images, other.images) and torch.equal(replayed.distance, other.distance)


@pytest.mark.parametrize("loss", ["standard", "adversarial-linf", "trades", "mart-l2"])
def test_trainings_on_a_gpu_are_those_of_single_calls(gpu, monkeypatch, recorded, loss):
    split = Split(images(70), torch.arange(70) % 10)  # a last batch of another size
    recipe = Recipe(loss=loss, epochs=3, batch_size=16, attack_steps=2, augmentation="shift-flip")

    def run():
        model = small_network()
        curve = train(model, split, recipe, device=gpu, progress=False)
        attacked = accuracy(model, split, attack=stir.PGD("l2", 0.1, 2), device=gpu, batch_size=10)
        return [entry["loss"] for entry in curve], attacked, [tensor.cpu() for tensor in model.state_dict().values()]

    replayed, again = run(), run()
    assert recorded() and all(recorded())
    for module in ("loop", "accuracy"):
        monkeypatch.setattr(f"stir.training.{module}.Replayed", plain)
    for curve, attacked, weights in (again, run()):
        assert (curve, attacked) == replayed[:2]
        assert all(torch.equal(one, other) for one, other in zip(weights, replayed[2], strict=True))


def test_a_network_that_draws_in_python_is_never_recorded_for_good(gpu):
    class Flickering(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.passes = nn.Linear(12, 4), 0

        def forward(self, x):
            self.passes += 1
            return self.body(x.flatten(1)) * (1 + self.passes % 2)

    model = Flickering()
    stir.invert(nn.Sequential(model), torch.rand(3, 3, 2, 2), layer="0", steps=40, device=gpu, progress=False)
    assert model.passes > 40
