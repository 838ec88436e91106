"""Scores of targets on draws of X', by all measures of a question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from stir.computing.progress import progress_bar
from stir.inversion.representation import PENULTIMATE
from stir.inversion.seeds import random_cycle
from stir.scoring.baselines import Baselines, Scores
from stir.scoring.draws import Draws
from stir.scoring.question import Question
from stir.scoring.result import REFUSED, StirResult
from stir.similarity.intervals import Interval, mean_similarity
from stir.similarity.measures import Measure, get_measure, name_of

DEALS = 5  # random permutations of each draw's X', for the floor: enough to steady its second digit


@dataclass(frozen=True)
class _OwnFeatures:
    """A reference's own features of X and of each draw of its X', where taken, and the ceilings by measure."""

    of_x: Tensor
    of_draws: Sequence[Tensor]
    taken: str
    ceilings: dict[str | Measure, float] = field(default_factory=dict)


class Evaluation:
    """Scores for one question, with what several of them have in common: similarities on X itself, and baselines.

    Args:
        question: what is asked.
        order: names of the targets; the earlier of a pair is the second argument of the similarity on X itself, which
            differs by rounding the other way round.

    Attributes:
        refusals: (reference, target) -> a row for each further measure that refused the pair, with its reason.
    """

    def __init__(self, question: Question, order: Sequence[str]) -> None:
        self._question = question
        self._order = {name: place for place, name in enumerate(order)}
        self._plain: dict[frozenset, tuple[float, Interval]] = {}  # similarities on X itself, by pair
        self._baselines = Baselines(question)
        self.refusals: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def scores(
        self, all_draws: Sequence[Draws], references: Mapping[str, nn.Module], targets: Mapping[str, nn.Module]
    ) -> list[StirResult]:
        """The scores on all draws: for each its targets, and for each target the measures, in their order."""
        question, baselines = self._question, self._baselines
        own_features: dict[Draws, _OwnFeatures] = {}
        batch_size = question.options.batch_size
        for name in dict.fromkeys(draws.reference for draws in all_draws):
            with question.as_reference(name, references[name]) as represent:
                of_x = represent.in_batches(question.images, batch_size)
                for draws in all_draws:
                    if draws.reference == name:
                        of_draws = represent.in_batches(draws.images, batch_size).chunk(question.draws)
                        own_features[draws] = _OwnFeatures(of_x, of_draws, represent.taken)
        results: dict[tuple[Draws, str], list[StirResult]] = {}
        pairs = [(draws, name) for draws in all_draws for name in draws.targets]
        with progress_bar(total=len(pairs), desc="scores", unit="pair", show=question.options.progress) as bar:
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
                        results[draws, name] = self._by_measures(description, own, of_x, of_draws, beside)
                        bar.update()
        baselines.forget()
        return [result for draws, name in pairs for result in results[draws, name]]

    def _by_measures(
        self,
        description: dict[str, Any],
        own: _OwnFeatures,
        of_x: Tensor,
        of_draws: Sequence[Tensor],
        baselines: Mapping[str, Scores],
    ) -> list[StirResult]:
        """The scores of one target by all measures, from its features of X and of each draw of X'."""
        question = self._question
        reference, target = description["reference"], description["target"]
        results = []
        for measure in question.measures:
            try:
                if measure not in own.ceilings:
                    own.ceilings[measure] = _mean(measure, own.of_x, own.of_draws)
                if measure == question.measure:
                    similarities = self._with_intervals(reference, target, own.of_x, of_x, of_draws)
                else:
                    similarities = _without_intervals(measure, own.of_x, of_x, of_draws)
            except ValueError as error:
                places = {side: description[side] for side in ("reference_layer", "target_layer")}
                if measure == question.measure:
                    raise ValueError(
                        f"reference {reference!r} at layer={places['reference_layer']!r}, "
                        f"target {target!r} at layer={places['target_layer']!r}: {error}"
                    ) from error
                refusal = {"reference": reference, "target": target, **places, "measure": name_of(measure)}
                self.refusals.setdefault((reference, target), []).append(refusal | {REFUSED: str(error)})
                continue
            beside: dict[str, Any] = {name: scores[measure] for name, scores in baselines.items()}
            known = {"ceiling": own.ceilings[measure], "measure": name_of(measure)}
            results.append(StirResult(**description, **similarities, **beside, **known))
        return results

    def _with_intervals(
        self, reference: str, target: str, own: Tensor, of_x: Tensor, of_draws: Sequence[Tensor]
    ) -> dict[str, Any]:
        """Value, plain similarity and floor of a `StirResult`, with intervals.

        Args:
            own: the reference's features of X.
            of_x, of_draws: the target's features of X and of each draw of X'.
        """
        question = self._question
        compare = get_measure(question.measure)
        value, interval = mean_similarity(compare, of_x, of_draws, question.seeds == "gaussian-shared")
        # A measure of the user's own need not be symmetric as the named ones are; nor are layers that differ by side.
        if callable(question.measure) or question.given_layer != question.layer:
            cka, cka_interval = mean_similarity(compare, own, [of_x])
        else:
            pair = frozenset((reference, target))
            if pair not in self._plain:
                swapped = self._order.get(reference, math.inf) < self._order[target]
                first, second = (of_x, own) if swapped else (own, of_x)
                self._plain[pair] = mean_similarity(compare, first, [second])
            cka, cka_interval = self._plain[pair]
        generator = torch.Generator().manual_seed(0)
        floors = [float(compare(of_x, x[random_cycle(len(x), generator)])) for x in of_draws for _ in range(DEALS)]
        return dict(value=value, interval=interval, cka=cka, cka_interval=cka_interval, floor=sum(floors) / len(floors))


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


def _without_intervals(measure: str | Measure, own: Tensor, of_x: Tensor, of_draws: Sequence[Tensor]) -> dict[str, Any]:
    """Value and plain similarity by a further measure, without intervals and floor, which take long."""
    unknown = (math.nan, math.nan)
    cka = float(get_measure(measure)(own, of_x))
    value = _mean(measure, of_x, of_draws)
    return dict(value=value, interval=unknown, cka=cka, cka_interval=unknown, floor=math.nan)


def _mean(measure: str | Measure, of_x: Tensor, of_draws: Sequence[Tensor]) -> float:
    """Mean similarity over draws, a number also where a user's own measure returns a tensor."""
    return sum(float(get_measure(measure)(of_x, features)) for features in of_draws) / len(of_draws)
