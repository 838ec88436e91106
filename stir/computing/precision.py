"""Precision of the forward and backward passes: bfloat16 on devices that are fast at it, and exact float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

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


@contextmanager
def exact_float32(wanted: bool = True) -> Iterator[None]:
    """Have products and convolutions of float32 computed in float32, in a `with` block or as a decorator.

    PyTorch may round their factors to TF32, on a GPU by default in convolutions, or to bfloat16, on a CPU too, if it
    was told so (`torch.set_float32_matmul_precision`, `torch.backends.*.allow_tf32` and `.fp32_precision`). What was
    told holds again after the block.

    Args:
        wanted: False leaves all as it is.
    """
    if not wanted:
        yield
        return
    cudnn: Any = torch.backends.cudnn
    before = [(place, place.fp32_precision) for place in _places()]
    products = convolutions = None
    with suppress(RuntimeError):  # raised where settings were made that the older functions cannot express
        products = torch.get_float32_matmul_precision()
    with suppress(RuntimeError):
        convolutions = cudnn.allow_tf32
    # Both the older settings and the newer ones: where the two differ, PyTorch refuses to read the older.
    torch.set_float32_matmul_precision("highest")
    cudnn.allow_tf32 = False
    for place, _ in before:
        place.fp32_precision = "ieee"
    try:
        yield
    finally:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        if convolutions is not None:
            cudnn.allow_tf32 = convolutions
        for place, precision in before:
            place.fp32_precision = precision


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Have PyTorch make tensors in float32, whatever it was told by `torch.set_default_dtype`, in a `with` block."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _places() -> list[Any]:
    """The settings in which PyTorch 2.9 and later keep the precision of products and convolutions."""
    backends: Any = torch.backends
    if not hasattr(backends.cudnn, "conv"):
        return []
    return [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.matmul, backends.mkldnn.conv]
