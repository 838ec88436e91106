"""CIFAR-style networks at any width, and torchvision's, with the normalization of their input inside.

`width` is the number of channels after the first convolution of a published ResNet, 64; the other
kinds are scaled in the same proportion. All but torchvision's take images of any size from 8x8
pixels, in [0, 1]. torchvision is imported where it is used: that takes as long as importing PyTorch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from stir.networks.blocks import (
    Attention,
    ChannelNorm,
    ConvNorm,
    Normalize,
    Patches,
    WideBlock,
    basic_block,
    bottleneck,
)

Stages = tuple["OrderedDict[str, nn.Module]", int]  # by name, and the number of channels they end with
TORCHVISION = "torchvision:"


def _resnet(
    width: int, channels: int, *, counts: Sequence[int], block: Callable = basic_block, skip: bool = True
) -> Stages:
    stages = OrderedDict(stem=nn.Sequential(ConvNorm(channels, width), nn.ReLU()))
    outputs = width
    for number, count in enumerate(counts, start=1):
        layers = []
        for place in range(count):
            stride = 2 if place == 0 and number > 1 else 1
            layer, outputs = block(outputs, width * 2 ** (number - 1), stride, skip)
            layers.append(layer)
        stages[f"stage{number}"] = nn.Sequential(*layers)
    return stages, outputs


def _wide_resnet(width: int, channels: int, *, depth: int, factor: int) -> Stages:
    first = max(width // 4, 1)  # the published ones begin with 16
    stages = OrderedDict(stem=nn.Conv2d(channels, first, 3, padding=1, bias=False))
    inputs = first
    for number in (1, 2, 3):
        outputs = factor * first * 2 ** (number - 1)
        strides = [1 if number == 1 else 2] + [1] * ((depth - 4) // 6 - 1)
        layers = []
        for stride in strides:
            layers.append(WideBlock(inputs, outputs, stride))
            inputs = outputs
        stages[f"stage{number}"] = nn.Sequential(*layers)
    stages["stage3"].extend([nn.BatchNorm2d(inputs), nn.ReLU()])
    return stages, inputs


def _vgg(width: int, channels: int, *, convolutions: Sequence[int]) -> Stages:
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


def _densenet(width: int, channels: int, *, counts: Sequence[int]) -> Stages:
    from torchvision.models.densenet import DenseNet

    growth = max(width // 2, 1)
    whole = DenseNet(growth, tuple(counts), 2 * growth, num_classes=1)
    parts = dict(whole.features.named_children())
    stages = OrderedDict(stem=nn.Conv2d(channels, 2 * growth, 3, padding=1, bias=False))
    for number in range(1, len(counts) + 1):
        layers = [parts[f"denseblock{number}"]]
        if number < len(counts):  # as in the VGGs, small images survive all halvings
            layers += list(parts[f"transition{number}"].children())[:-1] + [nn.AvgPool2d(2, ceil_mode=True)]
        stages[f"stage{number}"] = nn.Sequential(*layers)
    stages[f"stage{len(counts)}"].extend([parts["norm5"], nn.ReLU()])
    return stages, whole.classifier.in_features


def _vit(width: int, channels: int, *, counts: Sequence[int], patch: int) -> Stages:
    dim = 4 * width
    stages = OrderedDict(stem=Patches(channels, dim, patch))
    for number, count in enumerate(counts, start=1):
        stages[f"stage{number}"] = nn.Sequential(*(Attention(dim, heads=4) for _ in range(count)))
    stages[f"stage{len(counts)}"].append(ChannelNorm(dim))
    return stages, dim


_BASIC = {"resnet10": (1, 1, 1, 1), "resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
_RESNETS = {name: partial(_resnet, counts=counts) for name, counts in _BASIC.items()}
_RESNETS["resnet50"] = partial(_resnet, counts=(3, 4, 6, 3), block=bottleneck)

ARCHITECTURES = {
    **_RESNETS,
    **{f"{name}-noskip": partial(made, skip=False) for name, made in _RESNETS.items()},
    "wide-resnet16-4": partial(_wide_resnet, depth=16, factor=4),
    "wide-resnet28-10": partial(_wide_resnet, depth=28, factor=10),
    "vgg11": partial(_vgg, convolutions=(1, 1, 2, 2, 2)),
    "vgg13": partial(_vgg, convolutions=(2, 2, 2, 2, 2)),
    "vgg16": partial(_vgg, convolutions=(2, 2, 3, 3, 3)),
    "vgg19": partial(_vgg, convolutions=(2, 2, 4, 4, 4)),
    "densenet121": partial(_densenet, counts=(6, 12, 24, 16)),
    "vit": partial(_vit, counts=(2, 2, 2), patch=4),
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

    Its children are `normalize`, then `stem` (but in VGGs) and `stage1`, `stage2`, ..., then
    `pool`, `flatten` and `classifier`; torchvision's networks are `normalize` and `network`.

    Args:
        architecture: a name from `ARCHITECTURES`: ResNets (He et al. 2016), the same without skip
            connections, wide ResNets (Zagoruyko and Komodakis 2016), VGGs with batch norm
            (Simonyan and Zisserman 2015) and DenseNet121 (Huang et al. 2017), in their CIFAR form,
            and a small vision transformer (Dosovitskiy et al. 2021; mean of tokens, fixed
            positions); or "torchvision:NAME", such as "torchvision:convnext_tiny".
        num_classes: number of logits.
        width: channels of a ResNet's first stage; 64 gives the published networks. Of no effect on torchvision's.
        channels: channels of the images; 1 or 3 for torchvision's.
        mean, std: of the images' channels, for the normalization; one number serves all channels.
        seed: of the initial weights.

    Raises:
        ValueError: unknown architecture, or a size out of range.
    """
    for name, value in {"num_classes": num_classes, "width": width, "channels": channels}.items():
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    check_architecture(architecture)
    # The caller's own random stream goes on as if nothing had been drawn.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if architecture.startswith(TORCHVISION):
            if channels not in (1, 3):
                raise ValueError(f"channels={channels}: torchvision's networks take images of 1 or 3 channels")
            spread = (list(mean) * 3)[:3], (list(std) * 3)[:3]
            return nn.Sequential(
                OrderedDict(normalize=Normalize(*spread), network=_torchvision(architecture, num_classes))
            )
        stages, features = ARCHITECTURES[architecture](width, channels)
        head = OrderedDict(
            pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), classifier=nn.Linear(features, num_classes)
        )
        return nn.Sequential(OrderedDict(normalize=Normalize(mean, std), **stages, **head))


