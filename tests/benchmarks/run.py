"""Speed of inversion, as ratios taken in one process on the same images, networks and seeds: `make bench`.

Prints one JSON line for each figure, which goes to --output as well, then a table. Nothing here asserts: machines
differ, and so do their figures. The networks that are inverted are trained first, unless the store has them.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from rates import SIZES, matrix_rate, rates, seconds_of
from torch.utils.flop_counter import FlopCounterMode

import stir
from stir.computing.devices import hardware, resolve_device
from stir.computing.memory import BATCH_SIZE
from stir.inversion.representation import PENULTIMATE, Representation
from stir.kept import revision
from stir.training.loop import train
from stir.training.recipe import Recipe

RECIPE: dict[str, Any] = dict(width=16, epochs=8, epsilon=1.0, attack_steps=3)
# The best recipe for few natural images in few epochs; also in notebooks/scales/cifar10-cpu.yml.
NATURAL_RECIPE: dict[str, Any] = RECIPE | dict(
    augmentation="shift-flip", augmentation_strength=0.25, learning_rate=0.2, weight_decay=1e-3
)
SIZE = 32
MAX_TRAINING_IMAGES = 20_000
STATUS = Path("/proc/self/status")  # of this process on Linux, with its peak memory
NETWORKS = (("resnet18", "adversarial-l2"), ("resnet18", "standard"), ("vgg16", "standard"))  # to invert
LAYERS = ("stage2", PENULTIMATE)  # an early one, and the paper's
STEPS = [round(5 * 1.25**power) for power in range(20)]  # of the default solver, from 5 to 347


class Bench:
    """The networks, the images and the figures so far."""

    def __init__(self, source: str, images: int, device: str, output: Path | None, size: str | None = None) -> None:
        self.source, self.data = source, stir.load_dataset(source, image_size=SIZE)
        if len(self.data.train) > MAX_TRAINING_IMAGES:
            self.data = stir.load_dataset(source, image_size=SIZE, n_train=MAX_TRAINING_IMAGES)
        self.images = self.data.test.images[:images]
        self.device = resolve_device(device)
        self.size = size or ("full" if self.device.type == "cuda" else "small")
        self.figures: list[dict] = []
        natural = source.startswith("folder:")
        self.name, self.recipe = ("natural", NATURAL_RECIPE) if natural else (source, RECIPE)
        self.output = output or Path("runs") / f"bench-{self.name}.jsonl"

    @cached_property
    def half_gain(self) -> float:
        """Speed of a large matrix product in bfloat16 over that in float32 on this device."""
        plain, half = (matrix_rate(self.device, dtype) for dtype in (torch.float32, torch.bfloat16))
        return round(half / plain, 1)

    def network(self, architecture: str, loss: str) -> torch.nn.Module:
        return stir.trained_model(architecture, dataset=self.data, loss=loss, device=self.device, **self.recipe)

    def invert(self, model, images=None, **options) -> tuple[stir.Inversion, float]:
        """Invert the images, and return the inversion and its seconds."""
        start = time.perf_counter()
        inversion = stir.invert(
            model, self.images if images is None else images, device=self.device, progress=False, **options
        )
        return inversion, time.perf_counter() - start

    def report(self, name: str, value: float, goal: float | None, **more) -> None:
        """Print a figure, and write all figures so far to the output."""
        line = {
            "figure": name,
            "value": float(f"{value:.3g}"),
            "goal": goal,
            "images": self.name,
            "device": self.device.type,
            **more,
        }
        print(json.dumps(line), flush=True)
        self.figures.append(line)
        self.output.parent.mkdir(parents=True, exist_ok=True)
        machine = {"hardware": hardware(self.device), "torch": torch.__version__, "revision": revision()}
        self.output.write_text("".join(json.dumps(machine | figure) + "\n" for figure in self.figures))


def time_to_quality(bench: Bench, networks: tuple[tuple[str, str], ...] = NETWORKS) -> None:
    """Report the wall time of the authors' algorithm over that of the default solver to the same median distance.

    Each figure also holds what a solver could sacrifice for speed: the distance of the images from their seeds, and the
    share that converged. The median distance and that share after the default solver's own steps are figures as well.
    """
    for architecture, loss in networks:
        model = bench.network(architecture, loss)
        for layer in LAYERS:
            about = dict(network=architecture, loss=loss, layer=layer, count=len(bench.images))
            bench.invert(model, layer=layer, steps=5)  # warm up
            paper = dict(layer=layer, solver="paper", precision="float32")
            theirs, _ = bench.invert(model, **paper)
            steps, ours = fewest_steps(bench, model, layer, theirs.distance.median().item())
            complete, _ = bench.invert(model, layer=layer)
            # In turn, so that a busy moment affects all of them; of the authors' many steps a fifth each time.
            fifth = max(1, theirs.steps // 5)
            runs = (
                paper | {"steps": fifth},
                dict(layer=layer, steps=ours.steps),
                dict(layer=layer, steps=complete.steps),
            )
            rounds = [[bench.invert(model, **run)[1] for run in runs] for _ in range(3)]
            slow, fast, seconds = (statistics.median(column) for column in zip(*rounds, strict=True))
            slow *= theirs.steps / fifth
            fast = fast if steps else math.nan
            ends = {"": (ours, fast), "paper_": (theirs, slow), "end_": (complete, seconds)}
            more = {prefix + name: value for prefix, end in ends.items() for name, value in quality(*end).items()}
            bench.report("time-to-quality", slow / fast, None, steps=steps, half_gain=bench.half_gain, **about, **more)
            for name, goal in (("distance", 0.05), ("converged", 0.9)):
                bench.report(name, more[f"end_{name}"], goal, steps=complete.steps, **about)


def fewest_steps(bench: Bench, model: torch.nn.Module, layer: str, goal: float) -> tuple[int | None, stir.Inversion]:
    """Find the first of STEPS with which the default solver's median distance is at most `goal`.

    Returns:
        The steps and the inversion; None and the last inversion where none suffices.
    """
    inversion, _ = bench.invert(model, layer=layer, steps=STEPS[0])
    for steps in STEPS[1:]:
        if inversion.distance.median() <= goal:
            break
        inversion, _ = bench.invert(model, layer=layer, steps=steps)
    return (inversion.steps if inversion.distance.median() <= goal else None), inversion


def quality(inversion: stir.Inversion, seconds: float) -> dict[str, float]:
    """Seconds of an inversion, its median relative distance, the mean way from the seeds, and the share converged."""
    distance, moved, converged = inversion.distance.median(), inversion.moved.mean(), inversion.converged.float().mean()
    return dict(
        seconds=round(seconds, 2),
        distance=round(distance.item(), 4),
        moved=round(moved.item(), 2),
        converged=round(converged.item(), 3),
    )


def efficiency(bench: Bench, batch: int = 256, steps: int = 3) -> None:
    """Report the rate of operations in a step of ResNet18 at full width, over that of a large matrix product."""
    model = stir.build_model("resnet18", 10, width=64, channels=3)
    images = torch.rand(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(images[:1])
    operations = 2 * counter.get_total_flops() * batch  # forward, and back to the pixels
    with Representation(model, images, device=bench.device) as represent:
        half = represent.half_works
        pixels = images.to(bench.device).requires_grad_(True)
        step = min(
            seconds_of(
                lambda: torch.autograd.grad(represent(pixels, half=half).float().square().sum(), pixels), bench.device
            )
            for _ in range(steps)
        )
    limit = matrix_rate(bench.device, torch.bfloat16 if half else torch.float32)
    bench.report(
        "efficiency",
        operations / step / limit,
        0.6,
        images="random",
        network="resnet18",
        width=64,
        batch=batch,
        half=half,
        gflops=round(operations / step / 1e9),
        limit_gflops=round(limit / 1e9),
    )


def scale(bench: Bench) -> None:
    """Report the time per image of a step of 10,000 images over that of 100, and the peak of memory above the model."""
    model = stir.build_model("resnet10", 10, width=16, channels=3)
    images = torch.rand(10_000, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))

    def second_step(count: int) -> float:
        one, two = (bench.invert(model, images[:count], steps=steps, batch_size=100)[1] for steps in (1, 2))
        return (two - one) / count  # the difference leaves out the set-up of the network

    few, many = (
        statistics.median(second_step(count) for _ in range(times)) for count, times in ((100, 25), (10_000, 3))
    )
    bench.report("time-per-image", many / few, 1.15, images="random", network="resnet10", counts=[100, 10_000])
    if not STATUS.exists():
        print("The peak of memory is read from", STATUS, "which this system lacks", file=sys.stderr)
        return
    # The peak of one step of all images, and what 100 steps of a batch add to that of one step: together at least the
    # peak of 100 steps of all images, which would take too long.
    one, many, short, long = (
        peak(count, steps) for count, steps in ((1, 1), (10_000, 1), (BATCH_SIZE, 1), (BATCH_SIZE, 100))
    )
    bench.report(
        "memory-GiB",
        (many - one + long - short) / 2**20,
        2.0,
        images="random",
        network="resnet10",
        count=10_000,
        device="cpu",
        hardware=hardware(torch.device("cpu")),
    )


def peak(count: int, steps: int) -> int:
    """Peak resident memory in KiB of a process of its own that inverts so many images in so many steps."""
    command = [sys.executable, __file__, "--peak", str(count), str(steps)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def own_peak(count: int, steps: int) -> int:
    """Invert so many images in so many steps, and return this process's peak resident memory in KiB."""
    images = torch.rand(count, 3, SIZE, SIZE)
    stir.invert(stir.build_model("resnet10", 10, width=16), images, steps=steps, device="cpu", progress=False)
    lines = STATUS.read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def training(bench: Bench) -> None:
    """Report the throughput of adversarial training over that of a plain float32 loop, and the accuracies of both."""
    data, attack = stir.load_dataset("digits"), stir.PGD("l2", 1.0, 20)
    recipe = Recipe(loss="adversarial-l2", epsilon=1.0)
    images, seconds, pairs = len(data.train) * recipe.epochs, defaultdict(float), defaultdict(list)
    for seed in range(3):  # in turn, so that a busy minute affects both
        for name, loop in {"ours": train, "plain": plain_training}.items():
            model = stir.build_model("resnet10", 10, width=16, channels=1, mean=[0.3], std=[0.3], seed=seed)
            work = partial(loop, model, data.train, recipe, seed=seed, device=bench.device, progress=False)
            seconds[name] += seconds_of(work, bench.device)
            pair = [stir.accuracy(model, data.test, attack=each, device=bench.device) for each in (None, attack)]
            pairs[name].append(pair)
    accuracies = {name: 100 * torch.tensor(pairs[name]).mean(dim=0) for name in pairs}
    about = dict(images="digits", network="resnet10", loss=recipe.loss)
    bench.report(
        "adversarial-training",
        seconds["plain"] / seconds["ours"],
        2.0,
        images_per_second=round(3 * images / seconds["ours"]),
        **about,
    )
    for index, kind in enumerate(("clean", "robust")):
        ours, plain = (round(accuracies[name][index].item(), 2) for name in ("ours", "plain"))
        bench.report(f"{kind}-points", abs(ours - plain), 1.0, ours=ours, plain=plain, **about)


