"""Baselines of a score on the same X': the images' pixels, and the target's architecture with fresh weights.

Neither has learnt any invariance: STIR says something about what the target learnt to the extent that it is above both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stir.networks.fresh_weights import with_fresh_weights
from stir.scoring.draws import Draws
from stir.scoring.question import Question
from stir.similarity.measures import Measure, get_measure

Scores = dict[str | Measure, float]


class Baselines:
    """Scores of the baselines by all measures of a question, in means over draws; NaN where a measure refuses.

    A fresh network that several targets have in common, as those of one architecture do, is scored once.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._pixels: dict[Draws, Scores] = {}
        self._untrained: list[tuple[Tensor, dict[Draws, Scores]]] = []  # beside features of X, which identify a network

    def pixels(self, draws: Draws) -> Scores:
        """S(X, X') of the images' pixels."""
        if draws not in self._pixels:
            self._pixels[draws] = self._scores(self._question.images.flatten(1), draws.images.flatten(1))
        return self._pixels[draws]

    def untrained(self, name: str, target: nn.Module, all_draws: Sequence[Draws]) -> dict[Draws, Scores]:
        """The scores of `target`, called `name`, with fresh weights, at its layer; NaN where there are no such weights.

        Batch norms have their initial statistics. Those of X were tried too: on the X' of robust references, where a
        baseline is needed most, they lower the scores of ResNets and do not raise those of VGGs.
        """
        question = self._question
        unknown = {draws: dict.fromkeys(question.measures, math.nan) for draws in all_draws}
        try:
            with question.as_target(name, with_fresh_weights(target)) as represent:
                of_x = represent.in_batches(question.images, question.options.batch_size)
                scores = self._known(of_x)
                for draws in all_draws:
                    if draws not in scores:
                        scores[draws] = self._scores(
                            of_x, represent.in_batches(draws.images, question.options.batch_size)
                        )
        except ValueError:  # no fresh weights, or a copy that does not work
            return unknown
        return scores

    def forget(self) -> None:
        """Drop the scores of all draws so far, to free the memory of their X'."""
        self._pixels.clear()
        for _, scores in self._untrained:
            scores.clear()

    def _known(self, of_x: Tensor) -> dict[Draws, Scores]:
        """The scores so far of the network with these features of X."""
        for features, scores in self._untrained:
            if features.dtype == of_x.dtype and torch.equal(features, of_x):
                return scores
        self._untrained.append((of_x, {}))
        return self._untrained[-1][1]

    def _scores(self, of_x: Tensor, of_draws: Tensor) -> Scores:
        parts = of_draws.chunk(self._question.draws)
        return {measure: _mean_or_nan(measure, of_x, parts) for measure in self._question.measures}


def _mean_or_nan(measure: str | Measure, of_x: Tensor, of_draws: Sequence[Tensor]) -> float:
    try:
        return sum(float(get_measure(measure)(of_x, features)) for features in of_draws) / len(of_draws)
    except Exception:  # a baseline ends no score, and a user's own function may object in any way
        return math.nan
