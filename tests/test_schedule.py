"""X' are made once for each who needs them."""

import torch
from torch import nn

import stir
from stir.inversion.options import InversionOptions
from stir.scoring.question import Question
from stir.scoring.schedule import draw_all, in_groups

IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
SHORT = dict(steps=3, tolerance=1.0, device="cpu", progress=False)


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 2)).eval()


def test_one_reference_serves_all_targets():
    models = {"a": network(0), "b": network(1)}
    questions = [Question(IMAGES, layer, layer, options=InversionOptions(**SHORT)) for layer in ("1", None)]
    tasks = [(number, name, ("a", "b")) for number in (0, 1) for name in models]
    for (number, name, targets), draws in zip(tasks, draw_all(questions, tasks, models), strict=True):
        assert (draws.reference, draws.targets) == (name, targets)
        alone = stir.invert(models[name], IMAGES, layer=questions[number].given_layer, **SHORT)
        assert torch.equal(draws.images, alone.images)


def test_the_worst_case_serves_one_target_alone():
    models = {name: network(seed) for seed, name in enumerate("abc")}
    tasks = [(0, name, (other,)) for name in models for other in models if name != other]
    for each in draw_all([Question(IMAGES, worst_case=True, options=InversionOptions(**SHORT))], tasks, models):
        alone = stir.controversial(models[each.reference], models[each.targets[0]], IMAGES, **SHORT)
        # In a process with fewer threads, perhaps.
        torch.testing.assert_close(each.images, alone.images, atol=1e-5, rtol=0)


def test_groups_are_small_and_hold_all_tasks_in_order():
    tasks = [(0, str(number), ("a",)) for number in range(11)]
    groups = in_groups(tasks, "cpu")
    assert [task for group in groups for task in group] == tasks
    assert len({len(group) for group in groups[:-1]}) == 1 and 4 <= len(groups[0]) < 11
