"""Representations: the features [N, D] of images at a layer of any network."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from functools import cached_property
from numbers import Integral

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from stir.computing.devices import resolve_device
from stir.computing.precision import fast_bf16
from stir.data.images import Images, check_images, gather_images
from stir.networks.frozen import Frozen, close

PENULTIMATE = "penultimate"
POOLS = ("mean", "flatten")
BATCH_SIZE = 256  # most images computed together by default
MEMORY = 2**30  # most bytes that their passes may keep for the gradients; on a GPU a quarter of its memory instead


class _Reached(BaseException):
    """Ends a forward pass at the layer. Not an `Exception`, which a network's own handler might catch."""

    def __init__(self, output: object) -> None:
        self.output = output


class Representation:
    """Features at one layer, computed in eval mode and no further than the layer.

    Used as a context manager, which leaves the network as it was, hook included, also after an
    error or an interrupt. Passes are those of `stir.networks.frozen.Frozen`.

        with Representation(model, images, layer="stage3") as represent:
            features = represent(images)       # [N, D]; gradients flow to the images alone

    Args:
        model: any network that takes images [N, C, H, W] in [0, 1].
        images: [N, C, H, W], what will be represented; one of them is passed through to find the layer.
        layer: dotted name of a submodule, whose output is taken; None or "penultimate" for the
            input of the linear layer that runs last.
        pool: "mean" averages a feature map [N, C, H, W] or [N, H, W, C] over space and tokens
            [N, T, D] over tokens; "flatten" keeps all their entries.
        device: where to compute.

    Raises:
        ValueError: images that are no images (see `check_images`) or that the network cannot take,
            an unknown layer or an empty name, one that the forward pass never reaches, no linear layer where one is
            needed, or a layer whose output is no tensor with one row an image.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        layer: str | None = None,
        *,
        pool: str = "mean",
        device: str | torch.device = "auto",
    ) -> None:
        check_images(images)
        check_pool(pool)
        check_layer_name(layer)
        self.model = model
        self.layer = PENULTIMATE if layer is None else layer
        self.pool = pool
        self.device = resolve_device(device)
        self._example = images[:1]

    def __enter__(self) -> Representation:
        self._frozen = Frozen(self.model, self.device).__enter__()
        self._hook: RemovableHandle | None = None
        self._calls: int | None = None  # of the layer in the pass under way; None between passes
        try:
            module, last_call = self._locate()
            self._attach(module, last_call)
            # A wrong output of the layer shows here, before any work.
            self._frozen.fold(lambda: self(self._example), exclude=module)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._frozen.__exit__()

    @cached_property
    def _example_features(self) -> Tensor:
        with torch.no_grad():
            return self(self._example)

    @property
    def dim(self) -> int:
        """Feature dimension, d."""
        return self._example_features.shape[1]

    @cached_property
    def half_works(self) -> bool:
        """True if bfloat16 is fast on the device and changes the features by at most a tenth of their length."""
        if self._frozen.dtype != torch.float32 or not fast_bf16(self.device):
            return False
        with torch.no_grad():
            try:
                return close(self(self._example, half=True).float(), self._example_features, 0.1)
            except RuntimeError:  # an operation that mixes precisions, or has none for bfloat16
                return False

    def batch_size(self, beside: int = 0) -> int:
        """How many images to compute together: `BATCH_SIZE`, or as many as `MEMORY` allows.

        It depends on nothing that varies on one machine.

        Args:
            beside: bytes that each image needs besides those of its pass.
        """
        return max(1, min(BATCH_SIZE, self._available // max(self.memory_per_image + beside, 1)))

    @property
    def _available(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.get_device_properties(self.device).total_memory // 4
        return MEMORY

    @cached_property
    def memory_per_image(self) -> int:
        """Bytes that a pass keeps for its gradient, for each image."""
        one = self._memory(1)
        # Weights and the like are kept once for all images; where so much memory matters, a second pass tells them.
        return one if one * BATCH_SIZE <= self._available else self._memory(2) - one

    def _memory(self, count: int) -> int:
        """Bytes that a pass of `count` images keeps for its gradient."""
        sizes: dict[int, int] = {}  # by address, as several operations and views may keep the same storage

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            self(self._example.repeat(count, 1, 1, 1).requires_grad_(True))
        return sum(sizes.values())

    def __call__(self, images: Tensor, half: bool = False) -> Float[Tensor, "n d"]:
        """Features of `images`, on the device, in the network's own precision.

        Args:
            half: compute in bfloat16, where PyTorch finds that safe.
        """
        self._calls = 0
        try:
            self._frozen(images, half)
        except _Reached as reached:
            return self._pooled(reached.output, images)
        finally:
            self._calls = None
        raise ValueError(
            f"layer={self.layer!r}: the forward pass did not reach it this time; choose a layer that always runs"
        )

    def in_batches(self, images: Tensor, batch_size: int | None = None) -> Float[Tensor, "n d"]:
        """Features of `images`, `batch_size` at a time and without gradients, on the images' own device."""
        with torch.no_grad():
            return torch.cat([self(batch) for batch in images.split(batch_size or self.batch_size())]).to(images.device)

    def _locate(self) -> tuple[nn.Module, int]:
        """The module to stop at, and the number of its last call: if it runs twice, its last output counts."""
        modules, network = dict(self.model.named_modules()), type(self.model).__name__
        if self.layer == PENULTIMATE:
            candidates = [module for module in modules.values() if isinstance(module, nn.Linear)]
            if not candidates:
                raise ValueError(
                    f"layer={self.layer!r} is the input of the last linear layer, but {network} has none; "
                    f"name a layer, such as {_some(modules)}"
                )
        elif self.layer not in modules:
            near = difflib.get_close_matches(self.layer, modules, n=3, cutoff=0.4)
            raise ValueError(
                f"layer={self.layer!r} does not exist in {network}; did you mean {_some(near or modules)}?"
            )
        else:
            candidates = [modules[self.layer]]
        order: list[nn.Module] = []
        handles = [module.register_forward_pre_hook(lambda module, _: order.append(module)) for module in candidates]
        try:
            with torch.no_grad():
                self._frozen(self._example)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            shape = ", ".join(map(str, self._example.shape[1:]))
            raise ValueError(f"images of shape [N, {shape}] do not pass through {network}: {error}") from error
        finally:
            for handle in handles:
                handle.remove()
        if not order:
            raise ValueError(
                f"layer={self.layer!r} is never reached by the forward pass of {network}; choose a layer that runs"
            )
        return order[-1], order.count(order[-1])

    def _attach(self, module: nn.Module, last_call: int) -> None:
        def stop(*values: object) -> None:
            if self._calls is None:
                return  # somebody else's pass, such as a second representation of the same network
            self._calls += 1
            if self._calls == last_call:
                raise _Reached(values[-1])

        if self.layer == PENULTIMATE:
            self._hook = module.register_forward_pre_hook(lambda _, inputs: stop(inputs[0]))
        else:
            self._hook = module.register_forward_hook(lambda _, __, output: stop(output))

    def _pooled(self, output: object, images: Tensor) -> Tensor:
        n = len(images)
        if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != n:
            got = (
                f"a tensor of shape {tuple(output.shape)}"
                if isinstance(output, Tensor)
                else f"a {type(output).__name__}"
            )
            raise ValueError(
                f"layer={self.layer!r} gives {got} for {n} image(s), not one row an image; choose another layer"
            )
        if self.pool == "flatten" or output.ndim == 2:
            return output.flatten(1)
        if output.ndim == 4 and _channels_last(output.shape, images.shape):
            return output.mean(dim=(1, 2))
        return output.mean(dim=1) if output.ndim == 3 else output.flatten(2).mean(dim=2)


