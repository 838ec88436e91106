"""Options of an inversion: defaults written once, all checked together."""

import pytest
import torch
from torch import nn

import stir
from stir.data.balls import Ball
from stir.inversion.options import InversionOptions

MODEL = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 2)).eval()
IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def test_options_and_keywords_mean_the_same():
    options = InversionOptions(steps=3, solver="paper", seed=1, device="cpu", progress=False)
    by_options = stir.invert(MODEL, IMAGES, options=options)
    by_keywords = stir.invert(MODEL, IMAGES, steps=3, solver="paper", seed=1, device="cpu", progress=False)
    assert torch.equal(by_options.images, by_keywords.images)


def test_a_keyword_changes_an_option():
    options = InversionOptions(steps=3, device="cpu", progress=False)
    changed = stir.invert(MODEL, IMAGES, options=options, steps=5)
    assert changed.steps == 5 and options.steps == 3
    assert torch.equal(changed.images, stir.invert(MODEL, IMAGES, steps=5, device="cpu", progress=False).images)


@pytest.mark.parametrize(
    "call",
    [
        lambda **options: stir.invert(MODEL, IMAGES, **options),
        lambda **options: stir.controversial(MODEL, MODEL, IMAGES, **options),
        lambda **options: stir.score(MODEL, given=MODEL, images=IMAGES, **options),
        lambda **options: stir.pairwise({"a": MODEL}, IMAGES, **options),
    ],
    ids=["invert", "controversial", "score", "pairwise"],
)
def test_everything_that_inverts_checks_them_before_any_work(call, monkeypatch):
    monkeypatch.setattr("stir.inversion.descent._run", lambda *_: pytest.fail("work was done"))
    with pytest.raises(ValueError, match="steps=0 must be a whole number, at least 1"):
        call(steps=0)
    with pytest.raises(TypeError, match="stepz is no option of an inversion; did you mean 'steps'"):
        call(stepz=3)
    with pytest.raises(ValueError, match="steps=0 must be a whole number, at least 1"):
        call(options=InversionOptions(progress=False), steps=0)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"seed": 1.5}, "seed=1.5 must be a whole number"),
        ({"seed": None}, "seed=None must be a whole number"),
        ({"within": 0.5}, "within=0.5 must be a ball, such as stir.Ball"),
        ({"tolerance": "a"}, "tolerance='a' must be above 0"),
        ({"solver": ["paper"]}, "solver=.* is unknown; use one of tethered"),
        ({"seeds": ["white"]}, "seeds=.* is unknown; use a tensor or one of gaussian"),
    ],
)
def test_wrong_options(unchecked, option, message):
    with pytest.raises(ValueError, match=message):
        InversionOptions(**option)


def test_options_are_frozen_and_hold_no_positional_argument():
    with pytest.raises(AttributeError):
        InversionOptions().steps = 3
    with pytest.raises(TypeError):
        InversionOptions("mean")


def test_seed_images_within_a_ball_are_images():
    inside = InversionOptions(within=Ball("l2", 1.0)).seed_images(IMAGES)
    free = InversionOptions().seed_images(IMAGES)
    assert free.min() < 0 and free.max() > 1
    assert torch.equal(inside, free.clamp(0, 1))
