"""STIR: to what extent a target network shares a reference's invariances (Nanda et al. 2022, eq. 2)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from stir.data.images import Images, gather_images
from stir.inversion.options import InversionOptions, with_changes
from stir.inversion.representation import PENULTIMATE
from stir.inversion.seeds import random_cycle
from stir.scoring.baselines import Baselines, Scores
from stir.scoring.cautions import warn_of_one_seed, warn_of_scores
from stir.scoring.draws import Draws, draw
from stir.scoring.question import Layer, Question
from stir.scoring.result import StirResult
from stir.scoring.schedule import draw_all
from stir.similarity.intervals import Interval, mean_similarity
from stir.similarity.measures import Measure, get_measure, name_of

DEALS = 5  # random permutations of each draw's X', for the floor: enough to steady its second digit


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
    options: InversionOptions | None = None,
    **changes,
) -> StirResult:
    """STIR(target | given): how far `target` shares the invariances of `given`, its reference.

    Args:
        target: the network whose invariances are looked at, m2.
        given: the reference m1, which X' is made for. Both take images [N, C, H, W] in [0, 1].
        images: X, at least 5: a tensor, a data set or a data loader; the batches play no part.
        layer: of both, as in `stir.inversion.representation.Representation`: dotted name of a submodule; None or
            "penultimate" for the input of the last linear layer.
        given_layer: the reference's layer, where that is another one.
        measure: S, a name from `stir.similarity.MEASURES` or a function of two feature matrices
            [N, P] and [N, Q] to a number of at most 1.
        draws: how many times X' is drawn.
        worst_case: take the X' of `stir.controversial`, which look as different to `target` as
            the reference's invariances allow: a lower end to what the average over X' hides.
        options: of the inversion; None for the defaults of `stir.InversionOptions`.
        **changes: fields of `options` that differ: seeds, seed, within, solver (not in the worst case), steps,
            tolerance, pool, precision, device, batch_size, progress.

    Returns:
        The score with all that tells how far to trust it.

    Raises:
        ValueError: an argument out of its range, before any work; or features that the measure
            cannot compare.
        TypeError: an argument that is no option of an inversion.

    Warns:
        UserWarning: the inversion came out too poor to trust the value: a ceiling below 0.95, or fewer than half of the
            images within the tolerance, or than 90% if `worst_case`; the interval includes or lies below the floor or
            a baseline, unless `worst_case`; or it leaves out that of the seed (gaussian-shared, one draw).
    """
    question = Question(
        images=gather_images(images),
        layer=layer,
        given_layer=layer if given_layer is None else given_layer,
        measure=measure,
        draws=draws,
        worst_case=worst_case,
        options=with_changes(options, changes),
    )
    warn_of_one_seed(question)
    question.check_target("target", target)
    question.check_reference("reference", given)
    inversions = draw(question, given, target if worst_case else None)
    draws_of_reference = Draws("reference", ["target"], inversions)
    (result,) = _score_all(question, [draws_of_reference], {"reference": given}, {"target": target})
    warn_of_scores(result.to_frame(), question)
    return result


def pairwise(
    models: Mapping[str, nn.Module],
    images: Images,
    *,
    layers: Sequence[Layer] | Mapping[str, str | None] = (None,),
    measure: str | Measure = "linear-cka",
    also: Sequence[str | Measure] = (),
    draws: int = 1,
    worst_case: bool = False,
    options: InversionOptions | None = None,
    **changes,
) -> pd.DataFrame:
    """STIR of every ordered pair of networks, each with itself among them, at every layer.

    Each reference is inverted once for each layer and draw, several references at a time on a CPU (see
    `stir.computing.parallel.side_by_side`), and all targets are scored on that.

    Args:
        models: name -> network.
        images, measure, draws, options, **changes: as in `score`.
        layers: each is used on both sides. One of them may be a mapping from the networks' names to their layers, as in
            `[{"resnet": "layer3", "vit": "encoder.ln"}]`; a mapping alone is one layer.
        worst_case: as in `score`; then there are X' for each pair, and no pairs of a network with itself.
        also: further measures, of the same X'. Their rows have baselines, but no floor and no intervals, which would
            take nearly all the time.

    Raises:
        ValueError, TypeError: as `score`, or no network or layer is given; before any work.

    Returns:
        One row for each ordered pair, layer and measure, with the columns of `stir.scoring.result.COLUMNS`.

    Warns:
        UserWarning: as `score`, each once for all pairs, with the worst of them; or one of `also` refuses a pair, whose
            row it then lacks.
    """
    if not models:
        raise ValueError("models is empty; give at least one network")
    if not layers:
        raise ValueError("layers is empty; give at least one layer, or None for the penultimate one")
    if worst_case and len(models) < 2:
        raise ValueError("models holds one network; worst_case=True compares at least two")
    shared: dict[str, Any] = dict(measure=measure, also=tuple(also), draws=draws, worst_case=worst_case)
    images, options = gather_images(images), with_changes(options, changes)
    layers = [layers] if isinstance(layers, Mapping) else layers
    for layer in layers:
        if isinstance(layer, Mapping) and set(layer) != set(models):
            raise ValueError(f"layers names {sorted(layer)}; it must name each of the networks, {sorted(models)}")
    questions = [Question(images, layer, layer, options=options, **shared) for layer in layers]
    for question in questions:
        for name, model in models.items():
            question.check_reference(name, model)  # and so all that a target must fulfil, which has the same layer
    warn_of_one_seed(questions[0])
    results: list[StirResult] = []
    for question, draws_of_references in zip(questions, draw_all(questions, models), strict=True):
        results += _score_all(question, draws_of_references, models, models)
    table = pd.DataFrame([result.as_row() for result in results])
    warn_of_scores(table, questions[0])
    return table


@dataclass(frozen=True)
class _OwnFeatures:
    """A reference's own features of X and of each draw of its X', where taken, and the ceilings by measure."""

    of_x: Tensor
    of_draws: Sequence[Tensor]
    taken: str
    ceilings: dict[str | Measure, float] = field(default_factory=dict)


def _score_all(
    question: Question,
    all_draws: Sequence[Draws],
    references: Mapping[str, nn.Module],
    targets: Mapping[str, nn.Module],
) -> list[StirResult]:
    """The scores on all draws: for each its targets, and for each target the measures, in their order."""
    own_features: dict[Draws, _OwnFeatures] = {}
    batch_size = question.options.batch_size
    for name in dict.fromkeys(draws.reference for draws in all_draws):
        with question.as_reference(name, references[name]) as represent:
            of_x = represent.in_batches(question.images, batch_size)
            for draws in all_draws:
                if draws.reference == name:
                    of_draws = represent.in_batches(draws.images, batch_size).chunk(question.draws)
                    own_features[draws] = _OwnFeatures(of_x, of_draws, represent.taken)
    plain: dict[frozenset, tuple[float, Interval]] = {}  # similarities on X itself, by pair
    baselines = Baselines(question)
    results: dict[tuple[Draws, str], list[StirResult]] = {}
    pairs = [(draws, name) for draws in all_draws for name in draws.targets]
    with tqdm(total=len(pairs), desc="scores", unit="pair", disable=not question.options.progress, leave=False) as bar:
        for name in dict.fromkeys(name for _, name in pairs):
            draws_of_target = [draws for draws, other in pairs if other == name]
            untrained = baselines.untrained(name, targets[name], draws_of_target)
            with question.as_target(name, targets[name]) as represent:
                of_x = represent.in_batches(question.images, batch_size)
                for draws in draws_of_target:
                    of_draws = represent.in_batches(draws.images, batch_size).chunk(question.draws)
                    beside = {"pixels": baselines.pixels(draws), "untrained": untrained[draws]}
                    own = own_features[draws]
                    description = _description(question, draws, name, own.taken, represent.taken)
                    results[draws, name] = _score(question, description, own, of_x, of_draws, plain, beside)
                    bar.update()
    return [result for draws, name in pairs for result in results[draws, name]]


def _score(
    question: Question,
    description: dict[str, Any],
    own: _OwnFeatures,
    of_x: Tensor,
    of_draws: Sequence[Tensor],
    plain: dict[frozenset, tuple[float, Interval]],
    baselines: Mapping[str, Scores],
) -> list[StirResult]:
    """The scores of one target by all measures, from its features of X and of each draw of X'."""
    reference, target = description["reference"], description["target"]
    pair = frozenset((reference, target))
    results = []
    for measure in question.measures:
        try:
            if measure not in own.ceilings:
                own.ceilings[measure] = _mean(measure, own.of_x, own.of_draws)
            if measure == question.measure:
                similarities = _with_intervals(question, own.of_x, of_x, of_draws, plain, pair)
            else:
                similarities = _without_intervals(measure, own.of_x, of_x, of_draws)
        except ValueError as error:
            message = (
                f"reference {reference!r} at layer={description['reference_layer']!r}, "
                f"target {target!r} at layer={description['target_layer']!r}: {error}"
            )
            if measure == question.measure:
                raise ValueError(message) from error
            warnings.warn(f"{name_of(measure)} is left out for {message}", stacklevel=4)
            continue
        beside: dict[str, Any] = {name: scores[measure] for name, scores in baselines.items()}
        ceiling = own.ceilings[measure]
        results.append(StirResult(**description, **similarities, **beside, ceiling=ceiling, measure=name_of(measure)))
    return results