def _channels_last(features: torch.Size, images: torch.Size) -> bool:
    """True if a map is [N, H, W, C], as Swin's are: its second and third axes have the images' proportions."""
    _, a, b, c = features
    height, width = images[2:]
    first, last = (abs(math.log(h * width / (w * height))) for h, w in ((a, b), (b, c)))
    return first < last


def _some(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in list(names)[:12] if name)


def check_layer_name(layer: str | None, argument: str = "layer") -> None:
    """Raise a ValueError where a layer's name is empty, which PyTorch takes for the whole network."""
    if layer == "":
        raise ValueError(
            f"{argument}='' names no submodule; give a dotted name, such as 'stage3', or None for the input of the "
            "last linear layer"
        )


def check_pool(pool: str) -> None:
    """Raise a ValueError unless `pool` is one of `POOLS`."""
    if pool not in POOLS:
        raise ValueError(f"pool={pool!r} is unknown; use one of {', '.join(POOLS)}")


def check_batch_size(batch_size: int | None) -> None:
    """Raise a ValueError unless `batch_size` is a number of images, or None."""
    if batch_size is not None and not (isinstance(batch_size, Integral) and batch_size >= 1):
        raise ValueError(f"batch_size={batch_size} must be a whole number, at least 1, or None")


def features(
    model: nn.Module,
    images: Images,
    *,
    layer: str | None = None,
    pool: str = "mean",
    device: str | torch.device = "auto",
    batch_size: int | None = None,
) -> Float[Tensor, "n d"]:
    """Features of `images` at `layer`, on the images' own device.

    Args:
        model, layer, pool, device: as in `Representation`.
        images: as in `stir.data.images.gather_images`.
        batch_size: how many images are computed together, at least 1; None for 256, or fewer where the network keeps
            much for each.

    Raises:
        ValueError: as `Representation` and `gather_images`; or `batch_size` is out of range.
    """
    images = gather_images(images)
    check_batch_size(batch_size)
    with Representation(model, images, layer, pool=pool, device=device) as represent:
        return represent.in_batches(images, batch_size)
