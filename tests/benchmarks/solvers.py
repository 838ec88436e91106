"""Where the solvers of an inversion end, and what STIR they give, layer by layer.

    .venv/bin/python tests/benchmarks/solvers.py --data digits
    .venv/bin/python tests/benchmarks/solvers.py --data folder:PATH --layers penultimate --output FILE.csv

Trains two standard and two adversarial networks (kept in the store; on a folder by the recipe of notebooks/scales/cifar10-jpeg.yml), has each solver
invert each of them, and prints for each layer, way of training and solver the means over the networks: median relative distance, its 90th percentile, the
share within the tolerance, the ceiling, how far x' lies from its seed image, and STIR of the pairs. --straight-through adds the authors' algorithm
with their gradient: the ReLUs at the ends of the last stage's blocks pass it as if they were not there.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from pathlib import Path

import pandas as pd
import torch
import yaml
from torch import Tensor, nn
from tqdm.auto import tqdm

import stir
from stir.similarity import linear_cka

PROJECT = Path(__file__).parents[2]

DIGITS = dict(architecture="resnet10", width=8, epochs=8, batch_size=64, attack_steps=1, epsilon=1.0)
LOSSES = ("standard", "adversarial-l2")


class _PassingGradient(torch.autograd.Function):
    @staticmethod
    def forward(_, x: Tensor) -> Tensor:
        return x.clamp_min(0)

    @staticmethod
    def backward(_, gradient: Tensor) -> Tensor:
        return gradient


class StraightThrough(nn.Module):
    """ReLU whose gradient is that of the identity."""

    def forward(self, x: Tensor) -> Tensor:
        return _PassingGradient.apply(x)


def straight_through(network: nn.Module) -> nn.Module:
    """A copy of a ResNet of this package's, with the gradient that the authors' code has."""
    network = copy.deepcopy(network)
    for block in list(network.children())[-4]:  # before pooling, flattening and the classifier: the last stage
        block.act = StraightThrough()
    return network


def networks(data: str) -> tuple[stir.data.datasets.Dataset, dict[str, nn.Module]]:
    """The data set, and two networks of each loss by name."""
    recipe = dict(DIGITS)
    if data != "digits":
        scale = yaml.safe_load((PROJECT / "notebooks" / "scales" / "cifar10-jpeg.yml").read_text(encoding="utf-8"))
        names = (
            "architecture",
            "width",
            "epochs",
            "batch_size",
            "learning_rate",
            "weight_decay",
            "augmentation",
            "augmentation_strength",
            "attack_steps",
        )
        recipe = {name: scale[name] for name in names} | dict(epsilon=1.0)
        dataset = stir.load_dataset(data, n_train=scale["n_train"])
    else:
        dataset = stir.load_dataset(data)
    wanted = {f"{loss} {seed}": dict(loss=loss, seed=seed) for loss in LOSSES for seed in (0, 1)}
    return dataset, stir.trained_models(wanted, dataset=dataset, **recipe)


def measure(
    models: dict[str, nn.Module], images: Tensor, layer: str | None, solver: str, steps: int | None, straight: bool
) -> list[dict]:
    """One row for each ordered pair of networks."""
    features = {name: stir.features(model, images, layer=layer) for name, model in models.items()}
    rows = []
    for name, model in models.items():
        found = stir.invert(
            straight_through(model) if straight else model,
            images,
            layer=layer,
            solver=solver,
            steps=steps,
            progress=False,
        )
        again = {
            target: linear_cka(features[target], stir.features(other, found.images, layer=layer))
            for target, other in models.items()
        }
        about = dict(
            layer=layer or "penultimate",
            solver=solver + ", straight-through" * straight,
            steps=found.steps,
            reference=name,
            distance=found.distance.median().item(),
            p90=found.distance.quantile(0.9).item(),
            converged=found.converged.float().mean().item(),
            ceiling=again[name],
            moved=found.moved.mean().item(),
        )
        rows += [about | dict(target=target, stir=value) for target, value in again.items() if target != name]
    return rows


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means over the networks of each loss, and over the pairs of each kind."""
    kind = {name: "standard" if name.startswith("standard") else "robust" for name in table.reference}
    table = table.assign(given=table.reference.map(kind), of=table.target.map(kind))
    by = ["layer", "given", "solver", "steps"]
    ends = (
        table.drop_duplicates(["layer", "solver", "steps", "reference"])
        .groupby(by, sort=False)[["distance", "p90", "converged", "ceiling", "moved"]]
        .mean()
    )
    scores = table.pivot_table(index=by, columns="of", values="stir", sort=False).add_prefix("STIR of ")
    return ends.join(scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="digits, or folder:PATH")
    parser.add_argument("--images", type=int, default=48, help="test images")
    parser.add_argument(
        "--first", type=int, default=0, help="the first of them; others than those that something was tuned on"
    )
    parser.add_argument("--layers", nargs="+", default=["stage1", "stage2", "stage3", "penultimate"])
    parser.add_argument("--solvers", nargs="+", default=["tethered", "nearest", "paper"], help="NAME or NAME:STEPS")
    parser.add_argument("--straight-through", action="store_true")
    parser.add_argument("--output", help="CSV file of the table")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of what did not converge, which is what the table shows
    dataset, models = networks(given.data)
    images = dataset.test.images[given.first : given.first + given.images]
    asked = [(*each.partition(":")[::2], False) for each in given.solvers] + [
        ("paper", "", True)
    ] * given.straight_through
    rows = []
    for layer in tqdm(given.layers, unit="layer"):
        for solver, steps, straight in asked:
            rows += measure(
                models,
                images,
                None if layer == "penultimate" else layer,
                solver,
                int(steps) if steps else None,
                straight,
            )
    table = summary(pd.DataFrame(rows))
    print(table.to_string(float_format="{:.3f}".format))
    if given.output:
        table.round(3).to_csv(given.output)


if __name__ == "__main__":
    main()