def _description(
    question: Question, draws: Draws, target: str, reference_taken: str, target_taken: str
) -> dict[str, Any]:
    """The fields of a `StirResult` that are the same for all measures."""
    inversions = draws.inversions
    given_layer, layer = question.layers_of(draws.reference, target)
    return dict(
        images=question.images,
        inversion=inversions[0],
        distances=torch.stack([inversion.distance for inversion in inversions]),
        moved=torch.stack([inversion.moved for inversion in inversions]).mean().item(),
        towards=torch.stack([inversion.towards for inversion in inversions]).nanmean().item(),
        reference=draws.reference,
        target=target,
        reference_layer=given_layer or PENULTIMATE,
        target_layer=layer or PENULTIMATE,
        reference_taken=reference_taken,
        target_taken=target_taken,
        seeds=question.seeds,
        seed=question.options.seed,
    )


def _with_intervals(
    question: Question,
    own: Tensor,
    of_x: Tensor,
    of_draws: Sequence[Tensor],
    plain: dict[frozenset, tuple[float, Interval]],
    pair: frozenset,
) -> dict[str, Any]:
    """Value, plain similarity and floor of a `StirResult`, with intervals.

    Args:
        own: the reference's features of X.
        of_x, of_draws: the target's features of X and of each draw of X'.
        plain: similarities on X by pair of networks, to which this pair's is added.
    """
    compare = get_measure(question.measure)
    value, interval = mean_similarity(compare, of_x, of_draws, question.seeds == "gaussian-shared")
    # The named measures are symmetric; a function of the user's own need not be.
    if pair not in plain or callable(question.measure):
        plain[pair] = mean_similarity(compare, own, [of_x])
    cka, cka_interval = plain[pair]
    generator = torch.Generator().manual_seed(0)
    floors = [compare(of_x, x[random_cycle(len(x), generator)]) for x in of_draws for _ in range(DEALS)]
    return dict(value=value, interval=interval, cka=cka, cka_interval=cka_interval, floor=sum(floors) / len(floors))


def _without_intervals(measure: str | Measure, own: Tensor, of_x: Tensor, of_draws: Sequence[Tensor]) -> dict[str, Any]:
    """Value and plain similarity by a further measure, without intervals and floor, which take long."""
    unknown = (math.nan, math.nan)
    cka = get_measure(measure)(own, of_x)
    value = _mean(measure, of_x, of_draws)
    return dict(value=value, interval=unknown, cka=cka, cka_interval=unknown, floor=math.nan)


def _mean(measure: str | Measure, of_x: Tensor, of_draws: Sequence[Tensor]) -> float:
    """Mean similarity over draws."""
    return sum(get_measure(measure)(of_x, features) for features in of_draws) / len(of_draws)
