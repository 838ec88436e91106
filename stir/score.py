"""STIR: to what extent a target network shares a reference's invariances (Nanda et al. 2022, eq. 2)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Float
from scipy.stats import t as student
from torch import Tensor, nn
from tqdm.auto import tqdm

from stir.inversion import Inversion, invert
from stir.representation import PENULTIMATE, check_images, features
from stir.similarity import MIN_IMAGES, Measure, get_measure

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
    images: Tensor,
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
        images: X, at least 5.
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
    images: Tensor,
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


def _score_targets(
    models: Mapping[str, nn.Module],
    reference: str,
    targets: Mapping[str, nn.Module],
    images: Tensor,
    layers: tuple[str | None, str | None],
    measure: str | Measure,
    draws: int,
    inversion: dict,
    plain: dict[str, Tensor] | None = None,
) -> list[StirResult]:
    """STIR of every target given one reference, all on the same X'. `plain` collects features of X."""
    compare = get_measure(measure)
    _check(images, draws, inversion.get("seeds", "gaussian"))
    plain = {} if plain is None else plain
    options = {name: inversion[name] for name in ("pool", "device", "batch_size") if name in inversion}
    given_layer, layer = layers
    model, first_seed = models[reference], inversion.get("seed", 0)

    def represent(network: nn.Module, x: Tensor, where: str | None) -> Tensor:
        return features(network, x, layer=where, **options)

    for name, network in targets.items():  # first of all, since a wrong layer shows here
        if name not in plain:
            plain[name] = represent(network, images, layer)
    of_reference = represent(model, images, given_layer)
    found = [invert(model, images, layer=given_layer, **{**inversion, "seed": first_seed + draw}) for draw in range(draws)]
    inverted = torch.cat([draw.images for draw in found])
    shared = inversion.get("seeds", "gaussian") == "gaussian-shared"
    own = represent(model, inverted, given_layer).chunk(draws)
    results = []
    for name, network in targets.items():
        across = represent(network, inverted, layer).chunk(draws)
        try:
            value, interval = _estimate(compare, plain[name], across, shared)
            cka, cka_interval = _estimate(compare, of_reference, [plain[name]])
            ceiling = sum(compare(of_reference, x) for x in own) / draws
        except ValueError as error:
            raise ValueError(f"reference {reference!r} at layer={given_layer or PENULTIMATE!r}, target {name!r} at layer={layer or PENULTIMATE!r}: {error}") from error
        results.append(
            StirResult(
                value=value,
                interval=interval,
                cka=cka,
                cka_interval=cka_interval,
                ceiling=ceiling,
                inversion=found[0],
                distances=torch.stack([draw.distance for draw in found]),
                reference=reference,
                target=name,
                reference_layer=given_layer or PENULTIMATE,
                target_layer=layer or PENULTIMATE,
                measure=measure if isinstance(measure, str) else getattr(measure, "__name__", "custom"),
                seeds=seeds if isinstance(seeds := inversion.get("seeds", "gaussian"), str) else "given",
                solver=inversion.get("solver", "adam-logit"),
            )
        )
    _warn_if_poor(results[0])
    return results


def _check(images: Tensor, draws: int, seeds: str | Tensor) -> None:
    check_images(images)
    # The jackknife leaves one image out.
    if len(images) <= MIN_IMAGES:
        raise ValueError(f"images holds {len(images)} image(s); a similarity with an interval needs at least {MIN_IMAGES + 1}")
    if draws < 1:
        raise ValueError(f"draws={draws} must be at least 1")
    if draws > 1 and (isinstance(seeds, Tensor) or seeds in ("white", "black")):
        raise ValueError(f"draws={draws}: these seeds are the same at every draw; use draws=1")


def _warn_if_poor(result: StirResult) -> None:
    converged = (result.distances <= result.inversion.tolerance).float().mean().item()
    if result.ceiling < LOW_CEILING or converged < LOW_CONVERGED:
        warnings.warn(
            f"inverting {result.reference!r} at layer {result.reference_layer!r} ended with ceiling {result.ceiling:.3f} "
            f"and {converged:.0%} of the images within {result.inversion.tolerance:g}: STIR is not to be trusted; "
            f"use more than steps={result.inversion.steps}",
            stacklevel=4,
        )


def _estimate(
    compare: Measure, plain: Tensor, draws: Sequence[Tensor], shared: bool = False
) -> tuple[float, Interval]:
    """Mean similarity of `plain` to each draw, with a 95% interval by the group jackknife over images.

    An image goes with all its draws, so the jackknife sees their variation too, but not that of a
    seed image which all images share; that is added. No bootstrap: its repeated rows raise CKA.
    The interval is taken on Fisher's z scale, where it cannot leave [-1, 1].
    """
    values = torch.tensor([compare(plain, draw) for draw in draws], dtype=torch.float64)
    mean = values.mean()
    order = torch.randperm(len(plain), generator=torch.Generator().manual_seed(0)).to(plain.device)
    groups = order.chunk(min(GROUPS, len(plain)))
    left = []
    for group in groups:
        keep = torch.ones(len(plain), dtype=torch.bool, device=plain.device)
        keep[group] = False
        left.append(sum(compare(plain[keep], draw[keep]) for draw in draws) / len(draws))
    z = _fisher(torch.tensor(left, dtype=torch.float64))
    variance = (len(groups) - 1) ** 2 / len(groups) * z.var()
    if shared and len(draws) > 1:
        variance = variance + _fisher(values).var() / len(draws)
    reach = student.ppf(0.975, len(groups) - 1) * math.sqrt(variance)
    middle = _fisher(mean)
    return mean.item(), (math.tanh(middle - reach), math.tanh(middle + reach))


def _fisher(value: Tensor) -> Tensor:
    return torch.atanh(value.clamp(-1 + 1e-12, 1 - 1e-12))
