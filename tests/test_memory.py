"""Out of memory, batches are halved; the results are those of whole ones."""

import re
import subprocess
import sys

import pytest
import torch
from helpers.processes import ENVIRONMENT
from torch import nn

import stir
from stir.computing.memory import available_on_gpu, images_at_once, in_batches, is_out_of_memory
from stir.data import Split
from stir.training.attacks import PGD

ERRORS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"),
    "cpu": RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 2 bytes."),
    "linux": RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    "cudnn": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "onednn": RuntimeError("could not create a primitive"),
    "c++": RuntimeError("std::bad_alloc"),
    "python": MemoryError(),
}
IMAGES = torch.rand(11, 1, 4, 4, generator=torch.Generator().manual_seed(0))
QUIET = {"device": "cpu", "progress": False}


class Small(nn.Module):
    """A device with room for a few images."""

    def __init__(self, most, error=ERRORS["cpu"]):
        super().__init__()
        torch.manual_seed(0)
        self.most, self.error, self.seen = most, error, []
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, x):
        if len(x) > self.most:
            raise self.error
        self.seen.append(len(x))
        return self.body(x)


@pytest.mark.parametrize("kind", ERRORS)
def test_what_says_that_memory_is_out(kind):
    assert is_out_of_memory(ERRORS[kind])
    model = Small(3, ERRORS[kind])
    with pytest.warns(UserWarning, match=r"memory does not suffice for 11 images at once .* give batch_size=5 from"):
        found = stir.features(model, IMAGES, device="cpu")
    assert torch.allclose(found, stir.features(model.body, IMAGES, device="cpu"))


def test_other_errors_are_no_lack_of_memory():
    assert not any(map(is_out_of_memory, (RuntimeError("boom"), ValueError("out of memory"), KeyboardInterrupt())))
    with pytest.raises(RuntimeError, match="boom"):
        list(in_batches(lambda batch: (_ for _ in ()).throw(RuntimeError("boom")), 3, 2))


def test_batches_are_the_usual_ones_and_halve_from_there_on():
    assert [*in_batches(lambda batch: (batch.start, batch.stop), 7, 3)] == [(0, 3), (3, 6), (6, 7)]

    def compute(batch):
        if batch.start >= 4 and batch.stop - batch.start > 2:
            raise ERRORS["cpu"]
        return batch.start, batch.stop

    with pytest.warns(UserWarning, match="4 images at once .* going on with 2"):
        assert [*in_batches(compute, 11, 4)] == [(0, 4), (4, 6), (6, 8), (8, 10), (10, 11)]


GIB, MIB = 2**30, 2**20


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_the_batch_where_there_is_no_gpu(kind):
    assert [images_at_once(10_000, kind, GIB, each) for each in (0, 1_000, 4 * MIB, 5 * MIB, 2 * GIB)] == [
        256,
        256,
        256,
        204,
        1,
    ]
    assert images_at_once(3, kind, GIB, 1) == 256  # whatever the number of images


