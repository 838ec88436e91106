"""Work done ahead in a thread comes in order, and stops where its user stops."""

import threading

import pytest
import torch
from helpers.waits import DEVICE, Waits

from stir.computing.ahead import AHEAD, ahead, on_device


def test_items_come_in_order_and_are_computed_by_another_thread():
    threads = []

    def items():
        for number in range(20):
            threads.append(threading.current_thread())
            yield number

    assert list(ahead(items())) == list(range(20))
    assert threading.current_thread() not in threads and len(set(threads)) == 1
    assert list(ahead([])) == []


def test_only_a_few_are_computed_ahead():
    begun = []
    items = (begun.append(number) or number for number in range(100))
    taken = ahead(items)
    assert [next(taken), next(taken)] == [0, 1]
    taken.close()  # waits for what is under way
    assert len(begun) <= 2 + AHEAD


def test_an_error_comes_where_its_item_would():
    def items():
        yield 1
        raise ValueError("no second")

    taken = ahead(items())
    assert next(taken) == 1
    with pytest.raises(ValueError, match="no second"):
        next(taken)


def test_tensors_on_the_device_are_those_that_were_given():
    groups = [((torch.full((2,), number),), (), (torch.rand(3), torch.rand(4))) for number in range(3)]
    for given, taken in zip(groups, on_device(iter(groups), torch.device("cpu")), strict=True):
        assert [len(group) for group in taken] == [1, 0, 2]
        pairs = [pair for each in zip(given, taken, strict=True) for pair in zip(*each, strict=True)]
        assert all(torch.equal(*pair) for pair in pairs)
    with Waits() as counted:
        assert all(tensor.is_meta for item in on_device(groups, DEVICE) for group in item for tensor in group)
    assert (counted.count, counted.copies) == (0, 9)


def test_a_gpu_gets_the_same(gpu):
    groups = [((torch.rand(5),), (torch.arange(3),)) for _ in range(10)]
    for ((one,), (two,)), ((first,), (second,)) in zip(groups, on_device(groups, gpu), strict=True):
        assert first.is_cuda and torch.equal(first.cpu(), one) and torch.equal(second.cpu(), two)
