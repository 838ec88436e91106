"""Which device, and its name."""

import os
import threading
from pathlib import Path

import pytest
import torch

from stir.computing.devices import hardware, resolve_device
from stir.computing.parallel import OPERATIONS_A_THREAD, is_picklable, in_threads, side_by_side, threads_for
from stir.computing.precision import fast_bf16


def test_names_and_devices():
    assert resolve_device("cpu") == resolve_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize(("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device().type == resolve_device("auto").type == expected


@pytest.mark.parametrize("name", ["abacus", "", "cuda:99"])
def test_devices_that_are_not_here(name):
    with pytest.raises(ValueError, match=f"device='{name}' cannot be used here .*; use 'auto', 'cpu', 'cuda' or 'mps'"):
        resolve_device(name)


def test_hardware_is_one_line():
    line = hardware(torch.device("cpu"))
    assert line and "\n" not in line and f"{torch.get_num_threads()} core" in line


def test_fast_bf16_is_what_the_processor_offers():
    flags = Path("/proc/cpuinfo")
    if not flags.exists():
        pytest.skip("needs Linux, which says what the processor offers")
    text = flags.read_text(encoding="utf-8")
    assert fast_bf16(torch.device("cpu")) == ("avx512_bf16" in text or "amx_tile" in text)
    assert not fast_bf16(torch.device("mps"))


def where(number):
    return number, os.getpid(), torch.get_num_threads()


@pytest.fixture
def cores(request):
    with in_threads(request.param):
        yield request.param


def test_threads_are_as_before_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="the reason"), in_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise RuntimeError("the reason")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("cores", [4], indirect=True)
@pytest.mark.parametrize(("worth", "threads"), [(0, 1), (0.5, 1), (1.9, 1), (2, 2), (3.5, 3), (4, 4), (400, 4)])
def test_threads_grow_with_the_operations_up_to_the_cores(cores, worth, threads):
    assert threads_for(worth * OPERATIONS_A_THREAD) == threads


@pytest.mark.parametrize(("cores", "tasks", "least", "share"), [(4, 2, 1, 2), (4, 4, 2, 2), (6, 2, 3, 3)], indirect=["cores"])
def test_tasks_run_in_processes_of_their_own_and_share_the_cores(cores, tasks, least, share):
    found = side_by_side(where, [(number,) for number in range(tasks)], torch.device("cpu"), threads=least)
    numbers, processes, threads = zip(*found, strict=True)
    assert numbers == tuple(range(tasks)) and os.getpid() not in processes and set(threads) == {share}
    assert torch.get_num_threads() == cores


@pytest.mark.parametrize(("cores", "tasks", "options"), [(1, 3, {}), (2, 1, {}), (2, 3, {"at_least": 4}), (3, 3, {"threads": 2})], indirect=["cores"])
def test_few_tasks_or_cores_stay_here(cores, tasks, options):
    found = list(side_by_side(where, [(number,) for number in range(tasks)], torch.device("cpu"), **options))
    assert found == [(number, os.getpid(), cores) for number in range(tasks)]


def test_what_is_picklable():
    net = torch.nn.Linear(2, 2)
    assert is_picklable({"a": net})
    net.lock = threading.Lock()
    assert not is_picklable({"a": net})
