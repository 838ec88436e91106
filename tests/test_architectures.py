"""Published sizes, what goes in and comes out, seeds."""

import pytest
import torch

from stir.architectures import ARCHITECTURES, build_model
from stir.blocks import Normalize


# The classic CIFAR versions (resnet18/34 without the ImageNet stem; VGG with batch norm and one
# linear layer), 3 channels and 10 classes.
@pytest.mark.parametrize(
    ("architecture", "count"),
    [("resnet18", 11_173_962), ("resnet34", 21_282_122), ("vgg16", 14_728_266), ("vgg19", 20_040_522)],
)
def test_published_parameter_counts(architecture, count):
    with torch.device("meta"):
        model = build_model(architecture, 10)
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes_and_channels(architecture, channels):
    model = build_model(architecture, 7, width=2, channels=channels).eval()
    for size in (8, 16, 33, 64):
        with torch.no_grad():
            logits = model(torch.rand(2, channels, size, size))
        assert logits.shape == (2, 7) and logits.isfinite().all()
    names = [name for name, _ in model.named_children()]
    stages = ["stage1", "stage2", "stage3", "stage4"]
    middle = ["stem", *stages] if architecture.startswith("resnet") else [*stages, "stage5"]
    assert names == ["normalize", *middle, "pool", "flatten", "classifier"]


def test_normalization_is_inside():
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 2.0]
    model = build_model("resnet10", 4, width=2, mean=mean, std=std).eval()
    plain = build_model("resnet10", 4, width=2, mean=[0.0], std=[1.0]).eval()
    images = torch.rand(3, 3, 8, 8)
    normalized = torch.stack([(images[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    assert torch.allclose(Normalize(mean, std)(images), normalized, atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(model(images), plain(normalized), atol=1e-5)
    assert "normalize.mean" in model.state_dict() and "normalize.mean" not in dict(model.named_parameters())
    half = Normalize([0.5], [0.25])(torch.ones(1, 3, 2, 2))
    assert (half == 2).all()  # one number serves all channels


def test_seeds_and_the_global_stream():
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first, second, other = (build_model("vgg11", 3, width=2, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model in (first, second, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    torch.manual_seed(12)
    again = build_model("vgg11", 3, width=2, seed=5)
    assert torch.equal(weights[0], torch.cat([p.flatten() for p in again.parameters()]))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"architecture": "alexnet"}, "architecture='alexnet' is unknown; use one of resnet10, .*vgg19"),
        ({"num_classes": 0}, "num_classes=0 must be at least 1"),
        ({"width": 0}, "width=0 must be at least 1"),
        ({"channels": -1}, "channels=-1 must be at least 1"),
    ],
)
def test_errors(arguments, text):
    with pytest.raises(ValueError, match=text):
        build_model(**{"architecture": "resnet10", "num_classes": 2, **arguments})
