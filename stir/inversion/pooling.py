"""Features of any network's layer as one vector per image."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stir.inversion.layers import Place

# Layers whose maps are [N, C, H, W] by their definition, whatever their proportions.
CHANNELS_FIRST = (
    nn.Conv2d, nn.BatchNorm2d, nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d,
)  # fmt: skip
POOLS = ("mean", "flatten", "cls")


def check_pool(pool: str) -> None:
    """Raise a ValueError unless `pool` is one of `POOLS`."""
    if pool not in POOLS:
        raise ValueError(f"pool={pool!r} is unknown; use one of {', '.join(POOLS)}")


def pooled(output: object, place: Place, images: Tensor, layer: str, pool: str) -> Float[Tensor, "n d"]:
    """Features of `images` from the input or the output of the module at `place`, called `layer`.

    Raises:
        ValueError: that has not one row an image; or `pool` does not suit it.
    """
    n = len(images)
    features = place.select(output)
    got = f"a {type(output).__name__}" if features is None else f"a tensor of shape {tuple(features.shape)}"
    if features is None or features.ndim < 2 or len(features) != n:
        raise ValueError(f"layer={layer!r} gives {got} for {n} image(s), not one row an image; choose another layer")
    if features.ndim == 2 or pool == "flatten":
        return features.flatten(1)
    if pool == "cls":
        if features.ndim != 3:
            raise ValueError(
                f"pool='cls' takes the first of tokens [N, T, D], but layer={layer!r} gives {got}; "
                "use pool='mean' or 'flatten'"
            )
        return features[:, 0]
    known = not place.at_input and isinstance(place.module, CHANNELS_FIRST)
    if features.ndim == 4 and not known and _channels_last(features.shape, images.shape):
        return features.mean(dim=(1, 2))
    return features.mean(dim=1) if features.ndim == 3 else features.flatten(2).mean(dim=2)


def _channels_last(features: torch.Size, images: torch.Size) -> bool:
    """True if a map is [N, H, W, C], as Swin's are: its second and third axes have the images' proportions."""
    _, a, b, c = features
    height, width = images[2:]
    first, last = (abs(math.log(h * width / (w * height))) for h, w in ((a, b), (b, c)))
    return first < last
