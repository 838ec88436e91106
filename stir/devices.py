"""Where tensors are computed, in which precision, and how many things at a time."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import cloudpickle
import torch
from joblib import Parallel, delayed

PRECISIONS = ("auto", "float32")  # "auto": bfloat16 where that is fast and safe
# Of a batch's forward pass. Two threads were measured to train 1.3 to 1.7 times as fast as one at 8e9, and hardly faster at 1e9 and below.
OPERATIONS_A_THREAD = 4e9


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


@contextmanager
def reproducible() -> Iterator[None]:
    """Within, cuDNN takes only algorithms that add up in a fixed order; what else PyTorch calls nondeterministic on a GPU may still vary by rounding."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


def threads_for(operations: int | float) -> int:
    """How many of the cores a network trains on, whose forward pass of a batch takes `operations`: one, or more if it fills them.

    Never more than PyTorch uses in this process. Nothing else that is computed plays a part, for the number of threads moves
    sums by rounding, and with them the results.
    """
    return int(min(max(operations // OPERATIONS_A_THREAD, 1), torch.get_num_threads()))


@contextmanager
def in_threads(count: int) -> Iterator[None]:
    """Within, PyTorch computes in `count` threads on the CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def side_by_side(function: Callable, tasks: Sequence[tuple], device: torch.device, *, threads: int = 1, at_least: int | float = 2) -> Iterator:
    """`function(*task)` of each task, in order.

    On a CPU they are computed several at a time, in processes of their own with a share of the cores each, of at least `threads`:
    networks of this size do not fill the cores one at a time. At most as many cores are used as PyTorch uses threads. Fewer
    tasks than `at_least` are computed here, one after another. A share of other size moves results by rounding.
    """
    cores = torch.get_num_threads()
    workers = min(len(tasks), cores // threads)
    if device.type != "cpu" or workers < 2 or len(tasks) < at_least:
        return (function(*task) for task in tasks)
    return Parallel(n_jobs=workers, return_as="generator")(delayed(_with_threads)(cores // workers, function, task) for task in tasks)


def _with_threads(count: int, function: Callable, task: tuple) -> object:
    with in_threads(count):
        return function(*task)


def can_be_sent(thing: object) -> bool:
    """Whether another process can be handed `thing`: a network that holds a lock or an open file cannot."""
    try:
        cloudpickle.dumps(thing)
    except Exception:  # whatever it is that a network's own parts object with
        return False
    return True


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