def plain_training(model, split, recipe: Recipe, *, seed: int, device: torch.device, progress: bool) -> None:
    """Adversarial training as in a tutorial: float32, one batch after another."""
    attack = recipe.attack
    assert attack is not None
    model.to(device)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.learning_rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )
    steps = recipe.epochs * -(-len(split) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.learning_rate, total_steps=steps, cycle_momentum=False
    )
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(split), generator=generator).split(recipe.batch_size):
            images, labels = split.images[batch].to(device), split.labels[batch].to(device)
            model.eval()
            images = attack(model, images, labels, generator)
            model.train()
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            schedule.step()
    model.eval()


def loading(bench: Bench) -> None:
    """Report the seconds to load a folder of images first, into an empty store, and again, the median of 3."""
    count = 0
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STIR_STORE", folder)
        seconds = []
        for _ in range(4):
            start = time.perf_counter()
            data = stir.load_dataset(bench.source, progress=False)
            seconds.append(time.perf_counter() - start)
            count = len(data.train) + len(data.test)
            del data  # so that memory for one suffices
    about = dict(count=count)
    bench.report("load-first-seconds", seconds[0], 10.0, **about)
    bench.report("load-again-seconds", statistics.median(seconds[1:]), 1.0, **about)


def recipe(bench: Bench) -> None:
    """Report the accuracy, clean and under PGD-10 in L2 at 0.5, and the seconds of 8 epochs of 20,000 images."""
    goals = {"standard": (0.78, None, 120), "adversarial-l2": (0.55, 0.45, 350)}
    for loss, (clean, robust, seconds) in goals.items():
        network = bench.network("resnet18", loss)
        card: Any = network.card
        about = dict(network="resnet18", loss=loss, hardware=card["hardware"], torch=card["versions"]["torch"])
        bench.report("recipe-accuracy", card["accuracy"], clean, **about)
        bench.report(
            "recipe-robust",
            stir.accuracy(network, bench.data.test, attack=stir.PGD("l2", 0.5, 10), device=bench.device),
            robust,
            **about,
        )
        bench.report("recipe-seconds", card["seconds"], seconds, **about)


