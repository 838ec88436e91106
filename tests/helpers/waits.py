"""What a program waits for on a device, counted on a machine that has none."""

from __future__ import annotations

from contextlib import nullcontext
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("meta")  # computes shapes alone, and stands for a GPU
READS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)


class Waits(TorchDispatchMode):
    """Counts, in a `with` block, where a processor has to wait for `DEVICE`: numbers it reads there, copies that block.

    Args:
        answer: every number that is read there.
    """

    def __init__(self, answer=0):
        super().__init__()
        self.answer, self.count, self.copies = answer, 0, 0

    def __enter__(self):
        self._patch = patch("torch.autocast", lambda *_, **__: nullcontext())  # which knows no such device
        self._patch.start()
        return super().__enter__()

    def __exit__(self, *error):
        self._patch.stop()
        return super().__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        source = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if function in READS and source.is_meta:
            self.count += 1
            return self.answer
        if function is torch.ops.aten._to_copy.default:
            target = kwargs.get("device") or source.device
            if source.is_meta and target.type == "cpu":
                self.count += 1
                return torch.full(source.shape, self.answer, dtype=kwargs.get("dtype") or source.dtype)
            if not source.is_meta and target.type == "meta":
                self.copies += 1
                self.count += not kwargs.get("non_blocking")
        return function(*args, **kwargs)
