"""Folding leaves the outputs of networks as they are."""

import pytest
import torch
import torchvision
from helpers.networks import IMAGES, lively
from torch import nn
from torch.func import functional_call
from torch.nn.utils import prune

from stir.networks.architectures import build_model
from stir.networks.folding import bypass, folded_tensors, record_pairs


def tensors(model):
    return {name: tensor.detach() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}


def fold(model):
    """The output of the folded network, and the pairs."""
    with record_pairs(model) as pairs, torch.no_grad():
        model(IMAGES)
    with bypass(list(pairs.values()), lambda: True), torch.no_grad():
        return functional_call(model, folded_tensors(model, tensors(model), pairs), (IMAGES,)), pairs


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (lambda: build_model("resnet18", 5, width=4), 20),
        (lambda: build_model("vgg11", 5, width=4), 8),
        (lambda: torchvision.models.mobilenet_v3_small(num_classes=5), 34),
        # torchvision's annotation demands four blocks, which would halve such small images to nothing.
        (lambda: torchvision.models.DenseNet(8, (2, 2), 16, num_classes=5), 5),  # pyright: ignore[reportArgumentType]
    ],
    ids=["resnet18", "vgg11", "mobilenet", "densenet"],
)
def test_folding_changes_nothing_but_the_number_of_norms(model, count):
    model = lively(model())
    with torch.no_grad():
        plain = model(IMAGES)
    output, pairs = fold(model)
    assert len(pairs) == count
    assert torch.allclose(output, plain, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_a_convolution_with_and_without_bias(bias, affine):
    model = lively(nn.Sequential(nn.Conv2d(3, 6, 3, bias=bias), nn.BatchNorm2d(6, affine=affine)))
    output, _ = fold(model)
    with torch.no_grad():
        assert torch.allclose(output, model(IMAGES), atol=1e-5)


class Twice(nn.Module):
    """A convolution that runs twice, before another norm each time."""

    def __init__(self):
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.second(self.conv(self.first(self.conv(x))))


def tied():
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3))
    model[2].weight = model[0].weight
    return model


def tied_norms():
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))
    model[3].weight = model[1].weight
    return model


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
        Twice(),
        tied(),
        nn.Sequential(prune.random_unstructured(nn.Conv2d(3, 4, 3), "weight", 0.5), nn.BatchNorm2d(4)),
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)),
        nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)),
        tied_norms(),
    ],
    ids=[
        "before",
        "not next",
        "batch statistics",
        "twice",
        "tied",
        "pruned",
        "weight norm",
        "spectral norm",
        "tied norms",
    ],
)
def test_what_cannot_be_folded_is_not(model):
    _, pairs = fold(lively(model))
    assert not pairs


def test_nothing_is_left_behind():
    model = lively(build_model("resnet10", 5, width=4))
    norm = model.get_submodule("stem.0.1")
    norm.forward = norm.forward  # a replacement that the user made stays
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    with (
        pytest.raises(KeyboardInterrupt),
        bypass([m for m in model.modules() if isinstance(m, nn.BatchNorm2d)], lambda: True),
    ):
        raise KeyboardInterrupt
    for name, module in model.named_modules():
        assert vars(module) == before[name]