FIGURES = {
    "quality": time_to_quality,
    "efficiency": efficiency,
    "scale": scale,
    "training": training,
    "rates": rates,
    "loading": loading,
    "recipe": recipe,
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data",
        default="digits",
        help="digits, or folder:PATH, whose networks take some ten minutes to train the first time",
    )
    parser.add_argument("--images", type=int, default=32, help="number of images to invert")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", choices=SIZES, help="of the rates; default: full on a GPU, small elsewhere")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=FIGURES,
        default=list(FIGURES)[:-2],
        help="some of the figures; all but the last two if not given, which need a folder of natural images",
    )
    parser.add_argument("--output", type=Path, help="default: runs/bench-IMAGES.jsonl")
    parser.add_argument("--peak", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.peak:
        print(own_peak(*options.peak))
        return
    if not options.data.startswith("folder:") and {"loading", "recipe"} & set(options.only):
        parser.error(f"--only loading and recipe need --data folder:PATH, not {options.data}")
    start = time.perf_counter()
    bench = Bench(options.data, options.images, options.device, options.output, options.size)
    for name, figure in FIGURES.items():
        if name in options.only:
            figure(bench)
    columns = ["figure", "network", "loss", "layer", "value", "goal"]
    print(pd.DataFrame(bench.figures, columns=columns).to_string(index=False))
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
