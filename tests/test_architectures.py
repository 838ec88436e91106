"""Architectures: published sizes, inputs and outputs, seeds."""

from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

import stir
from stir.networks.architectures import ARCHITECTURES, build_model, pretrained_model
from stir.networks.blocks import Normalize, Resize


# The classic CIFAR versions (resnet18/34 without the ImageNet stem; VGG with batch norm and one
# linear layer), 3 channels and 10 classes.
@pytest.mark.parametrize(
    ("architecture", "count"),
    [
        ("resnet18", 11_173_962), ("resnet34", 21_282_122), ("resnet50", 23_520_842), ("vgg16", 14_728_266),
        ("vgg19", 20_040_522), ("densenet121", 6_956_298), ("wide-resnet28-10", 36_479_194),
    ],
)  # fmt: skip
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
    counts = {"vgg": 5, "wide": 3, "vit": 3}
    stages = [f"stage{number}" for number in range(1, counts.get(architecture[:4].rstrip("1"), 4) + 1)]
    stem = [] if architecture.startswith("vgg") else ["stem"]
    assert names == ["normalize", *stem, *stages, "pool", "flatten", "classifier"]


@pytest.mark.parametrize("architecture", ["resnet10", "densenet121", "vit", "torchvision:resnet18"])
def test_weights_do_not_depend_on_the_default_precision(architecture, in_float64):
    images = torch.rand(2, 3, 16, 16)
    plain = build_model(architecture, 3, width=2).eval()
    with in_float64(), torch.no_grad():
        other = build_model(architecture, 3, width=2).eval()
        assert torch.get_default_dtype() == torch.float64
        assert torch.equal(other(images), plain(images))
    for name, tensor in plain.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)


@pytest.mark.parametrize("architecture", ["resnet18", "resnet50"])
def test_without_skip_connections_only_they_are_missing(architecture):
    with torch.device("meta"):
        whole, bare = build_model(architecture, 10, width=8), build_model(f"{architecture}-noskip", 10, width=8)
    names = {name for name, _ in whole.named_parameters()}
    assert {name for name in names if ".skip." not in name} == {name for name, _ in bare.named_parameters()}


def test_skip_connections_carry_what_the_body_loses():
    for architecture, passes in {"resnet10": True, "resnet10-noskip": False}.items():
        block = build_model(architecture, 10, width=8).eval().get_submodule("stage1.0")
        torch.nn.init.zeros_(block.get_parameter("body.2.1.weight"))
        x = torch.rand(2, 8, 4, 4)
        assert torch.equal(block(x), x if passes else torch.zeros_like(x))


def test_a_vision_transformer_knows_where_a_patch_lies():
    model = build_model("vit", 10, width=8).eval()
    images = torch.rand(1, 3, 16, 16)
    moved = images.roll(4, dims=3)  # the same patches, elsewhere
    with torch.no_grad():
        assert not torch.allclose(model(images), model(moved), atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_torchvision(channels):
    model = build_model("torchvision:resnet18", 7, channels=channels, mean=[0.4], std=[0.2]).eval()
    reference = torchvision.models.resnet18(num_classes=7).eval()
    reference.load_state_dict(model.get_submodule("network").state_dict())
    images = torch.rand(2, channels, 32, 32)
    with torch.no_grad():
        expected = reference((images.expand(-1, 3, -1, -1) - 0.4) / 0.2)
        assert torch.allclose(model(images), expected, atol=1e-5)


def test_pretrained(monkeypatch, tmp_path):
    weights = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
    published = torchvision.models.squeezenet1_1()
    calls = []

    def download(url, **options):
        calls.append((url, options["check_hash"], options["weights_only"]))
        return published.state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    model = pretrained_model("squeezenet1_1")
    assert calls == [(weights.url, True, True)] and not model.training
    images = torch.rand(2, 3, 64, 64)
    transforms = weights.transforms()
    mean, std = (torch.tensor(values)[:, None, None] for values in (transforms.mean, transforms.std))
    with torch.no_grad():
        assert torch.allclose(model(images), published.eval()((images - mean) / std), atol=1e-4)

    def refuse(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(
        ConnectionError, match="squeezenet1_1.*could not be downloaded .*no network.*; put that file into .*checkpoints"
    ):
        pretrained_model("squeezenet1_1")
    with pytest.raises(ValueError, match="weights='BEST' is unknown for 'squeezenet1_1'; use one of IMAGENET1K_V1"):
        pretrained_model("squeezenet1_1", "BEST")


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
        (
            {"architecture": "torchvision:resnet19"},
            "'torchvision:resnet19' is unknown; did you mean 'torchvision:resnet1",
        ),
        ({"architecture": "resnet81"}, "architecture='resnet81' is unknown; did you mean 'resnet18'"),
        ({"architecture": "torchvision:mine"}, "unknown; use one of .*torchvision:resnet18"),
        (
            {"architecture": "torchvision:resnet18", "channels": 2},
            "channels=2: torchvision's networks take images of 1 or 3",
        ),
        ({"num_classes": 0}, "num_classes=0 must be at least 1"),
        ({"width": 0}, "width=0 must be at least 1"),
        ({"channels": -1}, "channels=-1 must be at least 1"),
    ],
)
def test_errors(arguments, text):
    with pytest.raises(ValueError, match=text):
        build_model(**{"architecture": "resnet10", "num_classes": 2, **arguments})


@pytest.mark.parametrize("size", [24, (20, 28), 6])
def test_resize_in_front_of_a_network(size):
    """As Pillow resizes, which antialiases too; the features are those of resized images, at any layer."""
    images = torch.rand(3, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    height, width = (size, size) if isinstance(size, int) else size
    resized = Resize(size)(images)
    pillow = np.stack(
        [
            np.asarray(Image.fromarray(channel.numpy()).resize((width, height), Image.Resampling.BILINEAR))
            for channel in images.flatten(0, 1)
        ]
    )
    assert resized.shape == (3, 3, height, width)
    assert np.allclose(resized.flatten(0, 1).numpy(), pillow, atol=1e-5)
    body = stir.build_model("resnet10", 4, width=4)
    adapted = nn.Sequential(Resize(size), body).eval()
    assert torch.allclose(stir.features(adapted, images), stir.features(body, resized.clamp(0, 1)), atol=1e-5)
    inverted = stir.invert(adapted, images, steps=20, device="cpu", progress=False)
    assert inverted.images.shape == images.shape and (inverted.distance < 0.5).all()


def test_resize_leaves_images_of_its_size_alone():
    images = torch.rand(2, 1, 8, 8)
    assert Resize(8)(images) is images and Resize((8, 8))(images.bfloat16()).dtype == torch.bfloat16
    with pytest.raises(ValueError, match=r"size=\(8, 0\) must be at least 1"):
        Resize((8, 0))
