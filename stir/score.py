"""STIR: to what extent a target network shares a reference's invariances (Nanda et al. 2022, eq. 2)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from stir.cka import MIN_IMAGES
from stir.devices import can_be_sent, resolve_device, side_by_side
from stir.images import Images, gather_images
from stir.intervals import Interval, mean_similarity
from stir.inversion import Controversy, Inversion, controversial, invert
from stir.representation import BATCH_SIZE, PENULTIMATE, Representation
from stir.result import StirResult
from stir.seeds import random_cycle
from stir.similarity import Measure, get_measure
from stir.solvers import DEFAULT_SOLVER

LOW_CEILING = 0.95
LOW_CONVERGED = 0.5
DEALS = 5  # of each draw's X', for the floor: enough to steady its second digit


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
            seed, within, solver, steps, tolerance, pool, precision, device, batch_size, progress.

    Raises:
        ValueError: an argument out of its range, before any work; or features that the measure
            cannot compare.

    Warns:
        UserWarning: the inversion came out too poor to trust the value.
    """
    asked = _Question(gather_images(images), layer, given_layer or layer, measure, draws, inversion)
    asked.check_layer(target)
    targets = {"target": target}
    made = _Made("reference", ["target"], asked.draw(asked.maker(given, targets, worst_case)))
    (result,) = asked.answer([made], {"reference": given}, targets)
    return result


def pairwise(
    models: Mapping[str, nn.Module],
    images: Images,
    *,
    layers: Sequence[str | None] = (None,),
    measure: str | Measure = "linear-cka",
    also: Sequence[str | Measure] = (),
    draws: int = 1,
    worst_case: bool = False,
    progress: bool = True,
    **inversion,
) -> pd.DataFrame:
    """STIR of every ordered pair of networks, each with itself among them, at every layer.

    Each reference is inverted once for each layer and draw, several references at a time on a CPU (see
    `stir.devices.side_by_side`), and all targets are scored on that.

    Args:
        models: name -> network.
        images, measure, draws, **inversion: as in `score`.
        layers: each is used on both sides.
        worst_case: as in `score`; then there are X' for each pair, and no pairs of a network with itself.
        also: further measures, of the same X'. Their rows have no floor and no intervals, which would take nearly all the time.

    Returns:
        One row for each ordered pair, layer and measure, with the columns of `stir.result.COLUMNS`.

    Warns:
        UserWarning: as `score`; or one of `also` refuses a pair, whose row it then lacks.
    """
    if not models:
        raise ValueError("models is empty; give at least one network")
    if not layers:
        raise ValueError("layers is empty; give at least one layer, or None for the penultimate one")
    if worst_case and len(models) < 2:
        raise ValueError("models holds one network; worst_case=True compares at least two")
    images = gather_images(images)
    questions = [_Question(images, layer, layer, measure, draws, {**inversion, "progress": progress}, tuple(also)) for layer in layers]
    for asked in questions:
        for model in models.values():
            asked.check_layer(model)
    # Starting processes takes about as long as two inversions of a small network.
    at_least = 4 if can_be_sent((models, measure, also)) else math.inf
    made = _invert_each(questions, models, worst_case, resolve_device(inversion.get("device", "auto")), at_least, progress)
    results: list[StirResult] = []
    for asked, own in zip(questions, made, strict=True):
        results += asked.answer(own, models, models)
    return pd.DataFrame([result.as_row() for result in results])


def _invert_each(
    questions: Sequence[_Question], models: Mapping[str, nn.Module], worst_case: bool, device: torch.device, at_least: int | float, progress: bool
) -> list[list[_Made]]:
    """The X' of each question, for each reference (or, if `worst_case`, each pair)."""
    tasks = []
    for number, name in product(range(len(questions)), models):
        alone = [[other] for other in models if other != name]
        tasks += [(number, name, targets) for targets in (alone if worst_case else [[*models]])]
    making = [
        (questions[number], questions[number].maker(models[name], {other: models[other] for other in targets}, worst_case))
        for number, name, targets in tasks
    ]
    running = side_by_side(_Question.draw, making, device, at_least)
    # All before any is looked at: a network cannot be used here while it is being sent elsewhere.
    found = list(tqdm(running, total=len(tasks), desc="pairs" if worst_case else "references", unit="inversion", disable=not progress, leave=False))
    made: list[list[_Made]] = [[] for _ in questions]
    for (number, name, targets), draws_of_it in zip(tasks, found, strict=True):
        made[number].append(_Made(name, targets, draws_of_it))
    return made


