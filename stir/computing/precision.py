"""Precision of the forward and backward passes: bfloat16 on devices that are fast at it."""

from __future__ import annotations

import torch

PRECISIONS = ("auto", "float32")  # "auto": bfloat16 where it is fast and safe


def fast_bf16(device: torch.device) -> bool:
    """Return whether `device` has instructions that make bfloat16 much faster than float32.

    Not measured: on a busy machine the answer, and with it the results, would vary from run to run.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Without these instructions, bfloat16 is converted and computed in float32.
        return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return False


def check_precision(precision: str) -> None:
    """Raise a ValueError unless `precision` is one of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
