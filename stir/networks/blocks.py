"""Building blocks of networks, and the normalization of their input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Normalize(nn.Module):
    """Normalization of each channel, (x - mean) / std, as the first layer of a network.

    `nn.Sequential(Normalize(mean, std), network)` lets a network that was trained on normalized images take
    images [N, C, H, W] in [0, 1]. A single grey channel is repeated for each channel of `mean`.

    Args:
        mean, std: [C], of each channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).reshape(-1, 1, 1))
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32).reshape(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        # In the images' precision: these buffers may stay in float32 before a network of half precision.
        return ((images - self.mean) / self.std).to(images.dtype)


class Resize(nn.Module):
    """Bilinear resizing, antialiased where it shrinks, as the first layer of a network.

    `nn.Sequential(Resize(224), Normalize(mean, std), network)` lets a network that needs images of 224x224 take
    images of any size, so that it can be compared, on the same images, with networks that take others.

    Args:
        size: height and width in pixels: one number for both, or two.
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        super().__init__()
        height, width = size if isinstance(size, Sequence) else (size, size)
        if min(height, width) < 1:
            raise ValueError(f"size={size!r} must be at least 1")
        self.size = int(height), int(width)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2:] == self.size:
            return images
        return F.interpolate(images, size=self.size, mode="bilinear", antialias=True)

    def extra_repr(self) -> str:
        return f"{self.size[0]}x{self.size[1]}"


class ConvNorm(nn.Sequential):
    """A convolution and a batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = False) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias),
            nn.BatchNorm2d(outputs),
        )


class Residual(nn.Module):
    """ReLU(body(x) + skip(x)); without a skip connection, ReLU(body(x)) (He et al. 2016, Fig. 2)."""

    def __init__(self, body: nn.Module, inputs: int, outputs: int, stride: int, skip: bool) -> None:
        super().__init__()
        self.body = body
        same = stride == 1 and inputs == outputs
        self.skip = None if not skip else nn.Identity() if same else ConvNorm(inputs, outputs, kernel=1, stride=stride)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = self.body(x)
        return self.act(out if self.skip is None else out + self.skip(x))


def basic_block(inputs: int, channels: int, stride: int, skip: bool = True) -> tuple[Residual, int]:
    """Build a block of two 3x3 convolutions; return it and its output channels (He et al. 2016, Fig. 5 left)."""
    body = nn.Sequential(ConvNorm(inputs, channels, stride=stride), nn.ReLU(), ConvNorm(channels, channels))
    return Residual(body, inputs, channels, stride, skip), channels


def bottleneck(inputs: int, channels: int, stride: int, skip: bool = True) -> tuple[Residual, int]:
    """Build a block of 1x1, 3x3 and 1x1 convolutions; return it and its output channels (Fig. 5 right)."""
    outputs = 4 * channels
    body = nn.Sequential(
        ConvNorm(inputs, channels, kernel=1), nn.ReLU(),
        ConvNorm(channels, channels, stride=stride), nn.ReLU(),
        ConvNorm(channels, outputs, kernel=1),
    )  # fmt: skip
    return Residual(body, inputs, outputs, stride, skip), outputs


class WideBlock(nn.Module):
    """Twice norm, ReLU and convolution, and a skip connection.

    Zagoruyko and Komodakis 2016, Fig. 1d without dropout.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.body = nn.Sequential(
            ConvNorm(inputs, outputs, stride=stride), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        )
        self.skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.before(x)
        return self.body(out) + (x if self.skip is None else self.skip(out))


class Patches(nn.Module):
    """Patch embedding with fixed sine-cosine positions (Beyer et al. 2022, "Better plain ViT baselines").

    Maps images [N, C, H, W] to tokens [N, D, ceil(H / size), ceil(W / size)]; zeros pad the last row and column of
    patches, so that images may have any size.
    """

    def __init__(self, channels: int, dim: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.embed = nn.Conv2d(channels, dim, size, size)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        tokens = self.embed(F.pad(images, (0, -width % self.size, 0, -height % self.size)))
        return tokens + _positions(*tokens.shape[1:], device=tokens.device).to(tokens.dtype)


def _positions(dim: int, height: int, width: int, device: torch.device) -> Tensor:
    """Sines and cosines of the row and the column, [dim, height, width]."""
    rates = 10_000 ** -torch.linspace(0, 1, dim // 4, device=device, dtype=torch.float32)
    rows, columns = (torch.arange(count, device=device)[:, None] * rates for count in (height, width))
    rows = rows[:, None].expand(-1, width, -1)
    columns = columns[None].expand(height, -1, -1)
    return torch.cat([rows.sin(), rows.cos(), columns.sin(), columns.cos()], dim=2).permute(2, 0, 1)


class Attention(nn.TransformerEncoderLayer):
    """Pre-norm transformer layer over the positions of a map [N, D, H, W] (Dosovitskiy et al. 2021)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads, 4 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)

    # The base class also takes masks, of which a map has none.
    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a map [N, D, H, W]."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)
