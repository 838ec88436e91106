"""How fast inversion is, as ratios taken in one process on the same images, networks and seeds: `make bench`.

Prints one JSON line a figure, which it writes to --output as well, then a table. Nothing here asserts: machines differ, and so do
their figures. The networks that are inverted are trained first, unless the store has them.
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
from functools import cached_property
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import stir
from stir.computing.devices import hardware, resolve_device
from stir.inversion.representation import BATCH_SIZE, PENULTIMATE, Representation
from stir.training.loop import train
from stir.training.recipe import Recipe

RECIPE = dict(width=16, epochs=8, epsilon=1.0, attack_steps=3)
# For natural images: what does best on few of them in few epochs; also in notebooks/scales/cifar10-jpeg.yml.
SHORT = RECIPE | dict(augmentation="shift-flip", augmentation_strength=0.25, learning_rate=0.2, weight_decay=1e-3)
SIZE = 32
MOST = 20_000  # training images
STATUS = Path("/proc/self/status")
NETWORKS = (("resnet18", "adversarial-l2"), ("resnet18", "standard"), ("vgg16", "standard"))  # that are inverted
LAYERS = ("stage2", PENULTIMATE)  # an early one, and the paper's
STEPS = [round(5 * 1.25**power) for power in range(20)]  # from 5 to 347, of the default solver


class Bench:
    """The networks, the images and the figures so far."""

    def __init__(self, source: str, images: int, device: str, output: Path | None) -> None:
        self.source, self.data = source, stir.load_dataset(source, image_size=SIZE)
        if len(self.data.train) > MOST:
            self.data = stir.load_dataset(source, image_size=SIZE, n_train=MOST)
        self.images = self.data.test.images[:images]
        self.device = resolve_device(device)
        self.figures: list[dict] = []
        natural = source.startswith("folder:")
        self.name, self.recipe = ("natural", SHORT) if natural else (source, RECIPE)
        self.output = output or Path("runs") / f"bench-{self.name}.jsonl"

    @cached_property
    def half_gain(self) -> float:
        """How many times bfloat16 is faster than float32 here, at its best."""
        plain, half = (matrix_rate(self.device, dtype) for dtype in (torch.float32, torch.bfloat16))
        return round(half / plain, 1)

    def network(self, architecture: str, loss: str) -> torch.nn.Module:
        return stir.trained_model(architecture, dataset=self.data, loss=loss, device=self.device, **self.recipe)

    def invert(self, model, images=None, **options) -> tuple[stir.Inversion, float]:
        start = time.perf_counter()
        inversion = stir.invert(
            model, self.images if images is None else images, device=self.device, progress=False, **options
        )
        return inversion, time.perf_counter() - start

    def report(self, figure: str, value: float, goal: float | None, **more) -> None:
        line = {
            "figure": figure,
            "value": float(f"{value:.3g}"),
            "goal": goal,
            "images": self.name,
            "device": self.device.type,
            **more,
        }
        print(json.dumps(line), flush=True)
        self.figures.append(line)
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self.output.write_text(
            "\n".join(
                json.dumps({"hardware": hardware(self.device), "torch": torch.__version__, **each})
                for each in self.figures
            )
            + "\n"
        )


def time_to_quality(bench: Bench, networks: tuple[tuple[str, str], ...] = NETWORKS) -> None:
    """Wall time of the authors' algorithm to its end, over that of the default solver to the same median distance; and where the latter's own steps end.

    With both stands what speed could be bought with: how far the images moved from their seeds, and how many converged.
    """
    for architecture, loss in networks:
        model = bench.network(architecture, loss)
        for layer in LAYERS:
            about = dict(network=architecture, loss=loss, layer=layer, count=len(bench.images))
            bench.invert(model, layer=layer, steps=5)  # warm up
            paper = dict(layer=layer, solver="paper", precision="float32")
            theirs, _ = bench.invert(model, **paper)
            steps, ours = fewest_steps(bench, model, layer, theirs.distance.median().item())
            whole, _ = bench.invert(model, layer=layer)
            # In turn, so that a busy moment costs none of them much; of the authors' many steps a fifth each time.
            fifth = max(1, theirs.steps // 5)
            rounds = [
                [
                    bench.invert(model, **run)[1]
                    for run in (
                        paper | {"steps": fifth},
                        dict(layer=layer, steps=ours.steps),
                        dict(layer=layer, steps=whole.steps),
                    )
                ]
                for _ in range(3)
            ]
            slow, fast, seconds = (statistics.median(column) for column in zip(*rounds, strict=True))
            slow *= theirs.steps / fifth
            fast = fast if steps else math.nan
            runs = {"": (ours, fast), "paper_": (theirs, slow), "end_": (whole, seconds)}
            more = {prefix + name: value for prefix, run in runs.items() for name, value in quality(*run).items()}
            bench.report("time-to-quality", slow / fast, None, steps=steps, half_gain=bench.half_gain, **about, **more)
            for name, goal in (("distance", 0.05), ("converged", 0.9)):
                bench.report(name, more[f"end_{name}"], goal, steps=whole.steps, **about)


def fewest_steps(bench: Bench, model: torch.nn.Module, layer: str, wanted: float) -> tuple[int | None, stir.Inversion]:
    """The first of STEPS after which the default solver is so near in the median, and its inversion; if it never is, None, and the last inversion."""
    for steps in STEPS:
        ours, _ = bench.invert(model, layer=layer, steps=steps)
        if ours.distance.median() <= wanted:
            return steps, ours
    return None, ours


def quality(inversion: stir.Inversion, seconds: float) -> dict[str, float]:
    """What an inversion took and how good it is: the median relative distance, the mean length of the way from the seed, and the share that converged."""
    distance, moved, converged = inversion.distance.median(), inversion.moved.mean(), inversion.converged.float().mean()
    return dict(
        seconds=round(seconds, 2),
        distance=round(distance.item(), 4),
        moved=round(moved.item(), 2),
        converged=round(converged.item(), 3),
    )


def efficiency(bench: Bench, batch: int = 256, steps: int = 3) -> None:
    """Rate of floating-point operations in a step of ResNet18 at full width, over that of a large matrix product."""
    model = stir.build_model("resnet18", 10, width=64, channels=3)
    images = torch.rand(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(images[:1])
    operations = 2 * counter.get_total_flops() * batch  # forward, and back to the pixels
    with Representation(model, images, device=bench.device) as represent:
        half = represent.half_works
        pixels = images.to(bench.device).requires_grad_(True)
        step = min(
            _seconds(
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


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second in a large matrix product."""
    matrix = torch.rand(4096, 4096, device=device, dtype=dtype)
    return 2 * 4096**3 / min(_seconds(lambda: matrix @ matrix, device) for _ in range(5))


