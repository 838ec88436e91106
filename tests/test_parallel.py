"""Threads, and tasks that run side by side."""

import os
import threading

import pytest
import torch

from stir.computing.parallel import OPERATIONS_PER_THREAD, in_threads, is_picklable, side_by_side, threads_for


def where(number):
    return number, os.getpid(), torch.get_num_threads()


@pytest.fixture
def cores(request):
    with in_threads(request.param):
        yield request.param


def test_threads_are_as_before_after_an_error():
    before = torch.get_num_threads()

    def fail():
        with in_threads(before + 1):
            raise RuntimeError(f"failed in {torch.get_num_threads()} threads")

    with pytest.raises(RuntimeError, match=f"failed in {before + 1} threads"):
        fail()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("cores", [4], indirect=True)
@pytest.mark.parametrize(("worth", "threads"), [(0, 1), (0.5, 1), (1.9, 1), (2, 2), (3.5, 3), (4, 4), (400, 4)])
def test_threads_grow_with_the_operations_up_to_the_cores(cores, worth, threads):
    assert threads_for(worth * OPERATIONS_PER_THREAD) == threads


@pytest.mark.parametrize(
    ("cores", "tasks", "least", "share"), [(4, 2, 1, 2), (4, 4, 2, 2), (6, 2, 3, 3)], indirect=["cores"]
)
def test_tasks_run_in_processes_of_their_own_and_share_the_cores(cores, tasks, least, share):
    results = side_by_side(where, [(number,) for number in range(tasks)], torch.device("cpu"), threads=least)
    numbers, processes, threads = zip(*results, strict=True)
    assert numbers == tuple(range(tasks)) and os.getpid() not in processes and set(threads) == {share}
    assert torch.get_num_threads() == cores


@pytest.mark.parametrize(
    ("cores", "tasks", "options"),
    [(1, 3, {}), (2, 1, {}), (2, 3, {"at_least": 4}), (3, 3, {"threads": 2})],
    indirect=["cores"],
)
def test_few_tasks_or_cores_stay_here(cores, tasks, options):
    results = list(side_by_side(where, [(number,) for number in range(tasks)], torch.device("cpu"), **options))
    assert results == [(number, os.getpid(), cores) for number in range(tasks)]


class Locked(torch.nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
        self.lock = threading.Lock()


def test_a_network_with_a_lock_is_not_picklable():
    assert is_picklable({"a": torch.nn.Linear(2, 2)})
    assert not is_picklable({"a": Locked()})
