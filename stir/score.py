"""STIR: to what extent a target network shares a reference's invariances (Nanda et al. 2022, eq. 2)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Float
from scipy.stats import t as student
from torch import Tensor, nn
from tqdm.auto import tqdm

from stir.inversion import Inversion, invert
from stir.representation import PENULTIMATE, check_images, features
from stir.similarity import get_measure

Measure = Callable[[Tensor, Tensor], float]
Interval = tuple[float, float]

# The group jackknife's variance varies by about sqrt(2 / groups): 22% here, at 40 evaluations.
GROUPS = 40
LOW_CEILING = 0.95
LOW_CONVERGED = 0.5

COLUMNS = (
    "reference", "target", "reference_layer", "target_layer",
    "stir", "stir_low", "stir_high", "cka", "cka_low", "cka_high",
    "ceiling", "distance_median", "distance_p90", "converged",
    "n_images", "n_draws", "seeds", "solver", "steps", "measure",
)  # fmt: skip


@dataclass(frozen=True)
class StirResult:
    """STIR(target | reference), with all that defines it and tells how far to trust it.

    Attributes:
        value: S(m2(X), m2(X')), the mean over draws of X'; at most 1.
        interval: 95% confidence interval of `value` over images and seeds.
        cka: plain similarity S(m1(X), m2(X)) on the images themselves.
        cka_interval: its 95% confidence interval over images.
        ceiling: STIR(reference | reference) on the same X': 1 if the inversion is exact. A value
            above it says nothing.
        inversion: X', from the first draw.
        distances: [draws, N], the relative distance that each X' reached.
        reference, target: names.
        reference_layer, target_layer: where X' was made and where it was looked at.
        measure, seeds, solver: names.
    """

    value: float
    interval: Interval
    cka: float
    cka_interval: Interval
    ceiling: float
    inversion: Inversion
    distances: Float[Tensor, "draws n"]
    reference: str
    target: str
    reference_layer: str
    target_layer: str
    measure: str
    seeds: str
    solver: str

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"STIR({self.target} | {self.reference}) = {self.value:.3f} [{low:.3f}, {high:.3f}], "
            f"{self.measure} {self.cka:.3f}, ceiling {self.ceiling:.3f}, "
            f"median distance {self.distances.median():.3g} ({self.distances.shape[1]} images)"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row with the columns of `COLUMNS`."""
        row = {
            "stir": self.value,
            "stir_low": self.interval[0],
            "stir_high": self.interval[1],
            "cka_low": self.cka_interval[0],
            "cka_high": self.cka_interval[1],
            "distance_median": self.distances.median().item(),
            "distance_p90": self.distances.flatten().quantile(0.9).item(),
            "converged": (self.distances <= self.inversion.tolerance).float().mean().item(),
            "n_images": self.distances.shape[1],
            "n_draws": self.distances.shape[0],
            "steps": self.inversion.steps,
        }
        return pd.DataFrame([{name: row[name] if name in row else getattr(self, name) for name in COLUMNS}])


def score(
    target: nn.Module,
    *,
    given: nn.Module,
    images: Float[Tensor, "n c h w"],
    layer: str | None = None,
    given_layer: str | None = None,
    measure: str | Measure = "linear-cka",
    draws: int = 1,
    **inversion,
) -> StirResult:
    """STIR(target | given): how far `target` shares the invariances of `given`, its reference.

    Args:
        target: the network whose invariances are looked at, m2.
        given: the reference m1, which X' is made for. Both take images [N, C, H, W] in [0, 1].
        images: X, at least 4.
        layer: dotted name of a submodule of both; None or "penultimate" for the input of the last
            linear layer.
        given_layer: the reference's layer, where that is another one.
        measure: S, a name from `stir.similarity.MEASURES` or a function of two feature matrices
            [N, P] and [N, Q] to a number of at most 1.
        draws: how many times X' is drawn.
        **inversion: arguments of `stir.invert`: seeds, seed, solver, steps, tolerance, pool,
            device, batch_size, progress.

    Raises:
        ValueError: an argument out of its range, before any work; or features that the measure
            cannot compare.

    Warns:
        UserWarning: the inversion came out too poor to trust the value.
    """
    layers = (given_layer or layer, layer)
    (result,) = _score_targets({"reference": given}, "reference", {"target": target}, images, layers, measure, draws, inversion)
    return result


def pairwise(
    models: Mapping[str, nn.Module],
    images: Float[Tensor, "n c h w"],
    *,
    layers: Sequence[str | None] = (None,),
    measure: str | Measure = "linear-cka",
    draws: int = 1,
    progress: bool = True,
    **inversion,
) -> pd.DataFrame:
    """STIR of every ordered pair of networks, each with itself among them, at every layer.

    Each reference is inverted once for each layer and draw, and all targets are scored on that.

    Args:
        models: name -> network.
        images, layers, measure, draws, **inversion: as in `score`; a layer is used on both sides.

    Returns:
        One row for each ordered pair and layer, with the columns of `COLUMNS`.
    """
    if not models:
        raise ValueError("models is empty; give at least one network")
    if not layers:
        raise ValueError("layers is empty; give at least one layer, or None for the penultimate one")
    rows = []
    with tqdm(total=len(models) * len(layers), desc="references", unit="inversion", disable=not progress, leave=False) as bar:
        for layer in layers:
            plain: dict[str, Tensor] = {}  # each network's features of the images, shared by all references
            for reference in models:
                rows += _score_targets(models, reference, models, images, (layer, layer), measure, draws, {**inversion, "progress": progress}, plain)
                bar.update()
    return pd.concat([row.to_frame() for row in rows], ignore_index=True)