def _seconds(work, device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()
    return time.perf_counter() - start


def scale(bench: Bench) -> None:
    """Time of one more step of each of 10,000 images over that of 100, in batches of 100, and the peak of memory above the model."""
    model = stir.build_model("resnet10", 10, width=16, channels=3)
    images = torch.rand(10_000, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))

    def second_step(count: int) -> float:
        one, two = (bench.invert(model, images[:count], steps=steps, batch_size=100)[1] for steps in (1, 2))
        return (two - one) / count  # the network's own set-up drops out

    few, many = (
        statistics.median(second_step(count) for _ in range(times)) for count, times in ((100, 25), (10_000, 3))
    )
    bench.report("time-per-image", many / few, 1.15, images="random", network="resnet10", counts=[100, 10_000])
    if not STATUS.exists():
        print("The peak of memory is read from", STATUS, "which this system lacks", file=sys.stderr)
        return
    # The peak of all images in a step, and what 100 steps of a batch add to one: at least that of all images in 100 steps.
    one, all_, short, long = (
        peak(count, steps) for count, steps in ((1, 1), (10_000, 1), (BATCH_SIZE, 1), (BATCH_SIZE, 100))
    )
    bench.report(
        "memory-GiB",
        (all_ - one + long - short) / 2**20,
        2.0,
        images="random",
        network="resnet10",
        count=10_000,
        device="cpu",
        hardware=hardware(torch.device("cpu")),
    )