def check(images: Images, *, measure: str | Measure = "linear-cka", also: Sequence[str | Measure] = (), draws: int = 1, **inversion) -> None:
    """Raise a ValueError for images, measures or draws that `pairwise` would refuse; what it hands on to `invert` shows there."""
    _Question(gather_images(images), None, None, measure, draws, inversion, tuple(also))


@dataclass(frozen=True)
class _Question:
    """All that a score depends on but the two networks."""

    images: Tensor
    layer: str | None
    given_layer: str | None
    measure: str | Measure
    draws: int
    inversion: dict
    also: tuple[str | Measure, ...] = ()

    def __post_init__(self) -> None:
        for measure in (self.measure, *self.also):
            get_measure(measure)
        if len({self.measure, *self.also}) <= len(self.also):
            raise ValueError(f"also={list(map(_name, self.also))} must hold no measure twice, nor {_name(self.measure)!r}, which is measured anyway")
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
        with self._features_of(target, self.layer):
            pass

    def maker(self, reference: nn.Module, targets: Mapping[str, nn.Module], worst_case: bool) -> Callable[..., Inversion]:
        """What makes X' of the reference: for all targets, or for the one that it shall look most different to."""
        if not worst_case:
            return partial(invert, reference, layer=self.given_layer)
        if "solver" in self.inversion:
            raise ValueError("worst_case=True has a solver of its own; leave `solver` out")
        (target,) = targets.values()
        return partial(controversial, reference, target, layer=self.layer, given_layer=self.given_layer)

    def draw(self, make: Callable[..., Inversion]) -> list[Inversion]:
        """X', once for each draw."""
        first = self.inversion.get("seed", 0)
        return [make(images=self.images, **{**self.inversion, "seed": first + draw}) for draw in range(self.draws)]

    @contextmanager
    def _features_of(self, network: nn.Module, layer: str | None) -> Iterator[Callable[[Tensor], Tensor]]:
        """What makes features of images, set up once for many."""
        with Representation(network, self.images, layer, **self._options("pool", "device")) as represent:
            yield partial(represent.in_batches, batch_size=self.inversion.get("batch_size", BATCH_SIZE))

    def answer(self, made: Sequence[_Made], references: Mapping[str, nn.Module], targets: Mapping[str, nn.Module]) -> list[StirResult]:
        """The scores on all X' that were made: for each its targets, and for each target the measures, in their order."""
        own, seen = {}, {}
        for name in dict.fromkeys(each.reference for each in made):
            with self._features_of(references[name], self.given_layer) as see:
                own[name] = see(self.images)
                seen |= {id(each): _Seen(own[name], see(each.images).chunk(self.draws)) for each in made if each.reference == name}
        plain: dict[frozenset, tuple[float, Interval]] = {}  # similarities of X itself
        results: dict[tuple, list[StirResult]] = {}
        pairs = [(each, name) for each in made for name in each.targets]
        with tqdm(total=len(pairs), desc="scores", unit="pair", disable=not self.inversion.get("progress", True), leave=False) as bar:
            for name in dict.fromkeys(name for _, name in pairs):
                with self._features_of(targets[name], self.layer) as see:
                    theirs = see(self.images)
                    for each in (each for each, other in pairs if other == name):
                        again = see(each.images).chunk(self.draws)
                        results[id(each), name] = self._results(each, name, seen[id(each)], theirs, again, plain)
                        bar.update()
        for each in made:
            _warn_if_poor(results[id(each), each.targets[0]][0])
        return [result for each, name in pairs for result in results[id(each), name]]

    def _results(
        self, made: _Made, target: str, seen: _Seen, theirs: Tensor, again: Sequence[Tensor], plain: dict[frozenset, tuple[float, Interval]]
    ) -> list[StirResult]:
        """The scores of one target by all measures, from its features of X and of each draw of X'."""
        layers = self.given_layer or PENULTIMATE, self.layer or PENULTIMATE
        first = made.draws[0]
        about = dict(
            images=self.images,
            inversion=first,
            distances=torch.stack([draw.distance for draw in made.draws]),
            reference=made.reference,
            reference_layer=layers[0],
            target_layer=layers[1],
            seeds=self.seeds,
            seed=self.inversion.get("seed", 0),
            solver="adam-logit" if isinstance(first, Controversy) else self.inversion.get("solver", DEFAULT_SOLVER),
            target=target,
        )
        results = []
        for measure in (self.measure, *self.also):
            try:
                if measure not in seen.ceilings:
                    seen.ceilings[measure] = self._mean(measure, seen.own, seen.again)
                if measure == self.measure:
                    numbers = self._numbers(seen.own, theirs, again, plain, frozenset((made.reference, target)))
                else:
                    numbers = self._values(measure, seen.own, theirs, again)
            except ValueError as error:
                told = f"reference {made.reference!r} at layer={layers[0]!r}, target {target!r} at layer={layers[1]!r}: {error}"
                if measure == self.measure:
                    raise ValueError(told) from error
                warnings.warn(f"{_name(measure)} is left out for {told}", stacklevel=4)
                continue
            results.append(StirResult(**about, **numbers, ceiling=seen.ceilings[measure], measure=_name(measure)))
        return results

    def _numbers(self, own: Tensor, theirs: Tensor, again: Sequence[Tensor], known: dict[frozenset, tuple], pair: frozenset) -> dict:
        """Similarities of a `StirResult`, from features of X in the reference and in the target, and of each draw of X' in the target."""
        compare = get_measure(self.measure)
        value, interval = mean_similarity(compare, theirs, again, self.seeds == "gaussian-shared")
        # The named measures are symmetric; a function of the user's own need not be.
        if pair not in known or callable(self.measure):
            known[pair] = mean_similarity(compare, own, [theirs])
        cka, cka_interval = known[pair]
        generator = torch.Generator().manual_seed(0)
        dealt = [compare(theirs, draw[random_cycle(len(draw), generator)]) for draw in again for _ in range(DEALS)]
        return dict(value=value, interval=interval, cka=cka, cka_interval=cka_interval, floor=sum(dealt) / len(dealt))

    def _values(self, measure: str | Measure, own: Tensor, theirs: Tensor, again: Sequence[Tensor]) -> dict:
        """The same by a further measure, without what takes long."""
        unknown = (math.nan, math.nan)
        plain = get_measure(measure)(own, theirs)
        return dict(value=self._mean(measure, theirs, again), interval=unknown, cka=plain, cka_interval=unknown, floor=math.nan)

    @staticmethod
    def _mean(measure: str | Measure, features: Tensor, again: Sequence[Tensor]) -> float:
        return sum(get_measure(measure)(features, draw) for draw in again) / len(again)


@dataclass(frozen=True)
class _Made:
    """X' of a reference, once for each draw, and the targets that are to look at it."""

    reference: str
    targets: Sequence[str]
    draws: Sequence[Inversion]

    @property
    def images(self) -> Tensor:
        """Those of all draws, one after another."""
        first, *others = (draw.images for draw in self.draws)
        return torch.cat([first, *others]) if others else first


@dataclass(frozen=True)
class _Seen:
    """A reference's own features, of X and of each draw of its X', and what follows from them by measure."""

    own: Tensor
    again: Sequence[Tensor]
    ceilings: dict[str | Measure, float] = field(default_factory=dict)


def _name(measure: str | Measure) -> str:
    return measure if isinstance(measure, str) else getattr(measure, "__name__", "custom")


def _warn_if_poor(result: StirResult) -> None:
    if result.ceiling < LOW_CEILING or result.converged < LOW_CONVERGED:
        warnings.warn(
            f"inverting {result.reference!r} at layer {result.reference_layer!r} ended with ceiling {result.ceiling:.3f} "
            f"and {result.converged:.0%} of the images within {result.inversion.tolerance:g}: STIR is not to be trusted; "
            f"use more than steps={result.inversion.steps}",
            stacklevel=4,
        )
