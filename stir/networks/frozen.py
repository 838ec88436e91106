"""Networks as functions of their images alone: in eval mode, with fixed weights and folded batch norms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import reduce
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from stir.computing.memory import is_out_of_memory, too_little
from stir.computing.precision import exact_float32
from stir.networks.folding import Pairs, bypass, folded_tensors, perturbed_tensors, record_pairs
from stir.networks.outputs import tensors_in


class Frozen:
    """A network in eval mode, whose gradients reach the images and nothing else.

    A context manager: entering copies the parameters and buffers, on which all passes run. It may be entered again,
    and then takes their values of that time, and copies only those that are not folded into others. Leaving, also
    after an error or an interrupt, restores the train/eval flags of the network and its batch norms. Layers that merge
    an adapter into their weights in eval mode, as loralib's do, are merged inside and as before outside.

        with Frozen(model, device) as frozen:
            frozen.fold(lambda: frozen(images[:1]))
            logits = frozen(images)

    Args:
        model: any network that takes images [N, C, H, W].
        device: where to compute.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        check_network(model)
        self.wrapper, self.model, self.device = model, without_wrapper(model), device
        # Convolutions compute in channels last on CPUs and GPUs alike, and would reorder other layouts at each layer.
        self._layout = torch.channels_last
        self._precision: torch.dtype | None = None  # of all fractions; None for each tensor's own
        self._pairs: Pairs = {}
        self._in_pass = False

    def __enter__(self) -> Frozen:
        self._training = {module: module.training for module in self.model.modules()}
        self._bypasses = ExitStack()
        try:
            self.model.eval()  # before the copies, as it may change the weights
            self._take(self._layout, self._precision)
            self._set(self._pairs, self._unfolded)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._bypasses.close()
        for module, training in self._training.items():
            if module.training != training and getattr(module.train, "__func__", None) is not nn.Module.train:
                with suppress(Exception):  # a module for inference alone may refuse
                    module.train(training)  # which may change weights too
        for module, training in self._training.items():
            module.training = training
        self._unfolded = self._tensors = {}

    @property
    def layout(self) -> torch.memory_format:
        """Memory layout of the pass: channels last, unless `try_out` found that it fails or changes the result."""
        return self._layout

    @property
    def tolerance(self) -> float:
        """Relative difference of outputs that is far above rounding in the network's precision."""
        return 1e-2 if torch.finfo(self.dtype).bits >= 32 else 0.1

    def __call__(self, images: Tensor, half: bool = False) -> Any:
        """Return the network's output on the device, in the precision of its first tensor (see also `try_out`).

        Args:
            half: compute in bfloat16 the operations for which PyTorch considers that safe.
        """
        self._in_pass = True
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                # Always copy, because a network may write into its input.
                images = images.to(self.device, self.dtype, copy=True, memory_format=self._layout)
                return _call(self.model, self._tensors, images)
        finally:
            self._in_pass = False

    def try_out(self, images: Tensor) -> Any:
        """Return the output of a pass that also chooses layout and precision of all later ones, also after reentering.

        A network that refuses channels last, as one does that takes a `.view` of a feature map, or that computes
        something else there, as `as_strided` does, or another gradient, as PyTorch 2.11 does on GPUs of an average over
        overlapping windows, computes in PyTorch's own layout instead. One that cannot be computed in the precisions of
        its parts, as where a normalization in float32 stands before half precision, computes in the widest of them, at
        least float32.

        Raises:
            ValueError: the network does not take the images.
        """
        own, layouts = self._precision, dict.fromkeys([self._layout, torch.contiguous_format])
        dtypes = {tensor.dtype for tensor in self._unfolded.values() if tensor.is_floating_point()}
        widest = reduce(torch.promote_types, dtypes, torch.float32)
        error: Exception | None = None
        for precision, layout in product([own] if dtypes <= {widest} else [own, widest], layouts):
            if (layout, precision) != (self._layout, self._precision):
                self._change(layout, precision)
            try:
                with torch.no_grad():
                    if layout == torch.channels_last and self._depends_on_layout(images):
                        continue
                    return self(images)
            except Exception as raised:  # a network, and the hooks on it, may raise anything
                error = raised if precision == own else error
                if is_out_of_memory(raised):
                    raise too_little(raised) from raised
        self._change(next(iter(layouts)), own)
        shape, reason = ", ".join(map(str, images.shape[1:])), str(error) or type(error).__name__
        raise ValueError(
            f"images of shape [N, {shape}] do not pass through {type(self.model).__name__}: {reason}"
        ) from error

    def _depends_on_layout(self, images: Tensor) -> bool:
        """Return whether PyTorch's own layout gives other outputs for a random image, or another gradient."""
        noise = torch.rand(images[:1].shape, generator=torch.Generator().manual_seed(0))
        tensors = {name: _copy(tensor, self.device, torch.contiguous_format) for name, tensor in self._unfolded.items()}

        def in_own_layout(images: Tensor) -> Any:
            with torch.autocast(self.device.type, enabled=False):
                return _call(self.model, tensors, images.to(self.device, self.dtype))

        exact = torch.finfo(self.dtype).bits >= 32
        with exact_float32():
            pairs = [*zip(_floats_in(self(noise)), _floats_in(in_own_layout(noise)))]
            gradients = (_gradient(self, noise), _gradient(in_own_layout, noise)) if exact else ((), ())
        if len(gradients[0]) != len(gradients[1]):
            return True
        pairs += zip(*gradients)
        return not all(close(x.float(), y.float(), self.tolerance) for x, y in pairs)

    def takes_half(self, images: Tensor) -> bool:
        """Return whether the network, with the hooks on it, can be computed in bfloat16."""
        try:
            with torch.no_grad():
                self(images, half=True)
        except Exception:
            return False
        return True

    def _take(self, layout: torch.memory_format, precision: torch.dtype | None) -> None:
        """Take the network's parameters and buffers: copies, except of what is only folded into a copy."""
        self._layout, self._precision = layout, precision
        folded = {id(tensor) for pair in self._pairs.items() for module in pair for tensor in _tensors_of(module)}
        taken: dict[int, Tensor] = {}  # by the id of the original, as one tensor may have several names
        self._unfolded = {}
        for name, tensor in _named_tensors(self.model):
            if id(tensor) not in taken:
                taken[id(tensor)] = _copy(tensor, self.device, layout, precision, copy=id(tensor) not in folded)
            self._unfolded[name] = taken[id(tensor)]
        self.dtype = next((t.dtype for t in self._unfolded.values() if t.is_floating_point()), torch.float32)

    def _change(self, layout: torch.memory_format, precision: torch.dtype | None) -> None:
        self._take(layout, precision)
        self._set(self._pairs, self._unfolded)

    def fold(self, run: Callable[[], Tensor], exclude: nn.Module | None = None) -> None:
        """Fold all batch norms that can be folded, provided that this does not change the result of `run`.

        The folding also holds when this object is entered again.

        Args:
            run: runs one pass of this object and returns a result to compare.
            exclude: a convolution to leave as it is, because its own output is used.
        """
        again, self._pairs = self._pairs, {}
        if again:
            self._take(self._layout, self._precision)  # copies of what was folded too
        self._set({}, self._unfolded)
        with record_pairs(self.model) as pairs, torch.no_grad():
            result = run()
        if isinstance(exclude, nn.Conv2d):
            pairs.pop(exclude, None)
        if not pairs or result.dtype != torch.float32:
            return
        with torch.no_grad():
            # Freshly initialized norms change next to nothing, so that wrong folding would not show; perturbed ones do.
            perturbed = perturbed_tensors(self.model, self._unfolded, pairs)
            self._set({}, perturbed)
            expected = run()
            self._set(pairs, perturbed)
            # If a convolution's output is used elsewhere too, folding would scale it there as well: then fold nothing.
            # Such an error is far above this tolerance, and the rounding of reduced precision on GPUs far below.
            equivalent = close(run(), expected, 1e-2)
        self._set(pairs if equivalent else {}, self._unfolded)

    def _set(self, pairs: Pairs, tensors: dict[str, Tensor]) -> None:
        """Compute from now on with `tensors`, with the norms of `pairs` folded."""
        self._bypasses.close()
        self._pairs = pairs
        self._tensors = folded_tensors(self.model, tensors, pairs)
        # Only in passes of this object: the network may also run elsewhere meanwhile, with its own weights.
        self._bypasses.enter_context(bypass(list(pairs.values()), lambda: self._in_pass))


