"""Rates that a GPU is judged by: image-steps of inversion a second, beside their limit, and images of training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

import stir
from stir.data import Split
from stir.inversion.representation import Representation
from stir.training.loop import train
from stir.training.recipe import Recipe

PIXELS = 32
# What is asked of one H100 or H200, at full size.
STEPS_GOAL = 170_000
TRAINING_GOALS = {"standard": 40_000, "adversarial-l2": 12_000}


@dataclass(frozen=True)
class Size:
    """How much is measured: channels of ResNet18, numbers of images inverted, images trained on."""

    width: int
    counts: Sequence[int]
    training: int
    has_goals: bool


SIZES = {
    "full": Size(64, (100, 1_000, 10_000), 12_800, True),
    "small": Size(8, (10, 30, 100), 512, False),  # for a CPU: a minute
}


def rates(bench) -> None:
    """Report the rates of `bench.size` on `bench.device`, which have goals at full size on a GPU."""
    size = SIZES[bench.size]
    judged = size.has_goals and bench.device.type == "cuda"
    inversion_rates(bench, size, STEPS_GOAL if judged else None)
    training_rates(bench, size, TRAINING_GOALS if judged else {})


def inversion_rates(bench, size: Size, goal: float | None) -> None:
    """Report microseconds of one step of one image by the number of images, and the rate for most of them.

    By the default solver with its own steps and batches; what an inversion takes to begin is included.
    """
    model = stir.build_model("resnet18", 10, width=size.width)
    images = random_images(max(size.counts))
    half, limit = step_limit(model, images[:1], bench.device)
    about = dict(images="random", network="resnet18", width=size.width, half=half)
    rate = 0.0
    for count in size.counts:
        bench.invert(model, images[:count], steps=2)  # warm up
        inversion, seconds = min((bench.invert(model, images[:count]) for _ in range(2)), key=lambda run: run[1])
        rate = count * inversion.steps / seconds
        bench.report("image-step-microseconds", 1e6 / rate, None, count=count, steps=inversion.steps, **about)
    share = round(rate / limit, 3)
    bench.report("image-steps-per-second", rate, goal, count=max(size.counts), limit=round(limit), share=share, **about)


def step_limit(model: torch.nn.Module, image: torch.Tensor, device: torch.device) -> tuple[bool, float]:
    """Whether steps are in bfloat16, and how many image-steps a second large matrix products would allow."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(image)
    with Representation(model, image, device=device) as represent:
        half = represent.half_works
    rate = matrix_rate(device, torch.bfloat16 if half else torch.float32)
    return half, rate / (2 * counter.get_total_flops())  # forward, and back to the pixels


def training_rates(bench, size: Size, goals: dict[str, int]) -> None:
    """Report the images a second of the second epoch, in batches of 128, standard and adversarial with 3 steps."""
    images = random_images(size.training)
    split = Split(images, torch.arange(len(images)) % 10)
    for loss in TRAINING_GOALS:
        model = stir.build_model("resnet18", 10, width=size.width)
        recipe = Recipe(loss=loss, epochs=2, batch_size=128, attack_steps=3, augmentation="shift-flip")
        *_, last = train(model, split, recipe, device=bench.device, progress=False)
        about = dict(images="random", network="resnet18", width=size.width, count=len(images), loss=loss)
        bench.report("training-images-per-second", len(images) / last["seconds"], goals.get(loss), **about)


def random_images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0))


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second in a large matrix product."""
    matrix = torch.rand(4096, 4096, device=device, dtype=dtype)
    return 2 * 4096**3 / min(seconds_of(lambda: matrix @ matrix, device) for _ in range(5))


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that `work` takes, on the device too."""
    start = time.perf_counter()
    work()
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()
    return time.perf_counter() - start
