"""Distances that the solvers of an inversion reach, and the STIR they give, layer by layer.

    .venv/bin/python tests/benchmarks/solvers.py --data digits
    .venv/bin/python tests/benchmarks/solvers.py --data folder:PATH --layers penultimate --output FILE.csv

Trains two standard and two adversarial networks (from the store if they are there; on a folder by the recipe of
notebooks/scales/cifar10-cpu.yml), and inverts each of them with each solver. Prints two tables. The first holds for
each layer, way of training and solver the means over the networks: median relative distance, its 90th percentile, the
share within the tolerance, the ceiling, the distance of x' from its seed image, and STIR of the pairs. The second holds
the agreement of solvers: the difference of each pair's STIR from that by the first solver named, on all images and on
those that both brought within the tolerance. With --output FILE.csv they are written to FILE.csv and
FILE-agreement.csv.

--straight-through adds the authors' algorithm with their gradient, which the ReLUs at the ends of the last stage's
blocks pass unchanged.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from torch import Tensor, nn
from tqdm.auto import tqdm

import stir
from stir.data.datasets import Dataset
from stir.similarity import linear_cka

PROJECT = Path(__file__).parents[2]

DIGITS_RECIPE: dict[str, Any] = dict(
    architecture="resnet10", width=8, epochs=8, batch_size=64, attack_steps=1, epsilon=1.0
)
LOSSES = ("standard", "adversarial-l2")


class _PassingGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:
        return gradients[0]


class StraightThrough(nn.Module):
    """ReLU whose gradient is that of the identity."""

    def forward(self, x: Tensor) -> Tensor:
        return _PassingGradient.apply(x)


def straight_through(network: nn.Module) -> nn.Module:
    """Copy one of this package's ResNets, with the gradient of the authors' code."""
    network = copy.deepcopy(network)
    last_stage = list(network.children())[-4]  # before pooling, flattening and the classifier
    for block in last_stage.children():
        block.act = StraightThrough()
    return network


def networks(data: str) -> tuple[Dataset, Mapping[str, nn.Module]]:
    """Load the data set, and train two networks of each loss on it."""
    recipe = DIGITS_RECIPE
    if data != "digits":
        scale = yaml.safe_load((PROJECT / "notebooks" / "scales" / "cifar10-cpu.yml").read_text(encoding="utf-8"))
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
        recipe = {name: scale[name] for name in names}
        recipe["epsilon"] = 1.0
        dataset = stir.load_dataset(data, n_train=scale["n_train"])
    else:
        dataset = stir.load_dataset(data)
    each = {f"{loss} {seed}": dict(loss=loss, seed=seed) for loss in LOSSES for seed in (0, 1)}
    return dataset, stir.trained_models(each, dataset=dataset, **recipe)


def measure(
    models: Mapping[str, nn.Module], images: Tensor, layer: str | None, solver: str, steps: int | None, straight: bool
) -> list[dict]:
    """Measure all ordered pairs of different networks, a row for each, with X' of one solver.

    Beside numbers a row holds tensors: the target's features of X and of X', and which images are within the tolerance.
    """
    features = {name: stir.features(model, images, layer=layer) for name, model in models.items()}
    rows = []
    for name, model in models.items():
        inversion = stir.invert(
            straight_through(model) if straight else model,
            images,
            layer=layer,
            solver=solver,
            steps=steps,
            progress=False,
        )
        again = {target: stir.features(other, inversion.images, layer=layer) for target, other in models.items()}
        scores = {target: linear_cka(features[target], again[target]) for target in models}
        about = dict(
            layer=layer or "penultimate",
            solver=solver + ", straight-through" * straight,
            steps=inversion.steps,
            reference=name,
            distance=inversion.distance.median().item(),
            p90=inversion.distance.quantile(0.9).item(),
            converged=inversion.converged.float().mean().item(),
            ceiling=scores[name],
            moved=inversion.moved.mean().item(),
            within=inversion.converged,
        )
        for target in models:
            if target != name:
                pair = dict(target=target, stir=scores[target], of_x=features[target], of_inverted=again[target])
                rows.append(about | pair)
    return rows


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Average over the networks of each loss, and STIR over the pairs of each kind."""
    kind = {name: "standard" if name.startswith("standard") else "robust" for name in table.reference}
    table = table.assign(given=table.reference.map(kind), of=table.target.map(kind))
    by = ["layer", "given", "solver", "steps"]
    inversions = table.drop_duplicates(["layer", "solver", "steps", "reference"])
    columns = ["distance", "p90", "converged", "ceiling", "moved"]
    means = inversions.groupby(by, sort=False).agg(dict.fromkeys(columns, "mean"))
    scores = table.pivot_table(index=by, columns="of", values="stir", sort=False).add_prefix("STIR of ")
    return means.join(scores)


def agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Compare STIR by each solver with STIR by the first one, over all ordered pairs of different networks.

    Args:
        table: rows of `measure`.

    Returns:
        Two rows for each layer and other solver, of all images and of those that both solvers brought within the
        tolerance: the solver's steps; the solver it is compared against, with its steps; the share of the images; the
        number of pairs; mean, mean size and largest size of the difference.
    """
    solvers = ["solver", "steps"]
    first, first_steps = table.iloc[0][solvers]
    rows = []
    for layer, at_layer in table.groupby("layer", sort=False):
        by_solver: dict[Any, pd.DataFrame] = {
            key: own.set_index(["reference", "target"]) for key, own in at_layer.groupby(solvers, sort=False)
        }
        base = by_solver.pop((first, first_steps))
        for (solver, steps), other in by_solver.items():
            other = other.loc[base.index]
            about = dict(layer=layer, solver=solver, steps=steps, against=f"{first}, {first_steps} steps")
            rows.append(about | dict(images="all", share=1.0) | _sizes(other.stir - base.stir))
            both = [one & two for one, two in zip(base.within, other.within, strict=True)]
            difference = _stir_of(other, both) - _stir_of(base, both)
            share = sum(each.float().mean().item() for each in both) / len(both)
            rows.append(about | dict(images="converged by both", share=share) | _sizes(difference))
    return pd.DataFrame(rows).set_index(["layer", "solver", "steps"])


def _stir_of(rows: pd.DataFrame, masks: list[Tensor]) -> pd.Series:
    """STIR of each pair on some of the images."""
    values = [
        linear_cka(x[mask], inverted[mask])
        for x, inverted, mask in zip(rows.of_x, rows.of_inverted, masks, strict=True)
    ]
    return pd.Series(values, index=rows.index)


def _sizes(difference: pd.Series) -> dict[str, float]:
    """Number of pairs; mean, mean size and largest size of their differences."""
    size = difference.abs()
    return dict(pairs=len(size), mean=difference.mean(), mean_size=size.mean(), largest=size.max())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="digits, or folder:PATH")
    parser.add_argument("--images", type=int, default=48, help="test images")
    parser.add_argument(
        "--first", type=int, default=0, help="index of the first, to leave out images that something was tuned on"
    )
    parser.add_argument("--layers", nargs="+", default=["stage1", "stage2", "stage3", "penultimate"])
    parser.add_argument("--solvers", nargs="+", default=["tethered", "nearest", "paper"], help="NAME or NAME:STEPS")
    parser.add_argument("--straight-through", action="store_true")
    parser.add_argument("--output", type=Path, help="CSV file of the first table; the second is written beside it")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # of inversions that did not converge, which the table tells
    dataset, models = networks(options.data)
    images = dataset.test.images[options.first : options.first + options.images]
    solvers = [(*name.partition(":")[::2], False) for name in options.solvers]
    solvers += [("paper", "", True)] * options.straight_through
    rows = []
    for layer in tqdm(options.layers, unit="layer"):
        for solver, steps, straight in solvers:
            name = None if layer == "penultimate" else layer
            rows += measure(models, images, name, solver, int(steps) if steps else None, straight)
    pairs = pd.DataFrame(rows)
    tables = {"": summary(pairs), "-agreement": agreement(pairs)}
    for suffix, table in tables.items():
        print(table.to_string(float_format="{:.3f}".format), end="\n\n")
        if options.output:
            table.round(3).to_csv(options.output.with_stem(options.output.stem + suffix))


if __name__ == "__main__":
    main()