def _floats_in(output: object) -> list[Tensor]:
    return [tensor for tensor in tensors_in(output) if tensor.is_floating_point()]


def _gradient(network: Callable[[Tensor], Any], images: Tensor) -> tuple[Tensor, ...]:
    """The gradient of a random mixture of the network's outputs, in the images; nothing if it cannot be had."""
    generator = torch.Generator().manual_seed(1)
    try:
        with torch.enable_grad():
            pixels = images.clone().requires_grad_(True)
            outputs = [output for output in _floats_in(network(pixels)) if output.requires_grad]
            weights = [torch.randn(output.shape, generator=generator).to(output) for output in outputs]
            return torch.autograd.grad(outputs, pixels, weights)
    except Exception as error:  # a network, and the hooks on it, may raise anything
        if is_out_of_memory(error):
            raise
        return ()


def close(x: Tensor, y: Tensor, tolerance: float) -> bool:
    """Return whether the length of x - y is at most `tolerance` times the length of y."""
    return bool((x - y).norm() <= tolerance * y.norm())


def without_wrapper(model: nn.Module) -> nn.Module:
    """The network inside `DataParallel` or `DistributedDataParallel`, which spread batches over devices."""
    while isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        model = model.module
    return model


def check_network(model: object) -> None:
    """Raise a ValueError unless `model` is a module whose submodules run as such."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"the network is a {type(model).__name__}; it must be a torch.nn.Module")
    kinds = [kind for kind in map(_compiled_as, model.modules()) if kind]
    if kinds:
        raise ValueError(f"{type(model).__name__} is or holds {kinds[0]}; pass the network that it was made from")


def _compiled_as(module: nn.Module) -> str | None:
    if isinstance(module, torch.jit.ScriptModule):
        return "a TorchScript module, whose layers cannot be reached"
    # Exported programs replace `eval`, which they do not support.
    if isinstance(module, torch.fx.GraphModule) and "eval" in vars(module):
        return "an exported program, which has no layers and no eval mode"
    return None


def _copy(
    tensor: Tensor,
    device: torch.device,
    layout: torch.memory_format,
    precision: torch.dtype | None = None,
    copy: bool = True,
) -> Tensor:
    """The tensor on `device`, without a gradient; without `copy` the original where nothing about it changes."""
    layout = layout if tensor.ndim == 4 else torch.preserve_format
    dtype = precision if precision is not None and tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to(device, dtype, copy=copy, memory_format=layout)


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers under all their names."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _tensors_of(module: nn.Module) -> Iterator[Tensor]:
    return (tensor for _, tensor in _named_tensors(module))


def _call(model: nn.Module, tensors: dict[str, Tensor], images: Tensor) -> Any:
    """The output of `model` with `tensors` in place of its own.

    They have all names of each: PyTorch would look for further ones at each call, which takes as long as a small pass.
    """
    return functional_call(model, tensors, (images,), tie_weights=False)
