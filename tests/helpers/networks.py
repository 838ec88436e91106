"""Networks that train in a moment, networks whose norms look trained, and how networks are compared."""

from __future__ import annotations

import torch
from torch import nn

# Arguments of `stir.trained_model`.
TINY = {"width": 4, "epochs": 1, "device": "cpu", "progress": False}
IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def lively(model):
    """The network with batch norms as training leaves them: statistics and weights that are not 0 and 1."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.3)
    return model.eval()


def same(first, second):
    """True if two networks have the same weights and statistics."""
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def names(folder):
    """The files in `folder`, without its locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")