def peak(count: int, steps: int) -> int:
    """Peak resident memory in KiB of a process that inverts so many images in so many steps."""
    command = [sys.executable, __file__, "--peak", str(count), str(steps)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def own_peak(count: int, steps: int) -> int:
    """The same of this process, which does so."""
    images = torch.rand(count, 3, SIZE, SIZE)
    stir.invert(stir.build_model("resnet10", 10, width=16), images, steps=steps, device="cpu", progress=False)
    return int(
        next(line.split()[1] for line in STATUS.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
    )


def training(bench: Bench) -> None:
    """Throughput of adversarial training over that of a plain float32 loop, with the accuracies that either reaches."""
    data, attack = stir.load_dataset("digits"), stir.PGD("l2", 1.0, 20)
    recipe = Recipe(loss="adversarial-l2", epsilon=1.0)
    images, seconds, reached = len(data.train) * recipe.epochs, defaultdict(float), {}
    for seed in range(3):  # in turn, so that a busy minute costs both
        for name, loop in {"ours": train, "plain": plain_training}.items():
            model = stir.build_model("resnet10", 10, width=16, channels=1, mean=[0.3], std=[0.3], seed=seed)
            seconds[name] += _seconds(
                lambda: loop(model, data.train, recipe, seed=seed, device=bench.device, progress=False), bench.device
            )
            pair = [stir.accuracy(model, data.test, attack=each, device=bench.device) for each in (None, attack)]
            reached.setdefault(name, []).append(pair)
    accuracies = {name: 100 * torch.tensor(pairs).mean(dim=0) for name, pairs in reached.items()}
    about = dict(images="digits", network="resnet10", loss=recipe.loss)
    bench.report(
        "adversarial-training",
        seconds["plain"] / seconds["ours"],
        2.0,
        images_per_second=round(3 * images / seconds["ours"]),
        **about,
    )
    for place, kind in enumerate(("clean", "robust")):
        ours, plain = (round(accuracies[name][place].item(), 2) for name in ("ours", "plain"))
        bench.report(f"{kind}-points", abs(ours - plain), 1.0, ours=ours, plain=plain, **about)


def plain_training(model, split, recipe: Recipe, *, seed: int, device: torch.device, progress: bool) -> None:
    """Adversarial training as a tutorial has it: float32, one batch after another."""
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
            images = recipe.attack(model, images, labels, generator)
            model.train()
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            schedule.step()
    model.eval()


def loading(bench: Bench) -> None:
    """Seconds to load the whole folder of images the first time and, the median of three, after that; with an empty store of its own."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STIR_STORE", folder)
        seconds = []
        for _ in range(4):
            start = time.perf_counter()
            data = stir.load_dataset(bench.source, progress=False)
            seconds.append(time.perf_counter() - start)
            count = len(data.train) + len(data.test)
            del data  # memory for one is enough
    about = dict(count=count)
    bench.report("load-first-seconds", seconds[0], 10.0, **about)
    bench.report("load-again-seconds", statistics.median(seconds[1:]), 1.0, **about)


def recipe(bench: Bench) -> None:
    """What the recipe reaches with 20,000 of the images in 8 epochs, and how long it takes: clean, and against PGD-10 in L2 at 0.5."""
    goals = {"standard": (0.78, None, 120), "adversarial-l2": (0.55, 0.45, 350)}
    for loss, (clean, robust, seconds) in goals.items():
        network = bench.network("resnet18", loss)
        about = dict(
            network="resnet18", loss=loss, hardware=network.card["hardware"], torch=network.card["versions"]["torch"]
        )
        bench.report("recipe-accuracy", network.card["accuracy"], clean, **about)
        bench.report(
            "recipe-robust",
            stir.accuracy(network, bench.data.test, attack=stir.PGD("l2", 0.5, 10), device=bench.device),
            robust,
            **about,
        )
        bench.report("recipe-seconds", network.card["seconds"], seconds, **about)


FIGURES = {
    "quality": time_to_quality,
    "efficiency": efficiency,
    "scale": scale,
    "training": training,
    "loading": loading,
    "recipe": recipe,
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data",
        default="digits",
        help="digits, or folder:PATH, whose networks take some ten minutes to train the first time",
    )
    parser.add_argument("--images", type=int, default=32, help="how many are inverted")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=FIGURES,
        default=list(FIGURES)[:-2],
        help="some of the figures; all but the last two if not given, which need a folder of natural images",
    )
    parser.add_argument("--output", type=Path, help="default: runs/bench-IMAGES.jsonl")
    parser.add_argument("--peak", type=int, nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.peak:
        print(own_peak(*asked.peak))
        return
    if not asked.data.startswith("folder:") and {"loading", "recipe"} & set(asked.only):
        parser.error(f"--only loading and recipe need --data folder:PATH, not {asked.data}")
    start = time.perf_counter()
    bench = Bench(asked.data, asked.images, asked.device, asked.output)
    for name, figure in FIGURES.items():
        if name in asked.only:
            figure(bench)
    print(
        pd.DataFrame(bench.figures, columns=["figure", "network", "loss", "layer", "value", "goal"]).to_string(
            index=False
        )
    )
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
