"""Places in a forward pass at which features are taken: a layer by its name, or the default one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stir.names import suggest
from stir.networks.frozen import Frozen, without_wrapper
from stir.networks.outputs import first_tensor, logits_in, tensors_in

PENULTIMATE = "penultimate"
MOST_NAMES = 12  # that a message lists
RUN = "#"  # before the number of a module's run, as in "relu#2"; no name of a module that is registered holds it


@dataclass(frozen=True)
class Place:
    """The input or the output of a module, in one of its runs.

    Attributes:
        module: the module.
        run: the number of the run, from 1.
        at_input: take the input, not the output.
        name: in words.
        select: the tensor in what the module takes or returns.
    """

    module: nn.Module
    run: int
    at_input: bool
    name: str
    select: Callable[[object], Tensor | None] = first_tensor


@dataclass(frozen=True)
class _LinearRun:
    """One run of a linear layer, with the autograd nodes of its input and output; None where no gradient passes."""

    name: str
    module: nn.Module
    number: int
    output: Tensor | None
    output_node: Any
    input_node: Any

    def place(self) -> Place:
        return Place(self.module, self.number, True, f"{PENULTIMATE} ({self.name})")


def find_place(frozen: Frozen, layer: str, example: Tensor) -> Place:
    """The place of `layer` in a network, found by passing `example` [1, C, H, W] through it.

    Args:
        layer: the name under which a submodule is registered, or one of its runs, "name#2": its output is meant.
            "penultimate": the input of the linear layer that all ways from the images to the network's output lead
            through, the last one if several do. Where they lead through several in parallel that have one input, as
            an adapter on the head has it, it is that input. Where the output, its logits or its first tensor [N, D],
            comes from no linear layer, it is that output, also as a map [N, D, 1, 1].

    Raises:
        ValueError: the network does not take the example; or there is no such place, or more than one.
    """
    if layer == PENULTIMATE:
        return _default_place(frozen, example)
    return _named_place(frozen, layer, example)


def _named_place(frozen: Frozen, layer: str, example: Tensor) -> Place:
    modules, network = _modules(frozen.wrapper), type(frozen.model).__name__
    name, run = layer, None
    if layer not in modules:
        name, _, number = layer.rpartition(RUN)
        if name not in modules or not number.isdecimal():
            names = [*filter(None, _outer_first(frozen))]
            hint = suggest(layer, names, [PENULTIMATE, *names[:MOST_NAMES]], most=3, least=0.4)
            raise ValueError(f"layer={layer!r} does not exist in {network}; {hint}")
        run = int(number)
    runs: list[nn.Module] = []
    with (
        # A first pass that fails is followed by another.
        frozen.model.register_forward_pre_hook(lambda *_: runs.clear()),
        modules[name].register_forward_pre_hook(lambda module, _: runs.append(module)),
    ):
        frozen.try_out(example)
    if not runs:
        raise ValueError(f"layer={layer!r} is never reached by the forward pass of {network}; choose a layer that runs")
    choices = _some(f"{name}{RUN}{number}" for number in range(1, len(runs) + 1))
    if run is None and len(runs) > 1:
        raise ValueError(
            f"layer={layer!r} runs {len(runs)} times in a forward pass of {network}; choose one of its runs: {choices}"
        )
    if run is not None and not 1 <= run <= len(runs):
        raise ValueError(f"layer={layer!r} does not exist: {name!r} runs {len(runs)} time(s); use {choices}")
    return Place(modules[name], run or 1, False, layer)


def _default_place(frozen: Frozen, example: Tensor) -> Place:
    network = type(frozen.model).__name__
    runs, output = _linear_runs(frozen, lambda: frozen.try_out(example))
    # Nearly always the network returns what its head returns; else autograd's graph tells where that came from.
    head = next((run for run in reversed(runs) if run.output is output is not None), None)
    if head is None and runs:
        head = _traced_head(frozen, example)
    if head is not None:
        return head.place()
    if output is None or not _is_vector(output):
        raise ValueError(
            f"layer={PENULTIMATE!r} is the input of the last linear layer, but {network} "
            f"{'ends with' if runs else 'has'} none, and its output is not one vector an image; name a layer, such as "
            f"{_some(_outer_first(frozen))}"
        )
    return Place(frozen.model, 1, False, f"{PENULTIMATE} (the output of {network})", _vector_in)


def _vector_in(output: object) -> Tensor | None:
    """The first tensor of one vector per image in a network's output, logits before others; or else `logits_in`."""
    logits = logits_in(output)
    tensors = [each for each in (logits, *tensors_in(output)) if each is not None and each.is_floating_point()]
    vectors = [each for each in tensors if each.ndim == 2] + [each for each in tensors if _is_vector(each)]
    return next(iter(vectors), logits)


