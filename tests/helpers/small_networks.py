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
