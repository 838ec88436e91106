"""Choice of the device, reproducible algorithms on it, and its name."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

CORES = re.compile(r"(.*), (\d+) cores?")  # how `hardware` names a processor


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device called `device`; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        ValueError: PyTorch knows no such device, or this machine lacks it.
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


@contextmanager
def reproducible() -> Iterator[None]:
    """Restrict cuDNN to deterministic algorithms, in a `with` block or as a decorator.

    Operations outside cuDNN that PyTorch lists as nondeterministic on a GPU may still vary by rounding.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


def hardware(device: torch.device) -> str:
    """Return one line that names the GPU, or the processor and the number of cores in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux, or it gives no name: keep the one from `platform`
    cores = torch.get_num_threads()
    return f"{name}, {cores} core{'s' if cores != 1 else ''}"


def listed_hardware(lines: Iterable[str]) -> str:
    """Return what `hardware` has said of several runs in a few words: "AMD EPYC, 1 or 2 cores"."""
    cores: dict[str, set[int]] = {}
    for line in lines:
        match = CORES.fullmatch(line)
        cores.setdefault(match[1] if match else line, set()).update({int(match[2])} if match else ())
    names = []
    for name, counts in sorted(cores.items()):
        numbers = " or ".join(map(str, sorted(counts)))
        names.append(f"{name}, {numbers} core{'' if counts == {1} else 's'}" if counts else name)
    return "; ".join(names)
