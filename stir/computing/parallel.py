"""Networks computed in parallel on the cores of a CPU: threads for each network, and several networks at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import cloudpickle
import torch
from joblib import Parallel, delayed

from stir.computing.processes import end_with

# Floating-point operations in the forward pass of a batch. Measured: two threads train 1.3 to 1.7 times as fast as
# one at 8e9 operations, and hardly faster at 1e9 and below.
OPERATIONS_PER_THREAD = 4e9


def threads_for(operations: int | float) -> int:
    """Number of threads to train a network in, from the `operations` of its forward pass on one batch.

    At least one, at most as many as PyTorch uses in this process. It depends on nothing else that runs, because
    the number of threads changes sums by rounding, and with them the results.
    """
    return int(min(max(operations // OPERATIONS_PER_THREAD, 1), torch.get_num_threads()))


@contextmanager
def in_threads(count: int) -> Iterator[None]:
    """Have PyTorch use `count` CPU threads within the `with` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def side_by_side(
    function: Callable, tasks: Sequence[tuple], device: torch.device, *, threads: int = 1, at_least: int | float = 2
) -> Iterator:
    """Compute `function(*task)` for each task, and yield the results in order.

    On a CPU several tasks run at a time, each in a process of its own with an equal share of the cores, because
    networks of this size do not fill the cores alone. At most as many cores are used as PyTorch uses threads. The
    size of the share changes results by rounding. No such process outlives this one.

    Args:
        threads: the least number of cores in a share.
        at_least: fewer tasks than this run in this process, one after another.
    """
    cores = torch.get_num_threads()
    workers = min(len(tasks), cores // threads)
    if device.type != "cpu" or workers < 2 or len(tasks) < at_least:
        return (function(*task) for task in tasks)
    parallel = Parallel(n_jobs=workers, return_as="generator", initializer=end_with, initargs=(os.getpid(),))
    return iter(parallel(delayed(_with_threads)(cores // workers, function, task) for task in tasks))


def _with_threads(count: int, function: Callable, task: tuple) -> object:
    with in_threads(count):
        return function(*task)


def is_picklable(value: object) -> bool:
    """Return whether `value` can be sent to another process: a network that holds a lock or an open file cannot."""
    try:
        cloudpickle.dumps(value)
    except Exception:  # a custom module may raise anything here
        return False
    return True
