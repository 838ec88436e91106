"""Many networks on the cores of a CPU: threads for each, and several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import cloudpickle
import torch
from joblib import Parallel, delayed

# Of a batch's forward pass. Two threads were measured to train 1.3 to 1.7 times as fast as one at 8e9, and hardly faster at 1e9 and below.
OPERATIONS_A_THREAD = 4e9


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


def side_by_side(
    function: Callable, tasks: Sequence[tuple], device: torch.device, *, threads: int = 1, at_least: int | float = 2
) -> Iterator:
    """`function(*task)` of each task, in order.

    On a CPU they are computed several at a time, in processes of their own with a share of the cores each, of at least `threads`:
    networks of this size do not fill the cores one at a time. At most as many cores are used as PyTorch uses threads. Fewer
    tasks than `at_least` are computed here, one after another. A share of other size moves results by rounding.
    """
    cores = torch.get_num_threads()
    workers = min(len(tasks), cores // threads)
    if device.type != "cpu" or workers < 2 or len(tasks) < at_least:
        return (function(*task) for task in tasks)
    return Parallel(n_jobs=workers, return_as="generator")(
        delayed(_with_threads)(cores // workers, function, task) for task in tasks
    )


def _with_threads(count: int, function: Callable, task: tuple) -> object:
    with in_threads(count):
        return function(*task)


def is_picklable(thing: object) -> bool:
    """Whether another process can be handed `thing`: a network that holds a lock or an open file cannot."""
    try:
        cloudpickle.dumps(thing)
    except Exception:  # whatever it is that a network's own parts object with
        return False
    return True