def _is_vector(tensor: Tensor) -> bool:
    """True of [N, D], and of [N, D, 1, 1], as global pooling leaves it."""
    return tensor.ndim == 2 or tensor.shape[2:] == (1, 1)


def _linear_runs(frozen: Frozen, forward: Callable[[], object]) -> tuple[list[_LinearRun], Tensor | None]:
    """All runs of linear layers in a pass, in their order, and the network's output."""
    runs: list[_LinearRun] = []
    counts: Counter[nn.Module] = Counter()

    def record(name: str, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: object) -> None:
        counts[module] += 1
        x, y = first_tensor((args, kwargs)), first_tensor(output)
        # The nodes of this moment: an operation in place would give the tensor another one.
        nodes = [None if tensor is None else tensor.grad_fn for tensor in (y, x)]
        runs.append(_LinearRun(name, module, counts[module], y, *nodes))

    def restart(*_: object) -> None:
        runs.clear()
        counts.clear()

    linear = [(name, module) for name, module in frozen.model.named_modules() if _is_linear(module)]
    handles = [frozen.model.register_forward_pre_hook(restart)]  # a first pass that fails is followed by another
    handles += [
        module.register_forward_hook(
            lambda module, args, kwargs, output, name=name: record(name, module, args, kwargs, output), with_kwargs=True
        )
        for name, module in linear
    ]
    try:
        return runs, _vector_in(forward())
    finally:
        for handle in handles:
            handle.remove()


def _is_linear(module: nn.Module) -> bool:
    """True of a linear layer, also inside an adapter of peft's, which may compute without running it."""
    return isinstance(module, nn.Linear) or isinstance(getattr(module, "base_layer", None), nn.Linear)


def _traced_head(frozen: Frozen, example: Tensor) -> _LinearRun | None:
    """The run of the linear layer that is the network's head, traced by autograd; None if no linear layer is."""
    network = type(frozen.model).__name__
    images = example.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        runs, output = _linear_runs(frozen, lambda: frozen(images))
    if output is None or output.grad_fn is None:
        raise ValueError(
            f"layer={PENULTIMATE!r}: it cannot be told from which layer the output of {network} comes, as no gradient "
            f"passes; name a layer, such as {_some(_outer_first(frozen))}"
        )
    end = output.grad_fn
    before = _nodes_before(end, frozenset())
    runs = [run for run in runs if run.output_node in before]

    def passes(nodes: Iterable[Any]) -> bool:
        """True if some path from the images to the output avoids all `nodes`."""
        return any(getattr(node, "variable", None) is images for node in _nodes_before(end, frozenset(nodes)))

    if passes(run.output_node for run in runs):
        return None
    count = next(n for n in range(1, len(runs) + 1) if not passes(run.output_node for run in runs[-n:]))
    last = runs[-count:]
    if count == 1:
        return last[0]
    if not all(passes([run.output_node]) for run in last):  # residual blocks, which one layer of theirs begins
        return None
    shared = [run for run in last if run.input_node is not None and not passes([run.input_node])]
    if not shared:
        raise ValueError(
            f"layer={PENULTIMATE!r}: the output of {network} comes from several linear layers with different inputs, "
            f"{_some(run.name for run in last)}; name a layer, such as {_some(_outer_first(frozen))}"
        )
    return next(run for run in last if run.input_node is shared[-1].input_node)


def _nodes_before(end: Any, without: frozenset[Any]) -> set[Any]:
    """The nodes of autograd's graph from `end` back to its leaves, on paths that avoid `without`."""
    reached, waiting = set(), [end]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in reached and node not in without:
            reached.add(node)
            waiting += [before for before, _ in node.next_functions]
    return reached


def _modules(model: nn.Module) -> dict[str, nn.Module]:
    """All submodules by all the names that they are registered under; those in a wrapper also without its prefix."""
    modules = dict(without_wrapper(model).named_modules(remove_duplicate=False))
    return modules | dict(model.named_modules(remove_duplicate=False))


def _outer_first(frozen: Frozen) -> list[str]:
    """The names of all submodules, those of whole stages before those of their parts."""
    return sorted(_modules(frozen.wrapper), key=lambda name: name.count("."))


def _some(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in list(names)[:MOST_NAMES] if name)


def check_layer_name(layer: str | None, argument: str = "layer") -> None:
    """Raise a ValueError where a layer's name is empty, which PyTorch takes for the whole network."""
    if layer == "":
        raise ValueError(
            f"{argument}='' names no submodule; give a dotted name, such as 'stage3', or None for the input of the "
            "last linear layer"
        )
