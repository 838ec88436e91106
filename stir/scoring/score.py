"""STIR: to what extent a target network shares a reference's invariances (Nanda et al. 2022, eq. 2)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from stir.data.images import Images, gather_images
from stir.inversion.invert import Controversy
from stir.inversion.representation import PENULTIMATE
from stir.inversion.seeds import random_cycle
from stir.inversion.solvers import DEFAULT_SOLVER
from stir.scoring.baselines import Baselines, Scores
from stir.scoring.question import Made, Question, make_all
from stir.scoring.result import StirResult
from stir.similarity.intervals import Interval, mean_similarity
from stir.similarity.measures import Measure, get_measure, name_of

LOW_CEILING = 0.95
LOW_CONVERGED = 0.5  # half done, an average still says what most X' are like
# Of a worst case nothing bounds what the images that failed add: they differ in what the reference does see. Between robust networks on digits,
# 51% converged, it was 0.50 with them and 0.64 without.
LOW_CONVERGED_WORST = 0.9
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
        measure: S, a name from `stir.similarity.measures.MEASURES` or a function of two feature matrices
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
        UserWarning: the inversion came out too poor to trust the value: a ceiling below 0.95, or fewer than half of the images
            within the tolerance, or than 90% if `worst_case`; or the interval leaves out that of the seed (gaussian-shared, one draw).
    """
    asked = Question(
        gather_images(images), layer, layer if given_layer is None else given_layer, measure, draws, inversion
    )
    _warn_of_one_seed(asked)
    asked.check_layer(target)
    made = Made("reference", ["target"], asked.draw(asked.maker(given, target if worst_case else None)))
    (result,) = _answer(asked, [made], {"reference": given}, {"target": target})
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
    `stir.computing.parallel.side_by_side`), and all targets are scored on that.

    Args:
        models: name -> network.
        images, measure, draws, **inversion: as in `score`.
        layers: each is used on both sides.
        worst_case: as in `score`; then there are X' for each pair, and no pairs of a network with itself.
        also: further measures, of the same X'. Their rows have baselines, but no floor and no intervals, which would take nearly all the time.

    Returns:
        One row for each ordered pair, layer and measure, with the columns of `stir.scoring.result.COLUMNS`.

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
    questions = [
        Question(images, layer, layer, measure, draws, {**inversion, "progress": progress}, tuple(also))
        for layer in layers
    ]
    for asked in questions:
        for model in models.values():
            asked.check_layer(model)
    _warn_of_one_seed(questions[0])
    made = make_all(questions, models, worst_case)
    results: list[StirResult] = []
    for asked, own in zip(questions, made, strict=True):
        results += _answer(asked, own, models, models)
    return pd.DataFrame([result.as_row() for result in results])


@dataclass(frozen=True)
class _Seen:
    """A reference's own features, of X and of each draw of its X', and what follows from them by measure."""

    own: Tensor
    again: Sequence[Tensor]
    ceilings: dict[str | Measure, float] = field(default_factory=dict)


def _answer(
    asked: Question, made: Sequence[Made], references: Mapping[str, nn.Module], targets: Mapping[str, nn.Module]
) -> list[StirResult]:
    """The scores on all X' that were made: for each its targets, and for each target the measures, in their order."""
    seen = {}
    for name in dict.fromkeys(each.reference for each in made):
        with asked.features_of(references[name], asked.given_layer) as see:
            own = see(asked.images)
            seen |= {
                id(each): _Seen(own, see(each.images).chunk(asked.draws)) for each in made if each.reference == name
            }
    plain: dict[frozenset, tuple[float, Interval]] = {}  # similarities of X itself
    baselines = Baselines(asked)
    results: dict[tuple, list[StirResult]] = {}
    pairs = [(each, name) for each in made for name in each.targets]
    with tqdm(total=len(pairs), desc="scores", unit="pair", disable=not asked.progress, leave=False) as bar:
        for name in dict.fromkeys(name for _, name in pairs):
            own = [each for each, other in pairs if other == name]
            untrained = baselines.untrained(targets[name], own)
            with asked.features_of(targets[name], asked.layer) as see:
                theirs = see(asked.images)
                for each in own:
                    again = see(each.images).chunk(asked.draws)
                    beside = {"pixels": baselines.pixels(each), "untrained": untrained[id(each)]}
                    results[id(each), name] = _results(asked, each, name, seen[id(each)], theirs, again, plain, beside)
                    bar.update()
    for each in made:
        _warn_if_poor(results[id(each), each.targets[0]][0])
    return [result for each, name in pairs for result in results[id(each), name]]


