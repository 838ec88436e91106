"""Where tensors are computed, and in which precision."""

from __future__ import annotations

import platform

import torch

PRECISIONS = ("auto", "float32")  # "auto": bfloat16 where that is fast and safe


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The device that `device` names; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        ValueError: the name is no device of PyTorch's, or this machine lacks it.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"device={device!r} cannot be used here ({reason}); use 'auto', 'cpu', 'cuda' or 'mps'"
        ) from error
    return resolved


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


def hardware(device: torch.device) -> str:
    """One line that names the machine a result was computed on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux: the platform's own name has to do
    cores = torch.get_num_threads()
    return f"{name}, {cores} core{'s' if cores != 1 else ''}"
