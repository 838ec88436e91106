"""Networks so small that what they share is known."""

import torch
from torch import nn


def linear(outputs=32, inputs=256, seed=0):
    """x -> Ax with orthonormal rows."""
    torch.manual_seed(seed)
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.orthogonal_(layer.weight)
    return nn.Sequential(nn.Flatten(), layer).eval()


def with_head(matrix):
    """The network x -> matrix @ x, with a linear layer after it so that `None` means its output."""
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
    layer.weight.data = matrix.clone()
    return nn.Sequential(nn.Flatten(), layer, nn.Linear(matrix.shape[0], 2))


def nested_networks():
    """m1(x) = Ax and m2(x) = BAx, which sees less than m1, and 4x4 images."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(8, 16, generator=generator)
    b = torch.randn(3, 8, generator=generator)
    images = 0.3 + 0.4 * torch.rand(60, 1, 4, 4, generator=generator)
    return with_head(a), with_head(b @ a), images


def small_network(seed, width=8):
    """Takes images [N, 1, 4, 4] through one hidden layer."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 2)).eval()


class Unresettable(nn.Module):
    """A module with a parameter and no way to draw it anew."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * self.factor


class WrongGradient(torch.autograd.Function):
    """The identity, whose gradient in channels last is wrong, like PyTorch 2.11's of averages on GPUs, or fails."""

    @staticmethod
    def forward(ctx, x, kind):
        ctx.wrong, ctx.kind = not x.is_contiguous(), kind
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        if ctx.wrong and ctx.kind == "fails":
            raise RuntimeError("no gradient in channels last")
        return gradient.flip(-1) if ctx.wrong else gradient, None


class Averaged(nn.Module):
    """For images of 16x16; of some kinds with a second output, which has no gradient."""

    def __init__(self, kind, channels=3):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.kind = nn.Conv2d(channels, 6, 3, padding=1), nn.Linear(6 * 256, 10), kind

    def forward(self, x):
        logits = self.fc(WrongGradient.apply(self.conv(x).relu(), self.kind).flatten(1))
        return logits if self.kind == "wrong" else (logits, logits.detach())
