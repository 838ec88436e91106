"""CKA of a stream equals that of the whole set, whatever the batches (its formula is tested in test_measures.py)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.representations import GOOD, REFERENCES, REFUSED, pair, seeds
from hypothesis import given
from hypothesis import strategies as st

from stir.similarity.cka import CKA, linear_cka, unbiased_cka

both_ckas = pytest.mark.parametrize("unbiased", [False, True], ids=["linear", "unbiased"])


def stream(x, y, sizes, unbiased):
    cka = CKA(unbiased)
    for part_x, part_y in zip(x.split(sizes), y.split(sizes)):
        assert cka.update(part_x, part_y) is cka
    return cka


@both_ckas
@given(
    sizes=st.lists(st.integers(1, 12), min_size=4, max_size=15), p=st.integers(1, 60), q=st.integers(1, 20), seed=seeds
)
def test_a_stream_gives_the_number_of_the_whole_set(unbiased, sizes, p, q, seed):
    x, y = pair(sum(sizes), p, q, seed)
    reference = REFERENCES["unbiased-cka" if unbiased else "linear-cka"](x.numpy(), y.numpy())
    close = pytest.approx(reference, rel=1e-8, abs=1e-10)
    assert stream(x, y, sizes, unbiased).compute() == close
    assert (unbiased_cka if unbiased else linear_cka)(x, y) == close


@both_ckas
@pytest.mark.parametrize("p", [4, 60], ids=["features", "Gram"])
def test_batches_of_one(unbiased, p):
    x, y = pair(50, p, 7)
    whole = CKA(unbiased).update(x, y).compute()
    assert stream(x, y, [1] * 50, unbiased).compute() == pytest.approx(whole, rel=1e-10)


@both_ckas
def test_a_batch_larger_than_a_chunk(unbiased):
    x, y = pair(1100, 5, 6)
    drift = torch.linspace(0, 9, 1100)[:, None]  # so that neither the first image nor the first chunk is typical
    expected = REFERENCES["unbiased-cka" if unbiased else "linear-cka"]((x + drift).numpy(), (y - drift).numpy())
    assert stream(x + drift, y - drift, [1100], unbiased).compute() == pytest.approx(expected, rel=1e-9)


@both_ckas
@pytest.mark.parametrize("p", [4, 60], ids=["features", "Gram"])
def test_computing_midway_changes_nothing(unbiased, p):
    x, y = pair(40, p, 5)
    cka = CKA(unbiased).update(x[:25], y[:25])
    assert cka.compute() == cka.compute() == CKA(unbiased).update(x[:25], y[:25]).compute()
    assert cka.update(x[25:], y[25:]).compute() == pytest.approx(CKA(unbiased).update(x, y).compute(), rel=1e-10)


@both_ckas
def test_a_stream_with_a_large_offset_and_small_deviation(unbiased):
    x, y = (1e3 + 0.1 * side for side in pair(400, 5, 6))
    reference = REFERENCES["unbiased-cka" if unbiased else "linear-cka"]
    expected = reference((x - x.mean(0)).numpy(), (y - y.mean(0)).numpy())
    assert stream(x, y, [1, 99, 150, 150], unbiased).compute() == pytest.approx(expected, rel=1e-9)
    x, y = x.float(), y.float()
    expected = reference(*((side - side.mean(0)).numpy() for side in (x.double(), y.double())))
    assert stream(x, y, [1, 99, 150, 150], unbiased).compute() == pytest.approx(expected, rel=1e-9)


@both_ckas
def test_a_stream_that_begins_with_an_outlier(unbiased):
    x, y = pair(300, 4, 5)
    x[0], y[0] = 1e3, -1e3
    expected = REFERENCES["unbiased-cka" if unbiased else "linear-cka"](x.numpy(), y.numpy())
    assert stream(x, y, [1, 99, 200], unbiased).compute() == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("p", [2, 30], ids=["features", "Gram"])
def test_a_caller_may_reuse_the_batch(p):
    x, y = pair(20, p, 2)
    cka, buffer = CKA(), torch.empty(10, p, dtype=torch.float64)
    for start in (0, 10):
        cka.update(buffer.copy_(x[start : start + 10]), y[start : start + 10])
    buffer.zero_()
    assert cka.compute() == pytest.approx(linear_cka(x, y), rel=1e-10)


def test_batches_may_come_from_inference_mode():
    x, y = pair(40, 3, 4)
    cka = CKA()
    with torch.inference_mode():
        cka.update(x[:20] + 0, y[:20] + 0)
    assert cka.update(x[20:], y[20:]).compute() == pytest.approx(linear_cka(x, y), rel=1e-10)


def test_fifty_thousand_images_of_512_features_take_under_a_gibibyte():
    script = """
import torch
from stir.similarity.cka import CKA
generator, cka = torch.Generator().manual_seed(0), CKA(unbiased=True)
for size in [7000, 1] + [4777] * 9:
    cka.update(*torch.randn(2, size, 512, generator=generator))
assert cka._count == 49_994, cka._count
print(cka.compute(), PEAK)
"""
    # What getrusage calls a child's peak counts what its parent held when it forked; VmHWM does not.
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak memory of a process is read from Linux's /proc")
    peak = "int(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1]) / 2**20"
    script = script.replace("PEAK", peak)
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    value, gibibytes = map(float, output.split())
    assert abs(value) < 1e-3
    assert gibibytes < 1  # of the whole process, PyTorch included


@both_ckas
@pytest.mark.parametrize("case", ["integers", "one-dimensional", "no features", "nan", "infinite", "other count"])
def test_a_stream_refuses_a_bad_batch_and_stays_as_it_was(unbiased, case):
    bad, message = REFUSED[case]
    cka = CKA(unbiased)
    for _ in range(2):  # as the first batch, and after a good one
        with pytest.raises(ValueError, match=re.escape(message)):
            cka.update(bad, GOOD)
        cka = CKA(unbiased).update(GOOD, GOOD.roll(1, 0))
    before = cka.compute()
    with pytest.raises(ValueError, match=re.escape(message)):
        cka.update(bad, GOOD)
    assert cka.compute() == before


def test_a_stream_refuses_a_batch_of_none_and_another_width():
    cka = CKA().update(GOOD, GOOD)
    with pytest.raises(ValueError, match="x holds 0 images; pass at least 1"):
        cka.update(GOOD[:0], GOOD[:0])
    with pytest.raises(ValueError, match="y has 2 features, after batches of 3; use one CKA per pair of layers"):
        cka.update(GOOD, GOOD[:, :2])
    assert cka.compute() == pytest.approx(1, abs=1e-12)


@both_ckas
def test_a_stream_counts_and_compares_only_when_asked(unbiased):
    cka = CKA(unbiased)
    with pytest.raises(ValueError, match="x and y hold 0 images; pass at least 4"):
        cka.compute()
    constant = torch.full((3, 3), 0.1)
    cka.update(constant, GOOD[:3])
    with pytest.raises(ValueError, match="x and y hold 3 images; pass at least 4"):
        cka.compute()
    cka.update(constant, GOOD[3:6])
    with pytest.raises(ValueError, match="^x is constant"):
        cka.compute()
    for _ in range(4):  # past the width, where only the moments are kept
        cka.update(constant, GOOD[:3])
    with pytest.raises(ValueError, match="^x is constant"):
        cka.compute()
    assert 0 < cka.update(GOOD[:4], GOOD[:4]).compute() < 1
