"""CIFAR-style networks at any width, with the normalization of their input inside.

`width` is the number of channels after the first convolution; the published CIFAR networks have
64. All take images of any size from 8x8 pixels, in [0, 1].
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """(x - mean) / std for each channel: puts the normalization of the input inside a network.

    `nn.Sequential(Normalize(mean, std), network)` makes a network that was trained on normalized
    images take images in [0, 1].
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).reshape(-1, 1, 1))
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32).reshape(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


class ConvNorm(nn.Sequential):
    """A convolution and its batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = False) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias),
            nn.BatchNorm2d(outputs),
        )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a skip connection around them (He et al. 2016, Fig. 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = ConvNorm(inputs, outputs, stride=stride)
        self.second = ConvNorm(outputs, outputs)
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else ConvNorm(inputs, outputs, kernel=1, stride=stride)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.second(self.act(self.first(x))) + self.skip(x))


def _resnet(width: int, channels: int, *, blocks: Sequence[int]) -> tuple[OrderedDict, int]:
    stages = OrderedDict(stem=nn.Sequential(ConvNorm(channels, width), nn.ReLU()))
    inputs = width
    for number, count in enumerate(blocks, start=1):
        outputs = width * 2 ** (number - 1)
        strides = [1 if number == 1 else 2] + [1] * (count - 1)
        layers = []
        for stride in strides:
            layers.append(BasicBlock(inputs, outputs, stride))
            inputs = outputs
        stages[f"stage{number}"] = nn.Sequential(*layers)
    return stages, inputs


def _vgg(width: int, channels: int, *, convolutions: Sequence[int]) -> tuple[OrderedDict, int]:
    stages = OrderedDict()
    inputs = channels
    for number, count in enumerate(convolutions, start=1):
        outputs = width * min(2 ** (number - 1), 8)
        layers: list[nn.Module] = []
        for _ in range(count):
            layers += [ConvNorm(inputs, outputs, bias=True), nn.ReLU()]
            inputs = outputs
        # ceil_mode leaves a 1x1 map as it is, so that small images survive all five halvings
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
        stages[f"stage{number}"] = nn.Sequential(*layers)
    return stages, inputs


ARCHITECTURES = {
    "resnet10": partial(_resnet, blocks=(1, 1, 1, 1)),
    "resnet18": partial(_resnet, blocks=(2, 2, 2, 2)),
    "resnet34": partial(_resnet, blocks=(3, 4, 6, 3)),
    "vgg11": partial(_vgg, convolutions=(1, 1, 2, 2, 2)),
    "vgg16": partial(_vgg, convolutions=(2, 2, 3, 3, 3)),
    "vgg19": partial(_vgg, convolutions=(2, 2, 4, 4, 4)),
}


def build_model(
    architecture: str,
    num_classes: int,
    *,
    width: int = 64,
    channels: int = 3,
    mean: Sequence[float] = (0.5,),
    std: Sequence[float] = (0.25,),
    seed: int = 0,
) -> nn.Sequential:
    """An untrained network that takes images [N, channels, H, W] in [0, 1] to logits [N, num_classes].

    Its children are `normalize`, then `stem` (ResNets only) and `stage1`, `stage2`, ..., then
    `pool`, `flatten` and `classifier`.

    Args:
        architecture: a name from `ARCHITECTURES`: ResNets of basic blocks (He et al. 2016) and
            VGGs with batch norm (Simonyan & Zisserman 2015), in their CIFAR form.
        num_classes: number of logits.
        width: channels of the first stage; 64 gives the published networks.
        channels: channels of the images.
        mean, std: of the images' channels, for the normalization; one number serves all channels.
        seed: of the initial weights.

    Raises:
        ValueError: unknown architecture, or a size below 1.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture={architecture!r} is unknown; use one of {', '.join(ARCHITECTURES)}")
    for name, value in {"num_classes": num_classes, "width": width, "channels": channels}.items():
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    # The caller's own random stream goes on as if nothing had been drawn.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stages, features = ARCHITECTURES[architecture](width, channels)
        model = nn.Sequential(
            OrderedDict(
                normalize=Normalize(mean, std),
                **stages,
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                classifier=nn.Linear(features, num_classes),
            )
        )
    return model
