"""Networks so small that what they share is known."""

import torch
from torch import nn


def linear(outputs=32, inputs=256, seed=0):
    """x -> Ax with orthonormal rows."""
    torch.manual_seed(seed)
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.orthogonal_(layer.weight)
    return nn.Sequential(nn.Flatten(), layer).eval()


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