def check_architecture(architecture: str) -> None:
    """Raise a ValueError unless `architecture` is a name that `build_model` knows."""
    if architecture.startswith(TORCHVISION):
        import torchvision

        known = torchvision.models.list_models(torchvision.models)
        if architecture.removeprefix(TORCHVISION) not in known:
            raise ValueError(
                f"architecture={architecture!r} is unknown; after {TORCHVISION!r} use one of {', '.join(known)}"
            )
    elif architecture not in ARCHITECTURES:
        raise ValueError(
            f"architecture={architecture!r} is unknown; use one of {', '.join(ARCHITECTURES)}, or 'torchvision:NAME'"
        )


def _torchvision(architecture: str, num_classes: int) -> nn.Module:
    import torchvision

    name = architecture.removeprefix(TORCHVISION)
    # These two would return a second and third answer while they are trained.
    extra = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, weights=None, num_classes=num_classes, **extra)


def pretrained_model(name: str, weights: str = "DEFAULT") -> nn.Sequential:
    """A torchvision network with its published weights, in eval mode, for images [N, 3, H, W] in [0, 1].

    Args:
        name: as in torchvision.models, such as "convnext_tiny".
        weights: which, such as "IMAGENET1K_V1".

    Raises:
        ValueError: unknown name or weights.
        ConnectionError: the weights are not there and cannot be downloaded.
    """
    import torchvision

    name = name.removeprefix(TORCHVISION)
    check_architecture(TORCHVISION + name)
    known = torchvision.models.get_model_weights(name)
    if weights not in known.__members__:
        raise ValueError(f"weights={weights!r} is unknown for {name!r}; use one of {', '.join(known.__members__)}")
    chosen = known[weights]
    # What torchvision itself sets for published weights.
    settings = {"num_classes": len(chosen.meta["categories"])}
    if name in ("googlenet", "inception_v3"):
        settings |= {"transform_input": True, "init_weights": False}
    if name.startswith("vit_"):
        settings["image_size"] = chosen.meta["min_size"][0]
    model = torchvision.models.get_model(name, weights=None, **settings)
    try:
        state = chosen.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # the second where a download's hash is wrong
        place = f"{torch.hub.get_dir()}/checkpoints"
        raise ConnectionError(f"{chosen.url} could not be downloaded ({error}); put that file into {place}") from error
    model.load_state_dict(state)
    used = chosen.transforms()
    return nn.Sequential(OrderedDict(normalize=Normalize(used.mean, used.std), network=model)).eval()
