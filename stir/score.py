"""STIR: to what extent a target network shares a reference's invariances (Nanda et al. 2022, eq. 2)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from stir.images import Images, gather_images
from stir.intervals import Interval, mean_similarity
from stir.inversion import Controversy, Inversion, controversial, invert
from stir.representation import PENULTIMATE, Representation, features
from stir.seeds import random_cycle
from stir.cka import MIN_IMAGES
from stir.similarity import Measure, get_measure
from stir.solvers import DEFAULT_SOLVER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOW_CEILING = 0.95
LOW_CONVERGED = 0.5
DEALS = 5  # of each draw's X', for the floor: enough to steady its second digit

COLUMNS = (
    "reference", "target", "reference_layer", "target_layer",
    "stir", "stir_low", "stir_high", "cka", "cka_low", "cka_high",
    "ceiling", "floor", "distance_median", "distance_p90", "converged",
    "n_images", "n_draws", "seeds", "seed", "solver", "steps", "measure",
)  # fmt: skip


@dataclass(frozen=True)
class StirResult:
    """STIR(target | reference), with all that defines it and tells how far to trust it.

    Attributes:
        value: S(m2(X), m2(X')), the mean over draws of X'; at most 1.
        interval: 95% confidence interval of `value` over images and seeds.
        cka: plain similarity S(m1(X), m2(X)) on the images themselves, by the same measure.
        cka_interval: its 95% confidence interval over images.
        ceiling: STIR(reference | reference) on the same X': 1 if the inversion is exact. A value
            above it says nothing.
        floor: the value with the X' dealt out to other images at random: what two networks score
            that share no invariance at all.
        images: [N, C, H, W], X.
        inversion: X', from the first draw.
        distances: [draws, N], the relative distance that each X' reached.
        reference, target: names.
        reference_layer, target_layer: where X' was made and where it was looked at.
        measure, seeds, solver: names.
        seed: of the first draw; each further draw has the next.
    """

    value: float
    interval: Interval
    cka: float
    cka_interval: Interval
    ceiling: float
    floor: float
    images: Float[Tensor, "n c h w"]
    inversion: Inversion
    distances: Float[Tensor, "draws n"]
    reference: str
    target: str
    reference_layer: str
    target_layer: str
    measure: str
    seeds: str
    seed: int
    solver: str

    @property
    def worst_case(self) -> bool:
        """Whether each X' was chosen to look as different to the target as it can."""
        return isinstance(self.inversion, Controversy)

    @property
    def converged(self) -> float:
        """Share of all X' within the tolerance."""
        return (self.distances <= self.inversion.tolerance).float().mean().item()

    def __repr__(self) -> str:
        low, high = self.interval
        name = "worst-case STIR" if self.worst_case else "STIR"
        return (
            f"{name}({self.target} | {self.reference}) = {self.value:.3f} [{low:.3f}, {high:.3f}], "
            f"{self.measure} {self.cka:.3f}, floor {self.floor:.3f}, ceiling {self.ceiling:.3f}, "
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
            "n_images": self.distances.shape[1],
            "n_draws": self.distances.shape[0],
            "steps": self.inversion.steps,
        }
        return pd.DataFrame([{name: row[name] if name in row else getattr(self, name) for name in COLUMNS}])

    def plot(self) -> Figure:
        """The value between floor and ceiling beside the plain similarity, how far the inversion came, and some of X'."""
        from stir import plots  # drawing libraries load slowly, and who only measures never needs them

        return plots.stir_result(self)


def score(
    target: nn.Module,
    *,
    given: nn.Module,
    images: Images,
    layer: str | None = None,
    given_layer: str | None = None,
    measure: str | Measure = "linear-cka",
    draws: int = 1,
    worst_case: bool = False,
    **inversion,
) -> StirResult:
    """STIR(target | given): how far `target` shares the invariances of `given`, its reference.

    Args:
        target: the network whose invariances are looked at, m2.
        given: the reference m1, which X' is made for. Both take images [N, C, H, W] in [0, 1].
        images: X, at least 5: a tensor, a data set or a data loader; the batches play no part.
        layer: dotted name of a submodule of both; None or "penultimate" for the input of the last
            linear layer.
        given_layer: the reference's layer, where that is another one.
        measure: S, a name from `stir.similarity.MEASURES` or a function of two feature matrices
            [N, P] and [N, Q] to a number of at most 1.
        draws: how many times X' is drawn.
        worst_case: take the X' of `stir.controversial`, which look as different to `target` as
            the reference's invariances allow: a lower end to what the average over X' hides.
        **inversion: arguments of `stir.invert` (of `stir.controversial` if `worst_case`): seeds,
            seed, within, solver, steps, tolerance, pool, device, batch_size, progress.

    Raises:
        ValueError: an argument out of its range, before any work; or features that the measure
            cannot compare.

    Warns:
        UserWarning: the inversion came out too poor to trust the value.
    """
    asked = _Question(gather_images(images), layer, given_layer or layer, measure, draws, inversion)
    asked.check_layer(target)
    if worst_case:
        if inversion.pop("solver", None) is not None:
            raise ValueError("worst_case=True has a solver of its own; leave `solver` out")
        make = partial(controversial, given, target, layer=layer, given_layer=given_layer)
    else:
        make = partial(invert, given, layer=asked.given_layer)
    (result,) = asked.answer("reference", given, asked.draw(make), {"target": target}, {})
    return result


def pairwise(
    models: Mapping[str, nn.Module],
    images: Images,
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
    images = gather_images(images)
    questions = [_Question(images, layer, layer, measure, draws, {**inversion, "progress": progress}) for layer in layers]
    for asked in questions:
        for model in models.values():
            asked.check_layer(model)
    results = []
    with tqdm(total=len(models) * len(layers), desc="references", unit="inversion", disable=not progress, leave=False) as bar:
        for asked in questions:
            plain: dict[str, Tensor] = {}
            for name, reference in models.items():
                found = asked.draw(partial(invert, reference, layer=asked.given_layer))
                results += asked.answer(name, reference, found, models, plain)
                bar.update()
    return pd.concat([result.to_frame() for result in results], ignore_index=True)


@dataclass(frozen=True)
class _Question:
    """All that a score depends on but the two networks."""

    images: Tensor
    layer: str | None
    given_layer: str | None
    measure: str | Measure
    draws: int
    inversion: dict

    def __post_init__(self) -> None:
        get_measure(self.measure)
        # The jackknife leaves one image out.
        if len(self.images) <= MIN_IMAGES:
            raise ValueError(f"images holds {len(self.images)} image(s); a similarity with an interval needs at least {MIN_IMAGES + 1}")
        if self.draws < 1:
            raise ValueError(f"draws={self.draws} must be at least 1")
        if self.draws > 1 and self.seeds in ("given", "white", "black"):
            raise ValueError(f"draws={self.draws}: these seeds are the same at every draw; use draws=1")

    @property
    def seeds(self) -> str:
        seeds = self.inversion.get("seeds", "gaussian")
        return seeds if isinstance(seeds, str) else "given"

    def _options(self, *names: str) -> dict:
        return {name: self.inversion[name] for name in names if name in self.inversion}

    def check_layer(self, target: nn.Module) -> None:
        """Raise a ValueError where `target` has no such layer, ahead of the work."""
        with Representation(target, self.images, self.layer, **self._options("pool", "device")):
            pass

    def draw(self, make: Callable[..., Inversion]) -> list[Inversion]:
        """X', once for each draw."""
        first = self.inversion.get("seed", 0)
        return [make(images=self.images, **{**self.inversion, "seed": first + draw}) for draw in range(self.draws)]

    def answer(
        self, name: str, reference: nn.Module, found: list[Inversion], targets: Mapping[str, nn.Module], plain: dict[str, Tensor]
    ) -> list[StirResult]:
        """The score of each target on the X' that were found for `reference`. `plain` keeps features of X for later questions."""
        represent = partial(features, **self._options("pool", "device", "batch_size"))
        inverted = torch.cat([draw.images for draw in found])
        own = represent(reference, self.images, layer=self.given_layer)
        own_again = represent(reference, inverted, layer=self.given_layer).chunk(self.draws)
        layers = self.given_layer or PENULTIMATE, self.layer or PENULTIMATE
        results = []
        for other, target in targets.items():
            if other not in plain:
                plain[other] = represent(target, self.images, layer=self.layer)
            again = represent(target, inverted, layer=self.layer).chunk(self.draws)
            try:
                numbers = _numbers(get_measure(self.measure), own, own_again, plain[other], again, self.seeds == "gaussian-shared")
            except ValueError as error:
                raise ValueError(f"reference {name!r} at layer={layers[0]!r}, target {other!r} at layer={layers[1]!r}: {error}") from error
            results.append(
                StirResult(
                    **numbers,
                    images=self.images,
                    inversion=found[0],
                    distances=torch.stack([draw.distance for draw in found]),
                    reference=name,
                    target=other,
                    reference_layer=layers[0],
                    target_layer=layers[1],
                    measure=self.measure if isinstance(self.measure, str) else getattr(self.measure, "__name__", "custom"),
                    seeds=self.seeds,
                    seed=self.inversion.get("seed", 0),
                    solver="adam-logit" if isinstance(found[0], Controversy) else self.inversion.get("solver", DEFAULT_SOLVER),
                )
            )
        _warn_if_poor(results[0])
        return results


def _numbers(
    compare: Measure,
    reference: Tensor,
    reference_again: Sequence[Tensor],
    target: Tensor,
    target_again: Sequence[Tensor],
    shared: bool,
) -> dict:
    """The similarities of a `StirResult`, from the features of X and, "again", of each draw of X'."""
    draws = len(target_again)
    value, interval = mean_similarity(compare, target, target_again, shared)
    cka, cka_interval = mean_similarity(compare, reference, [target])
    ceiling = sum(compare(reference, again) for again in reference_again) / draws
    generator = torch.Generator().manual_seed(0)
    floor = sum(compare(target, again[random_cycle(len(again), generator)]) for again in target_again for _ in range(DEALS))
    return dict(value=value, interval=interval, cka=cka, cka_interval=cka_interval, ceiling=ceiling, floor=floor / draws / DEALS)


def _warn_if_poor(result: StirResult) -> None:
    if result.ceiling < LOW_CEILING or result.converged < LOW_CONVERGED:
        warnings.warn(
            f"inverting {result.reference!r} at layer {result.reference_layer!r} ended with ceiling {result.ceiling:.3f} "
            f"and {result.converged:.0%} of the images within {result.inversion.tolerance:g}: STIR is not to be trusted; "
            f"use more than steps={result.inversion.steps}",
            stacklevel=4,
        )
