"""CIFAR-style networks at any width, and torchvision's, with the normalization of their input inside.

`width` is the number of channels after the first convolution of a ResNet, 64 in the published ones; the other
architectures are scaled in the same proportion. All but torchvision's take images in [0, 1] of any size from 8x8
pixels. torchvision is imported only where it is used, because that takes as long as importing PyTorch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from stir.computing.precision import float32_by_default
from stir.names import suggest
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

Stages = tuple[dict[str, nn.Module], int]  # modules by name, and their number of output channels
TORCHVISION_PREFIX = "torchvision:"


def _resnet(
    width: int, channels: int, *, counts: Sequence[int], block: Callable = basic_block, skip: bool = True
) -> Stages:
    stages: dict[str, nn.Module] = {"stem": nn.Sequential(ConvNorm(channels, width), nn.ReLU())}
    outputs = width
    for number, count in enumerate(counts, start=1):
        layers = []
        for index in range(count):
            stride = 2 if index == 0 and number > 1 else 1
            layer, outputs = block(outputs, width * 2 ** (number - 1), stride, skip)
            layers.append(layer)
        stages[f"stage{number}"] = nn.Sequential(*layers)
    return stages, outputs


def _wide_resnet(width: int, channels: int, *, depth: int, factor: int) -> Stages:
    base = max(width // 4, 1)  # 16 channels in the published networks
    stages: dict[str, nn.Module] = {"stem": nn.Conv2d(channels, base, 3, padding=1, bias=False)}
    inputs = base
    for number in (1, 2, 3):
        outputs = factor * base * 2 ** (number - 1)
        strides = [1 if number == 1 else 2] + [1] * ((depth - 4) // 6 - 1)
        layers: list[nn.Module] = []
        for stride in strides:
            layers.append(WideBlock(inputs, outputs, stride))
            inputs = outputs
        if number == 3:
            layers += [nn.BatchNorm2d(inputs), nn.ReLU()]
        stages[f"stage{number}"] = nn.Sequential(*layers)
    return stages, inputs


def _vgg(width: int, channels: int, *, convolutions: Sequence[int]) -> Stages:
    stages: dict[str, nn.Module] = {}
    inputs = channels
    for number, count in enumerate(convolutions, start=1):
        outputs = width * min(2 ** (number - 1), 8)
        layers: list[nn.Module] = []
        for _ in range(count):
            layers += [ConvNorm(inputs, outputs, bias=True), nn.ReLU()]
            inputs = outputs
        # ceil_mode keeps a 1x1 map, so that small images survive all five halvings.
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
        stages[f"stage{number}"] = nn.Sequential(*layers)
    return stages, inputs


def _densenet(width: int, channels: int, *, counts: tuple[int, int, int, int]) -> Stages:
    from torchvision.models.densenet import DenseNet

    growth = max(width // 2, 1)
    published = DenseNet(growth, counts, 2 * growth, num_classes=1)
    parts = dict(published.features.named_children())
    stages: dict[str, nn.Module] = {"stem": nn.Conv2d(channels, 2 * growth, 3, padding=1, bias=False)}
    for number in range(1, len(counts) + 1):
        layers = [parts[f"denseblock{number}"]]
        if number < len(counts):
            # As in the VGGs, the pooling has to keep 1x1 maps.
            layers += [*list(parts[f"transition{number}"].children())[:-1], nn.AvgPool2d(2, ceil_mode=True)]
        else:
            layers += [parts["norm5"], nn.ReLU()]
        stages[f"stage{number}"] = nn.Sequential(*layers)
    return stages, published.classifier.in_features


def _vit(width: int, channels: int, *, counts: Sequence[int], patch: int) -> Stages:
    dim = 4 * width
    stages: dict[str, nn.Module] = {"stem": Patches(channels, dim, patch)}
    for number, count in enumerate(counts, start=1):
        layers: list[nn.Module] = [Attention(dim, heads=4) for _ in range(count)]
        if number == len(counts):
            layers.append(ChannelNorm(dim))
        stages[f"stage{number}"] = nn.Sequential(*layers)
    return stages, dim


_BASIC = {"resnet10": (1, 1, 1, 1), "resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
_RESNETS = {name: partial(_resnet, counts=counts) for name, counts in _BASIC.items()}
_RESNETS["resnet50"] = partial(_resnet, counts=(3, 4, 6, 3), block=bottleneck)

ARCHITECTURES = {
    **_RESNETS,
    **{f"{name}-noskip": partial(build, skip=False) for name, build in _RESNETS.items()},
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
    """Build an untrained network in float32 that maps images [N, channels, H, W] in [0, 1] to logits [N, num_classes].

    Its children are `normalize`, `stem` (not in VGGs), `stage1`, `stage2`, ..., `pool`, `flatten` and
    `classifier`; torchvision's networks have `normalize` and `network`.

    Args:
        architecture: a name from `ARCHITECTURES`: ResNets (He et al. 2016), the same without skip
            connections, wide ResNets (Zagoruyko and Komodakis 2016), VGGs with batch norm
            (Simonyan and Zisserman 2015) and DenseNet121 (Huang et al. 2017), in their CIFAR form,
            and a small vision transformer (Dosovitskiy et al. 2021; mean of tokens, fixed
            positions); or "torchvision:NAME", such as "torchvision:convnext_tiny".
        num_classes: number of logits.
        width: channels of a ResNet's first stage; 64 gives the published networks. Ignored by torchvision's.
        channels: channels of the images; 1 or 3 for torchvision's.
        mean, std: of the images' channels, for the normalization; a single number holds for all channels.
        seed: of the initial weights.

    Raises:
        ValueError: an unknown architecture, or a size out of range.
    """
    for name, value in {"num_classes": num_classes, "width": width, "channels": channels}.items():
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    check_architecture(architecture)
    # Leave the caller's random state as it is, and draw the same weights whatever the caller's default precision.
    with torch.random.fork_rng(devices=[]), float32_by_default():
        torch.manual_seed(seed)
        if architecture.startswith(TORCHVISION_PREFIX):
            if channels not in (1, 3):
                raise ValueError(f"channels={channels}: torchvision's networks take images of 1 or 3 channels")
            normalize = Normalize((list(mean) * 3)[:3], (list(std) * 3)[:3])
            return nn.Sequential(OrderedDict(normalize=normalize, network=_torchvision(architecture, num_classes)))
        stages, dim = ARCHITECTURES[architecture](width, channels)
        head = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "classifier": nn.Linear(dim, num_classes)}
        return nn.Sequential(OrderedDict(normalize=Normalize(mean, std), **stages, **head))


def check_architecture(architecture: str) -> None:
    """Raise a ValueError unless `build_model` knows `architecture`."""
    if architecture.startswith(TORCHVISION_PREFIX):
        import torchvision

        known = torchvision.models.list_models(torchvision.models)
        name = architecture.removeprefix(TORCHVISION_PREFIX)
        if name not in known:
            raise ValueError(
                f"architecture={architecture!r} is unknown; {suggest(name, known, before=TORCHVISION_PREFIX)}"
            )
    elif architecture not in ARCHITECTURES:
        hint = suggest(architecture, ARCHITECTURES, [*ARCHITECTURES, f"{TORCHVISION_PREFIX}NAME"])
        raise ValueError(f"architecture={architecture!r} is unknown; {hint}")


def _torchvision(architecture: str, num_classes: int) -> nn.Module:
    import torchvision

    name = architecture.removeprefix(TORCHVISION_PREFIX)
    # In train mode these two would return auxiliary logits too.
    options = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, weights=None, num_classes=num_classes, **options)


def pretrained_model(name: str, weights: str = "DEFAULT") -> nn.Sequential:
    """Build a torchvision network with published weights, in eval mode, for images [N, 3, H, W] in [0, 1].

    Args:
        name: a name in torchvision.models, such as "convnext_tiny".
        weights: the name of its weights there, such as "IMAGENET1K_V1".

    Raises:
        ValueError: an unknown name, of the network or of the weights.
        ConnectionError: the weights are not on this machine and cannot be downloaded.
    """
    import torchvision

    name = name.removeprefix(TORCHVISION_PREFIX)
    check_architecture(TORCHVISION_PREFIX + name)
    known = torchvision.models.get_model_weights(name)
    if weights not in known.__members__:
        raise ValueError(f"weights={weights!r} is unknown for {name!r}; use one of {', '.join(known.__members__)}")
    entry = known[weights]
    # The options that torchvision itself sets when it builds a network for published weights.
    options = {"num_classes": len(entry.meta["categories"])}
    if name in ("googlenet", "inception_v3"):
        options |= {"transform_input": True, "init_weights": False}
    if name.startswith("vit_"):
        options["image_size"] = entry.meta["min_size"][0]
    model = torchvision.models.get_model(name, weights=None, **options)
    try:
        state = entry.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # a RuntimeError if the hash of the download is wrong
        place = f"{torch.hub.get_dir()}/checkpoints"
        raise ConnectionError(f"{entry.url} could not be downloaded ({error}); put that file into {place}") from error
    model.load_state_dict(state)
    transforms = entry.transforms()
    return nn.Sequential(OrderedDict(normalize=Normalize(transforms.mean, transforms.std), network=model)).eval()
