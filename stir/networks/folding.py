"""Batch norms folded into the convolutions before them: in eval mode a norm only scales and shifts what it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Pairs = dict[nn.Conv2d, nn.BatchNorm2d]


@contextmanager
def watch_pairs(model: nn.Module) -> Iterator[Pairs]:
    """Collects, over one forward pass, each convolution whose output is all that a batch norm is given, both running once.

    No tracing: what runs is watched, so any control flow will do. That the output goes nowhere else
    cannot be seen, and has to be checked by comparing the results.
    """
    pairs: Pairs = {}
    ran: Counter[nn.Module] = Counter()
    outputs: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # the tensor too, so that no other gets its id
    shared = {
        name
        for name, count in Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False)).items()
        if count > 1
    }

    def after(module: nn.Module, _: object, output: Tensor) -> None:
        ran[module] += 1
        outputs[id(output)] = module, output

    def before(module: nn.Module, inputs: tuple) -> None:
        ran[module] += 1
        conv, _ = outputs.get(id(inputs[0]), (None, None)) if inputs else (None, None)
        if (
            conv is None or module.running_mean is None or "weight" not in conv._parameters
        ):  # the last where it is computed anew, as in pruning
            return
        own = [conv.weight, *module.parameters()]
        if all(parameter is None or id(parameter) not in shared for parameter in own):
            pairs[conv] = module

    handles = [m.register_forward_hook(after) for m in model.modules() if type(m) is nn.Conv2d]
    handles += [m.register_forward_pre_hook(before) for m in model.modules() if type(m) is nn.BatchNorm2d]
    try:
        yield pairs
    finally:
        for handle in handles:
            handle.remove()
        for conv in [conv for conv, norm in pairs.items() if ran[conv] > 1 or ran[norm] > 1]:
            del pairs[conv]


def folded_tensors(model: nn.Module, tensors: dict[str, Tensor], pairs: Pairs) -> dict[str, Tensor]:
    """`tensors` of `model` with each pair's convolution doing the norm's work as well."""
    names = {module: f"{name}." if name else "" for name, module in model.named_modules()}
    changed = dict(tensors)
    for conv, norm in pairs.items():
        own, other = names[conv], names[norm]
        scale = (tensors[f"{other}running_var"] + norm.eps).rsqrt()
        if norm.affine:
            scale = scale * tensors[f"{other}weight"]
        shift = tensors.get(f"{own}bias", torch.zeros_like(scale)) - tensors[f"{other}running_mean"]
        changed[f"{own}weight"] = tensors[f"{own}weight"] * scale.reshape(-1, 1, 1, 1)
        changed[f"{own}bias"] = shift * scale + (tensors[f"{other}bias"] if norm.affine else 0)
    return changed


def disturbed_tensors(model: nn.Module, tensors: dict[str, Tensor], pairs: Pairs) -> dict[str, Tensor]:
    """`tensors` of `model` with other statistics in each pair's norm, different in each channel."""
    names = {module: f"{name}." if name else "" for name, module in model.named_modules()}
    changed = dict(tensors)
    for norm in pairs.values():
        mean, variance = (tensors[f"{names[norm]}running_{name}"] for name in ("mean", "var"))
        changed[f"{names[norm]}running_mean"] = mean + variance.sqrt() * torch.linspace(-0.5, 0.5, len(mean)).to(mean)
        changed[f"{names[norm]}running_var"] = variance * torch.linspace(0.5, 2, len(mean)).to(mean)
    return changed


@contextmanager
def passing_through(modules: list[nn.Module], when: Callable[[], bool]) -> Iterator[None]:
    """Makes `modules` return their input while `when()` is true."""

    def replacement(forward: Callable) -> Callable:
        return lambda x: x if when() else forward(x)

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
