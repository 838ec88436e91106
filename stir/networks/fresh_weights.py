"""Networks with fresh weights: the architecture of a trained network before any training."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

# No training starts from it: with the seed of a trained network, the fresh weights would be its own initial ones.
FRESH_SEED = 1_978_204_153


def with_fresh_weights(network: nn.Module, seed: int = FRESH_SEED) -> nn.Module:
    """A copy of `network`, on the CPU, whose weights are drawn as PyTorch draws those of a new network.

    Every submodule is reset by its own `reset_parameters`, statistics of batch norms included; buffers of modules
    without one, such as the constants of `stir.Normalize`, stay. For a network of `stir.build_model` the result is what
    that function makes with `seed`, except for DenseNets, whose weights torchvision draws in its own way, as it does
    for most of its networks.

    Raises:
        ValueError: the network cannot be copied, a `reset_parameters` fails or needs arguments, or a submodule has
            parameters of its own that none draws, as in torchvision's ConvNeXt, Swin and ViT, and under weight and
            spectral norms.
    """
    try:
        fresh = copy.deepcopy(network).cpu()
    except Exception as error:  # parts of a network may object with any exception
        raise ValueError(f"{type(network).__name__} cannot be copied, as fresh weights need it: {error}") from error
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for module in _children_first(fresh):
            # The second name is that of PyTorch's attention.
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if reset is not None:
                try:
                    reset()
                except Exception as error:  # a user's own may raise anything
                    raise ValueError(f"`reset_parameters` of {type(module).__name__} fails: {error}") from error
            elif any(True for _ in module.parameters(recurse=False)):
                raise ValueError(
                    f"{type(module).__name__} has parameters and no `reset_parameters`; give it one that draws them "
                    "anew"
                )
    trained = dict(network.named_parameters())
    # In a module with weight or spectral norm `reset_parameters` draws only what is derived from its parameters.
    for name, weight in fresh.named_parameters():
        if weight.ndim > 1 and torch.equal(weight, trained[name].cpu()):
            raise ValueError(
                f"{name!r} is not drawn anew by its module's `reset_parameters`; take weight or spectral norms off "
                "first"
            )
    return fresh


def _children_first(module: nn.Module) -> Iterator[nn.Module]:
    """Every submodule after its children, the order in which they are constructed."""
    for child in module.children():
        yield from _children_first(child)
    yield module
