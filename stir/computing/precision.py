"""The precision that networks are computed in: bfloat16 where that is fast."""

from __future__ import annotations

import torch

PRECISIONS = ("auto", "float32")  # "auto": bfloat16 where that is fast and safe


def fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is much faster than float32 on `device`, by what the processor offers.

    Not by a measurement: on a busy machine it would decide now so and now otherwise, and with it the results.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Without these instructions bfloat16 is computed in float32, after a conversion.
        return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return False


def check_precision(precision: str) -> None:
    """Raise a ValueError unless `precision` is one of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