def _results(
    asked: Question,
    made: Made,
    target: str,
    seen: _Seen,
    theirs: Tensor,
    again: Sequence[Tensor],
    plain: dict[frozenset, tuple[float, Interval]],
    baselines: Mapping[str, Scores],
) -> list[StirResult]:
    """The scores of one target by all measures, from its features of X and of each draw of X'."""
    about = _about(asked, made) | {"target": target}
    results = []
    for measure in asked.measures:
        try:
            if measure not in seen.ceilings:
                seen.ceilings[measure] = _mean(measure, seen.own, seen.again)
            if measure == asked.measure:
                numbers = _numbers(asked, seen.own, theirs, again, plain, frozenset((made.reference, target)))
            else:
                numbers = _values(measure, seen.own, theirs, again)
        except ValueError as error:
            told = f"reference {made.reference!r} at layer={about['reference_layer']!r}, target {target!r} at layer={about['target_layer']!r}: {error}"
            if measure == asked.measure:
                raise ValueError(told) from error
            warnings.warn(f"{name_of(measure)} is left out for {told}", stacklevel=4)
            continue
        beside = {name: scores[measure] for name, scores in baselines.items()}
        results.append(
            StirResult(**about, **numbers, **beside, ceiling=seen.ceilings[measure], measure=name_of(measure))
        )
    return results


def _about(asked: Question, made: Made) -> dict:
    """What a `StirResult` holds of X' alone."""
    first = made.draws[0]
    return dict(
        images=asked.images,
        inversion=first,
        distances=torch.stack([draw.distance for draw in made.draws]),
        moved=torch.stack([draw.moved for draw in made.draws]).mean().item(),
        towards=torch.stack([draw.towards for draw in made.draws]).nanmean().item(),
        reference=made.reference,
        reference_layer=asked.given_layer or PENULTIMATE,
        target_layer=asked.layer or PENULTIMATE,
        seeds=asked.seeds,
        seed=asked.inversion.get("seed", 0),
        solver="adam-logit" if isinstance(first, Controversy) else asked.inversion.get("solver", DEFAULT_SOLVER),
    )


def _numbers(
    asked: Question,
    own: Tensor,
    theirs: Tensor,
    again: Sequence[Tensor],
    known: dict[frozenset, tuple],
    pair: frozenset,
) -> dict:
    """Similarities of a `StirResult`, from features of X in the reference and in the target, and of each draw of X' in the target."""
    compare = get_measure(asked.measure)
    value, interval = mean_similarity(compare, theirs, again, asked.seeds == "gaussian-shared")
    # The named measures are symmetric; a function of the user's own need not be.
    if pair not in known or callable(asked.measure):
        known[pair] = mean_similarity(compare, own, [theirs])
    cka, cka_interval = known[pair]
    generator = torch.Generator().manual_seed(0)
    dealt = [compare(theirs, draw[random_cycle(len(draw), generator)]) for draw in again for _ in range(DEALS)]
    return dict(value=value, interval=interval, cka=cka, cka_interval=cka_interval, floor=sum(dealt) / len(dealt))


def _values(measure: str | Measure, own: Tensor, theirs: Tensor, again: Sequence[Tensor]) -> dict:
    """The same by a further measure, without what takes long."""
    unknown = (math.nan, math.nan)
    plain = get_measure(measure)(own, theirs)
    return dict(value=_mean(measure, theirs, again), interval=unknown, cka=plain, cka_interval=unknown, floor=math.nan)


def _mean(measure: str | Measure, features: Tensor, again: Sequence[Tensor]) -> float:
    return sum(get_measure(measure)(features, draw) for draw in again) / len(again)


def _warn_if_poor(result: StirResult) -> None:
    wanted = LOW_CONVERGED_WORST if result.worst_case else LOW_CONVERGED
    if result.ceiling < LOW_CEILING or result.converged < wanted:
        against = f" against {result.target!r}" if result.worst_case else ""
        remedy = " or a larger tolerance" if result.worst_case else ""
        warnings.warn(
            f"inverting {result.reference!r} at layer {result.reference_layer!r}{against} ended with ceiling {result.ceiling:.3f} "
            f"and {result.converged:.0%} of the images within {result.inversion.tolerance:g}: {'the worst case' if result.worst_case else 'STIR'} "
            f"is not to be trusted; use more than steps={result.inversion.steps}{remedy}",
            stacklevel=4,
        )


def _warn_of_one_seed(asked: Question) -> None:
    if asked.seeds == "gaussian-shared" and asked.draws == 1:
        warnings.warn(
            "seeds='gaussian-shared' with draws=1: the intervals leave out how STIR varies with the one seed image; use draws=3 or more to have it counted",
            stacklevel=3,
        )
