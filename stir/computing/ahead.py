"""Work done ahead in a thread, and tensors sent to a device without waiting for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Groups = tuple[tuple[Tensor, ...], ...]

AHEAD = 4  # items that wait to be used


def ahead(items: Iterable[Item], count: int = AHEAD) -> Iterator[Item]:
    """Yield `items`, while another thread computes the next `count` of them."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, iterator, end) for _ in range(count))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, iterator, end))
            yield item  # type: ignore[misc]


def on_device(items: Iterable[Groups], device: torch.device) -> Iterator[Groups]:
    """Yield groups of tensors on `device`, without waiting for it.

    For a GPU they are computed ahead, since its launches take this thread's time, and copied from pinned memory: from
    any other, a copy waits until the GPU has done all that it was told before.
    """
    if device.type == "cuda":
        items = ahead(tuple(tuple(tensor.pin_memory() for tensor in group) for group in item) for item in items)
    blocking = device.type == "mps"  # which may read a source that is gone
    for item in items:
        yield tuple(tuple(tensor.to(device, non_blocking=not blocking) for tensor in group) for group in item)