def test_the_batch_on_a_gpu_is_as_large_as_memory_allows_and_all_are_alike():
    # ResNet18 of full width keeps some 6 MiB an image.
    for gib in (10, 20, 35):
        sizes = {count: images_at_once(count, "cuda", gib * GIB, 6 * MIB) for count in (100, 300, 1_000, 3_000, 10_000)}
        for count, size in sizes.items():
            fitting = gib * GIB // (6 * MIB)
            batches = -(-count // size)
            assert size <= fitting and batches == -(-count // fitting)  # no more batches than must be
            assert batches * size - count < batches  # the last is as large as the others
    assert images_at_once(10_000, "cuda", 35 * GIB, 1) == 10_000
    assert images_at_once(10, "cuda", GIB, 2 * GIB) == 1


def test_what_of_a_gpu_may_be_used():
    assert available_on_gpu(78 * GIB, 80 * GIB) == available_on_gpu(41 * GIB, 80 * GIB) == 20 * GIB
    assert available_on_gpu(10 * GIB, 80 * GIB) == 5 * GIB  # others have the rest


def test_an_inversion_in_smaller_batches():
    model, whole = Small(3), Small(99)
    with pytest.warns(UserWarning, match="going on with 2"):
        found = stir.invert(model, IMAGES, steps=20, **QUIET)
    expected = stir.invert(whole, IMAGES, steps=20, batch_size=2, **QUIET)
    assert max(model.seen) == 2 and torch.allclose(found.images, expected.images, atol=1e-5)
    with pytest.warns(UserWarning, match="going on with 2"):
        found = stir.controversial(model, whole, IMAGES, steps=20, **QUIET)
    expected = stir.controversial(whole, whole, IMAGES, steps=20, batch_size=2, **QUIET)
    assert torch.allclose(found.images, expected.images, atol=1e-5)


def test_accuracy_in_smaller_batches():
    split = Split(IMAGES, torch.arange(11) % 3)
    for attack in (None, PGD("linf", 0.1, 3)):
        with pytest.warns(UserWarning, match="going on with 2"):
            found = stir.accuracy(Small(3), split, attack=attack, device="cpu")
        assert found == stir.accuracy(Small(99), split, attack=attack, batch_size=2, device="cpu")


def test_a_single_image_that_does_not_fit():
    message = r"memory does not suffice for a single image \(DefaultCPUAllocator: .*\); take smaller images, a smaller"
    for call in (stir.features, stir.invert):
        with pytest.raises(MemoryError, match=message):
            call(Small(0), IMAGES, device="cpu")
    with pytest.raises(MemoryError, match=message):
        stir.accuracy(Small(0), Split(IMAGES, torch.arange(11) % 3), device="cpu")
    with pytest.raises(MemoryError, match=f"network 'b': {message}"):
        stir.pairwise({"a": Small(99), "b": Small(0)}, IMAGES, **QUIET)


def test_in_a_gpus_memory_batches_are_halved(gpu):
    # Of weights so little that their copies do not count, and 16 MiB an image.
    wide = [nn.Conv2d(1, 4096, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4096, 1)]
    model, images = nn.Sequential(*wide).eval(), torch.rand(64, 1, 32, 32)
    expected = stir.features(model, images, device="cpu", batch_size=8)
    total = torch.cuda.get_device_properties(gpu).total_memory
    torch.cuda.set_per_process_memory_fraction((2**29 + torch.cuda.memory_reserved(gpu)) / total)
    try:
        with pytest.warns(UserWarning, match="memory does not suffice for 64 images"):
            found = stir.features(model, images, device=gpu, batch_size=64)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert torch.allclose(found, expected, atol=1e-2)


# A child whose memory is limited for real, to that of PyTorch and so many MiB.
LIMITED = """
import resource, sys, warnings
import torch
import stir
from stir.data import Split
from stir.training.loop import train
from stir.training.recipe import Recipe

def settle():  # the limit stays above what is in use
    with open("/proc/self/status") as lines:
        used = next(int(line.split()[1]) for line in lines if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (used * 1024 + MIB * 2**20, resource.RLIM_INFINITY))

torch.set_num_threads(1)
torch.manual_seed(0)
model, images = stir.build_model("resnet18", 10, width=64).eval(), torch.rand(128, 3, 64, 64)
split, quiet = Split(images, torch.arange(128) % 10), dict(device="cpu", progress=False)
large = torch.rand(1, 3, 1024, 1024)  # its first convolution takes 256 MiB, more than what was freed can hold
expected = stir.features(model, images, device="cpu", batch_size=8)
settle()
with warnings.catch_warnings(record=True) as warned:
    try:
        CALL
    except MemoryError as error:
        print("MemoryError:", error)
    print(*(str(warning.message) for warning in warned))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to RLIMIT_AS")
@pytest.mark.parametrize(
    ("call", "mib", "told"),
    [
        (
            "print(torch.allclose(stir.features(model, images, device='cpu', batch_size=128), expected, atol=1e-4))",
            100,
            r"True\nmemory does not suffice for 128 images at once \(.*can't allocate memory.*going on with 64",
        ),
        ("stir.features(model, large, device='cpu')", 100, "^MemoryError: memory does not suffice .*; take .* smaller"),
        ("stir.invert(model, large, steps=1, **quiet)", 100, "^MemoryError: memory does not suffice .*; take "),
        ("train(model, split, Recipe(epochs=1), **quiet)", 120, r"^MemoryError: .*\); lower batch_size, or"),
    ],
)
def test_where_the_memory_of_a_cpu_runs_out(call, mib, told):
    code = LIMITED.replace("MIB", str(mib)).replace("CALL", call)
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(told, done.stdout), done.stdout
