"""Batches that fit in memory: their size, and halves of them where a device runs out of it."""

from __future__ import annotations

import gc
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import TypeVar

import torch
from torch import Tensor

# Messages of PyTorch's allocators and of the libraries below it, on CPUs, CUDA and MPS.
SIGNS = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed", "bad_alloc")
# All that oneDNN, which computes on CPUs, says then; where an operation is not there, it says more.
ONEDNN_SIGNS = ("could not create a primitive", "could not execute a primitive")

Result = TypeVar("Result")

BATCH_SIZE = 256  # most images that are computed together, except on a GPU
MEMORY = 2**30  # most bytes that passes may keep for their gradients, except on a GPU


def memory_for(device: torch.device) -> int:
    """Most bytes that passes on `device` may keep for their gradients.

    On a GPU a quarter of its memory, so that equal seeds give equal results whatever else was computed before, or half
    of what is free, where other processes have taken most of it.
    """
    if device.type != "cuda":
        return MEMORY
    free, total = torch.cuda.mem_get_info(device)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # PyTorch's own, to be used again
    return available_on_gpu(free + cached, total)


def available_on_gpu(free: int, total: int) -> int:
    """Bytes that `memory_for` allows on a GPU: a quarter of its memory, or half of the free memory if less."""
    return min(total // 4, free // 2)


def most_images(kind: str) -> int | float:
    """Most images in a batch, by kind of device; without limit on a GPU, which small batches leave idle."""
    return math.inf if kind == "cuda" else BATCH_SIZE


def images_at_once(count: int, kind: str, available: int, each: int) -> int:
    """Size of the batches for `count` images, at least 1.

    Args:
        kind: of the device, such as "cuda".
        available: bytes for all of them.
        each: bytes that each needs.
    """
    fitting = max(1, available // max(each, 1))
    if most_images(kind) < math.inf:
        return int(min(most_images(kind), fitting))
    # As many in each batch: a last one of a few images would take about as long as a full one.
    return math.ceil(count / math.ceil(count / fitting))


def check_batch_size(batch_size: int | None) -> None:
    """Raise a ValueError unless `batch_size` is a number of images, or None."""
    if batch_size is not None and not (isinstance(batch_size, Integral) and batch_size >= 1):
        raise ValueError(f"batch_size={batch_size} must be a whole number, at least 1, or None")


def kept_for_gradient(compute: Callable[[], object]) -> int:
    """Bytes that PyTorch keeps of a computation for its gradient."""
    sizes: dict[int, int] = {}  # by address, as several operations and views may keep the same storage

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        compute()
    return sum(sizes.values())


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that a device has no more memory."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and (any(sign in message for sign in SIGNS) or message in ONEDNN_SIGNS)


def in_batches(compute: Callable[[slice], Result], count: int, size: int) -> Iterator[Result]:
    """Yield `compute(batch)` for the slices of `size`, one after another, that make up 0 to `count`.

    Out of memory, the slice at hand and all later ones are halved.

    Raises:
        MemoryError: a single image is too much.

    Warns:
        UserWarning: slices were halved.
    """
    start = 0
    while start < count:
        batch = slice(start, min(start + size, count))
        try:
            result = compute(batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0] or type(error).__name__
        else:
            yield result
            start = batch.stop
            continue
        # Here, where the error no longer holds the tensors of the pass.
        free_memory()
        if batch.stop - start == 1:
            raise too_little(reason)
        size = (batch.stop - start) // 2
        warnings.warn(
            f"memory does not suffice for {batch.stop - start} images at once ({reason}); going on with {size}: give "
            f"batch_size={size} from the start",
            stacklevel=3,
        )


def too_little(reason: object) -> MemoryError:
    """The error where a single image does not fit."""
    return MemoryError(
        f"memory does not suffice for a single image ({str(reason).partition(chr(10))[0]}); take smaller images, a "
        "smaller network or an earlier layer, or another device, such as device='cpu'"
    )


@contextmanager
def memory_told(remedy: str = "take fewer or smaller images, a smaller network, or another device") -> Iterator[None]:
    """Turn out-of-memory errors, in a `with` block or as a decorator, into a MemoryError with the remedy."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(f"memory does not suffice ({str(error).partition(chr(10))[0]}); {remedy}") from error


def free_memory() -> None:
    """Hand memory that is no longer in use back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
