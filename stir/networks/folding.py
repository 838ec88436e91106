"""Batch norm folding: in eval mode a batch norm is affine, so the convolution before it can do its work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Pairs = dict[nn.Conv2d, nn.BatchNorm2d]


@contextmanager
def record_pairs(model: nn.Module) -> Iterator[Pairs]:
    """Record, during one forward pass, each convolution whose output is the input of a batch norm, if both run once.

    Hooks record what runs, so that any control flow works, unlike with tracing. They cannot show that the output is
    used nowhere else: compare the network's outputs before and after folding.
    """
    pairs: Pairs = {}
    runs: Counter[nn.Module] = Counter()
    outputs: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # by id; holding the tensor keeps its id from being reused
    counts = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))

    def record_output(conv: nn.Conv2d, _: object, output: Tensor) -> None:
        runs[conv] += 1
        outputs[id(output)] = conv, output

    def record_pair(norm: nn.BatchNorm2d, inputs: tuple) -> None:
        runs[norm] += 1
        conv, _ = outputs.get(id(inputs[0]), (None, None)) if inputs else (None, None)
        # A weight that is recomputed in each pass, as by pruning, is no parameter.
        if conv is None or norm.running_mean is None or "weight" not in conv._parameters:
            return
        parameters = [conv.weight, *norm.parameters()]
        if all(parameter is None or counts[id(parameter)] < 2 for parameter in parameters):  # no weight sharing
            pairs[conv] = norm

    handles = [m.register_forward_hook(record_output) for m in model.modules() if type(m) is nn.Conv2d]
    handles += [m.register_forward_pre_hook(record_pair) for m in model.modules() if type(m) is nn.BatchNorm2d]
    try:
        yield pairs
    finally:
        for handle in handles:
            handle.remove()
        for conv in [conv for conv, norm in pairs.items() if runs[conv] > 1 or runs[norm] > 1]:
            del pairs[conv]


def folded_tensors(model: nn.Module, tensors: dict[str, Tensor], pairs: Pairs) -> dict[str, Tensor]:
    """Parameters and buffers in which each convolution of `pairs` includes the scale and shift of its norm.

    Args:
        tensors: the parameters and buffers of `model`, by name.
    """
    prefixes = _prefixes(model)
    folded = dict(tensors)
    for conv_module, norm_module in pairs.items():
        conv, norm = prefixes[conv_module], prefixes[norm_module]
        scale = (tensors[f"{norm}running_var"] + norm_module.eps).rsqrt()
        if norm_module.affine:
            scale = scale * tensors[f"{norm}weight"]
        shift = tensors.get(f"{conv}bias", torch.zeros_like(scale)) - tensors[f"{norm}running_mean"]
        folded[f"{conv}weight"] = tensors[f"{conv}weight"] * scale.reshape(-1, 1, 1, 1)
        folded[f"{conv}bias"] = shift * scale + (tensors[f"{norm}bias"] if norm_module.affine else 0)
    return folded


def perturbed_tensors(model: nn.Module, tensors: dict[str, Tensor], pairs: Pairs) -> dict[str, Tensor]:
    """Parameters and buffers in which the statistics of each norm of `pairs` are moved, by another amount per channel.

    Args:
        tensors: the parameters and buffers of `model`, by name.
    """
    prefixes = _prefixes(model)
    perturbed = dict(tensors)
    for norm_module in pairs.values():
        norm = prefixes[norm_module]
        mean, variance = tensors[f"{norm}running_mean"], tensors[f"{norm}running_var"]
        perturbed[f"{norm}running_mean"] = mean + variance.sqrt() * torch.linspace(-0.5, 0.5, len(mean)).to(mean)
        perturbed[f"{norm}running_var"] = variance * torch.linspace(0.5, 2, len(mean)).to(mean)
    return perturbed


def _prefixes(model: nn.Module) -> dict[nn.Module, str]:
    """Prefix of the names of each module's tensors."""
    return {module: f"{name}." if name else "" for name, module in model.named_modules()}


@contextmanager
def bypass(modules: list[nn.Module], condition: Callable[[], bool]) -> Iterator[None]:
    """Have `modules` return their input unchanged whenever `condition()` is true."""

    def replacement(forward: Callable) -> Callable:
        return lambda x: x if condition() else forward(x)

    before = {module: vars(module).get("forward") for module in modules}
    try:
        for module in modules:
            module.forward = replacement(module.forward)
        yield
    finally:
        for module, forward in before.items():
            if forward is None:
                vars(module).pop("forward", None)
            else:
                module.forward = forward
