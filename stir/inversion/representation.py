"""Representations: the features [N, D] of images at a layer of any network."""

from __future__ import annotations

import warnings
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from stir.computing.devices import resolve_device
from stir.computing.memory import (
    check_batch_size,
    images_at_once,
    in_batches,
    is_out_of_memory,
    kept_for_gradient,
    memory_for,
    memory_told,
    most_images,
    too_little,
)
from stir.computing.precision import exact_float32, fast_bf16
from stir.data.images import Images, check_images, gather_images
from stir.inversion.layers import PENULTIMATE, Place, check_layer_name, find_place
from stir.inversion.pooling import check_pool, pooled
from stir.networks.frozen import Frozen, close


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
        layer: dotted name of a submodule, whose output is taken, and of tuples, dicts and Hugging Face's objects the
            first tensor; with "#2" after it the output of its second run, needed where it runs more than once. None or
            "penultimate" for the input of the last linear layer, or, of a network that ends with none, its output
            (see `stir.inversion.layers.find_place`).
        pool: "mean" averages a feature map [N, C, H, W] or [N, H, W, C] over space and tokens
            [N, T, D] over tokens; "flatten" keeps all their entries; "cls" takes the first token.
        device: where to compute.
        name: of the network, in warnings; None for that of its type.

    Raises:
        ValueError: images that are no images (see `check_images`) or that the network cannot take,
            an unknown layer or an empty name, one that the forward pass never reaches or several times, no default
            layer where one is needed, or a layer whose output has not one row an image.

    Warns:
        UserWarning: features depend on the batch size or, because the network is random in eval mode, on chance.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        layer: str | None = None,
        *,
        pool: str = "mean",
        device: str | torch.device = "auto",
        name: str | None = None,
    ) -> None:
        check_images(images)
        check_pool(pool)
        check_layer_name(layer)
        self.model = model
        self.layer = PENULTIMATE if layer is None else layer
        self.pool = pool
        self.device = resolve_device(device)
        self._name = name
        self._example, self._some = images[:1], images[:8]

    @memory_told()
    @torch.inference_mode(False)  # a pass may need a gradient to find the layer
    def __enter__(self) -> Representation:
        self._frozen = Frozen(self.model, self.device).__enter__()
        self._place: Place
        self._hook: RemovableHandle | None = None
        self._calls: int | None = None  # of the layer in the pass under way; None between passes
        try:
            self._place = find_place(self._frozen, self.layer, self._example)
            self._attach()
            # A wrong output of the layer shows here, before any work.
            self._frozen.fold(lambda: self(self._example), exclude=self._place.module)
            of_batches = [name for name, module in self.model.named_modules() if _normalizes_batches(module)]
            if of_batches:
                warnings.warn(
                    f"{of_batches[0]!r} normalizes by each batch's own statistics, so that features depend on "
                    "batch_size; give it running statistics",
                    stacklevel=4,
                )
            self._warn_of_chance()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _warn_of_chance(self) -> None:
        """Warn where two passes of one image differ by more than the rounding of operations without a fixed order."""
        with torch.no_grad():
            first, second = (self(self._example).float() for _ in range(2))
        if (second - first).norm() > self._frozen.tolerance * first.norm():  # not for NaN, as `close` would
            network = type(self._frozen.model).__name__ if self._name is None else f"network {self._name!r}"
            warnings.warn(
                f"{network} gives the same image different features at each pass, at layer={self.layer!r}: it is "
                "random in eval mode too, so that whatever is measured of it depends on chance; switch that off in "
                "eval mode, as F.dropout(x, training=self.training) does",
                stacklevel=1,  # so that Python shows it once, and not for each place that represents images
            )

    def __exit__(self, *_: object) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._frozen.__exit__()

    @property
    def taken(self) -> str:
        """Name of the layer; for the default one, also of the module that it stands for in this network."""
        return self._place.name

    @cached_property
    def _example_features(self) -> Tensor:
        with torch.no_grad():
            return self(self._example)

    @property
    def dim(self) -> int:
        """Feature dimension, d."""
        return self._example_features.shape[1]

    @torch.inference_mode(False)
    @torch.enable_grad()
    def check_gradient(self) -> None:
        """Raise a ValueError unless a gradient passes from the features back to the images."""
        generator, reason = torch.Generator().manual_seed(0), "it is flat there"
        for image in self._some.split(1):
            pixels = image.detach().clone().requires_grad_(True)
            features = self(pixels)
            if not features.requires_grad:
                reason = "part of it runs under torch.no_grad, is detached, or has no derivative, as argmax has none"
                break
            # Not the length, which is flat if the network normalizes it.
            weights = torch.randn(features.shape, generator=generator).to(features)
            try:
                (gradient,) = torch.autograd.grad((features * weights).sum(), pixels)
            except RuntimeError as error:
                reason = str(error)
                break
            if gradient.count_nonzero():
                return
        raise ValueError(
            f"layer={self.layer!r}: no gradient passes through {type(self._frozen.model).__name__} to the images: "
            f"{reason}; an inverted network, and the target of a worst case, must be differentiable up to the layer"
        )

    @cached_property
    def half_works(self) -> bool:
        """True if bfloat16 is fast on the device and changes the features by at most a tenth of their length."""
        if self._frozen.dtype != torch.float32 or not fast_bf16(self.device):
            return False
        with torch.no_grad():
            try:
                return close(self(self._example, half=True).float(), self._example_features, 0.1)
            except Exception:  # an operation that has no bfloat16, an assertion, a hook of the user's
                return False

    def batch_size(self, count: int, beside: int = 0) -> int:
        """Size of the batches for `count` images, by `stir.computing.memory.images_at_once`.

        Args:
            beside: bytes that each image needs besides those of its pass.
        """
        each = self.memory_per_image + beside
        return images_at_once(count, self.device.type, memory_for(self.device), each)

    @cached_property
    def memory_per_image(self) -> int:
        """Bytes that a pass keeps for its gradient, for each image."""
        one = 0
        try:
            one = self._memory(1)
            # Weights and the like are kept once for all images; where so much memory matters, a second pass tells them.
            fit = one * most_images(self.device.type) <= memory_for(self.device)
            return one if fit else self._memory(2) - one
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if one:
                return one
            raise too_little(error) from error

    def _memory(self, count: int) -> int:
        """Bytes that a pass of `count` images keeps for its gradient."""
        images = self._example.repeat(count, 1, 1, 1).requires_grad_(True)
        return kept_for_gradient(lambda: self(images))

    def __call__(self, images: Tensor, half: bool = False) -> Float[Tensor, "n d"]:
        """Features of `images`, on the device, in the network's own precision.

        Args:
            half: compute in bfloat16, where PyTorch finds that safe.
        """
        self._calls = 0
        try:
            self._frozen(images, half)
        except _Reached as reached:
            return pooled(reached.output, self._place, images, self.layer, self.pool)
        finally:
            self._calls = None
        raise ValueError(
            f"layer={self.layer!r}: the forward pass did not reach it this time; choose a layer that always runs"
        )

    def in_batches(self, images: Tensor, batch_size: int | None = None) -> Float[Tensor, "n d"]:
        """Features of `images`, `batch_size` at a time and without gradients, on the images' own device."""
        with torch.no_grad(), memory_told(), exact_float32():  # these are what is compared
            parts = in_batches(
                lambda batch: self(images[batch]), len(images), batch_size or self.batch_size(len(images))
            )
            return torch.cat([*parts]).to(images.device)

    def _attach(self) -> None:
        place = self._place

        def stop(value: object) -> None:
            if self._calls is None:
                return  # somebody else's pass, such as a second representation of the same network
            self._calls += 1
            if self._calls == place.run:
                raise _Reached(value)

        if place.at_input:
            self._hook = place.module.register_forward_pre_hook(lambda _, *values: stop(values), with_kwargs=True)
        else:
            self._hook = place.module.register_forward_hook(lambda _, __, output: stop(output))


def _normalizes_batches(module: nn.Module) -> bool:
    """True of a batch norm without running statistics, also in eval mode."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None


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
            much for each; on a GPU for as many as fit.

    Raises:
        ValueError: as `Representation` and `gather_images`; or `batch_size` is out of range.

    Warns:
        UserWarning: as `Representation`.
    """
    images = gather_images(images)
    check_batch_size(batch_size)
    with Representation(model, images, layer, pool=pool, device=device) as represent:
        return represent.in_batches(images, batch_size)
