"""X' are made once for each who needs them."""

import torch
from torch import nn

import stir
from stir.inversion.options import InversionOptions
from stir.scoring.question import Question
from stir.scoring.schedule import draw_all

IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
SHORT = dict(steps=3, tolerance=1.0, device="cpu", progress=False)


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 2)).eval()


def test_one_reference_serves_all_targets():
    models = {"a": network(0), "b": network(1)}
    questions = [Question(IMAGES, layer, layer, options=InversionOptions(**SHORT)) for layer in ("1", None)]
    for question, draws in zip(questions, draw_all(questions, models), strict=True):
        assert [(each.reference, list(each.targets)) for each in draws] == [("a", ["a", "b"]), ("b", ["a", "b"])]
        for each in draws:
            alone = stir.invert(models[each.reference], IMAGES, layer=question.given_layer, **SHORT)
            assert torch.equal(each.images, alone.images)


def test_the_worst_case_serves_one_target_alone():
    models = {name: network(seed) for seed, name in enumerate("abc")}
    (draws,) = draw_all([Question(IMAGES, worst_case=True, options=InversionOptions(**SHORT))], models)
    assert [(each.reference, *each.targets) for each in draws] == [(x, y) for x in "abc" for y in "abc" if x != y]
    for each in draws:
        alone = stir.controversial(models[each.reference], models[each.targets[0]], IMAGES, **SHORT)
        # In a process with fewer threads, perhaps.
        torch.testing.assert_close(each.images, alone.images, atol=1e-5, rtol=0)
