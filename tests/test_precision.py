"""Devices that are fast at bfloat16, and float32 that is float32."""

from pathlib import Path

import pytest
import torch
from torch import nn

import stir
from stir.computing.precision import exact_float32, fast_bf16
from stir.data import Split
from stir.training.accuracy import accuracy
from stir.training.attacks import PGD
from stir.training.loop import train
from stir.training.recipe import Recipe


def test_fast_bf16_is_what_the_processor_offers():
    flags = Path("/proc/cpuinfo")
    if not flags.exists():
        pytest.skip("needs Linux, which says what the processor offers")
    text = flags.read_text(encoding="utf-8")
    assert fast_bf16(torch.device("cpu")) == ("avx512_bf16" in text or "amx_tile" in text)
    assert not fast_bf16(torch.device("mps"))


BACKENDS = torch.backends
CUDNN = BACKENDS.cudnn
# Since PyTorch 2.9; before, there are the older settings alone.
PLACES = [BACKENDS.cuda.matmul, CUDNN.conv, CUDNN.rnn, BACKENDS.mkldnn.matmul] if hasattr(CUDNN, "conv") else []
SETTINGS = {
    "nothing": lambda: None,
    "fast products": lambda: torch.set_float32_matmul_precision("medium"),
    "no TF32 in convolutions": lambda: setattr(CUDNN, "allow_tf32", False),
    "TF32 in products": lambda: setattr(BACKENDS.cuda.matmul, "allow_tf32", True),
}
if PLACES:
    SETTINGS |= {
        "TF32 everywhere": lambda: setattr(BACKENDS, "fp32_precision", "tf32"),
        "convolutions in float32": lambda: setattr(CUDNN.conv, "fp32_precision", "ieee"),
    }


def told():
    """All that PyTorch was told about float32: by its older settings, and by its newer ones."""
    values = []
    for read in (torch.get_float32_matmul_precision, lambda: CUDNN.allow_tf32):
        try:
            values.append(read())
        except RuntimeError:  # the newer ones say what the older ones cannot
            values.append("mixed")
    return [*values, *(place.fp32_precision for place in PLACES)]


@pytest.fixture
def settings():
    """Functions that tell PyTorch something, which is taken back after the test."""
    products, convolutions, *newer = before = told()
    yield SETTINGS
    if PLACES:
        BACKENDS.fp32_precision = "none"
    torch.set_float32_matmul_precision(products)
    CUDNN.allow_tf32 = convolutions
    for place, precision in zip(PLACES, newer, strict=True):
        place.fp32_precision = precision
    assert told() == before


@pytest.mark.parametrize("setting", SETTINGS)
def test_float32_is_float32_and_what_was_told_holds_again(settings, setting):
    settings[setting]()
    before = told()
    inside = []

    @exact_float32()
    def interrupted():
        inside.extend(told())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert inside == ["highest", False] + ["ieee"] * len(PLACES)
    assert told() == before
    with exact_float32(False):
        assert told() == before


def test_where_float32_is_computed_in_float32(settings, digits):
    """Which products a network's passes are told to compute: PyTorch may round those of float32 if a user says so."""
    settings["fast products"]()
    seen = set()

    class Told(nn.Linear):
        def forward(self, x):
            seen.add((torch.get_float32_matmul_precision(), CUDNN.allow_tf32))
            return super().forward(x)

    exact, users = {("highest", False)}, ("medium", True)
    model, images, quiet = nn.Sequential(nn.Flatten(), Told(256, 10)), digits.test.images[:6], {"device": "cpu"}
    split = Split(digits.train.images[:20], digits.train.labels[:20])
    quiet_too = quiet | {"progress": False}
    recipe = Recipe(loss="adversarial-l2", epochs=1)
    calls = {
        "float32": lambda: stir.invert(model, images, layer="1", precision="float32", steps=4, **quiet_too),
        "nearest": lambda: stir.invert(model, images, layer="1", solver="nearest", steps=2, **quiet_too),
        "paper": lambda: stir.invert(model, images, layer="1", solver="paper", steps=2, **quiet_too),
        "worst": lambda: stir.controversial(model, model, images, layer="1", precision="float32", steps=2, **quiet_too),
        "training": lambda: train(model, split, recipe, precision="float32", **quiet_too),
        "accuracy": lambda: accuracy(model, split, **quiet),
    }
    for name, call in calls.items():
        seen.clear()
        call()
        assert seen - {users} == exact, name
        # What tries whether the network takes the images may compute as it likes.
        assert name in ("accuracy", "training") or seen == exact, name
    seen.clear()
    stir.invert(model, images, layer="1", steps=4, **quiet_too)
    assert seen == {users} | exact  # what chooses the layout compares in float32
    seen.clear()
    accuracy(model, split, attack=PGD("l2", 1.0, 1), **quiet)
    assert seen == {users} | exact  # its success is judged in float32


def test_features_do_not_depend_on_what_pytorch_was_told(settings, digits):
    """On a CPU that is fast at bfloat16, products of float32 are rounded to it if a user says so."""
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(256, 64)), digits.test.images[:20]
    expected = stir.features(model, images, layer="1", device="cpu")
    settings["fast products"]()
    assert torch.equal(stir.features(model, images, layer="1", device="cpu"), expected)
