"""The baselines of a score: on the same X', the images' own pixels, and the target's architecture with fresh weights.

Neither has learnt any invariance. STIR tells something of what the target learnt to the extent that it is above both.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from stir.scoring.question import Made, Question
from stir.similarity.measures import Measure, get_measure

# Nobody trains from it: with the reference's own seed, the fresh weights would be those that its training began with.
FRESH_SEED = 1_978_204_153

Scores = dict[str | Measure, float]


def with_fresh_weights(network: nn.Module, seed: int = FRESH_SEED) -> nn.Module:
    """A copy of `network`, on the CPU, whose weights are drawn as PyTorch draws those of a new network.

    Every submodule is reset by its own `reset_parameters`, statistics of batch norms included; buffers of modules without
    one, such as the constants of `stir.Normalize`, stay. Of a network of `stir.build_model` it is what that function makes of
    `seed`, but for DenseNets, whose weights torchvision draws in a way of its own, as it does for most of its networks.

    Raises:
        ValueError: the network cannot be copied, or a submodule has parameters of its own that no `reset_parameters` draws, as in torchvision's
            ConvNeXt, Swin and ViT, and under weight and spectral norms.
    """
    try:
        fresh = copy.deepcopy(network).cpu()
    except Exception as error:  # whatever it is that a network's own parts object with
        raise ValueError(f"{type(network).__name__} cannot be copied, as fresh weights need it: {error}") from error
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for module in _parts_first(fresh):
            reset = getattr(module, "reset_parameters", None) or getattr(
                module, "_reset_parameters", None
            )  # the latter: PyTorch's attention
            if reset is not None:
                reset()
            elif any(True for _ in module.parameters(recurse=False)):
                raise ValueError(
                    f"{type(module).__name__} has parameters and no `reset_parameters`; give it one that draws them anew"
                )
    trained = dict(network.named_parameters())
    # Of a module with weight or spectral norm `reset_parameters` reaches only what is derived from its parameters.
    left = [
        name
        for name, weight in fresh.named_parameters()
        if weight.ndim > 1 and torch.equal(weight, trained[name].cpu())
    ]
    if left:
        raise ValueError(
            f"{left[0]!r} is not drawn anew by its module's `reset_parameters`; take weight or spectral norms off first"
        )
    return fresh


def _parts_first(module: nn.Module) -> Iterator[nn.Module]:
    """Every submodule after those that it is made of, the order in which they are made."""
    for part in module.children():
        yield from _parts_first(part)
    yield module


class Baselines:
    """Scores of the baselines by all measures of a question, in means over draws; NaN where a measure refuses.

    A fresh network that several targets have in common, as those of one architecture do, is scored once.
    """

    def __init__(self, asked: Question) -> None:
        self._asked = asked
        self._pixels: dict[int, Scores] = {}  # by the id of what was made
        self._fresh: list[
            tuple[Tensor, dict[int, Scores]]
        ] = []  # features of X, by which the same network is known again

    def pixels(self, made: Made) -> Scores:
        """S(X, X') of the pixels themselves."""
        if id(made) not in self._pixels:
            self._pixels[id(made)] = self._scores(self._asked.images.flatten(1), made.images.flatten(1))
        return self._pixels[id(made)]

    def untrained(self, target: nn.Module, made: Sequence[Made]) -> dict[int, Scores]:
        """The scores of `target` with fresh weights, at the target's layer, by the id of what was made; NaN where there are no such weights.

        Batch norms have the statistics that they begin with. Those of X were tried too: on the X' of robust references, where
        a baseline is needed most, they bring ResNets lower and VGGs no higher.
        """
        asked = self._asked
        unknown = {id(each): dict.fromkeys(asked.measures, math.nan) for each in made}
        try:
            with asked.features_of(with_fresh_weights(target), asked.layer) as see:
                own = see(asked.images)
                scores = next(
                    (scores for other, scores in self._fresh if other.dtype == own.dtype and torch.equal(other, own)),
                    None,
                )
                if scores is None:
                    scores = {}
                    self._fresh.append((own, scores))
                for each in made:
                    if id(each) not in scores:
                        scores[id(each)] = self._scores(own, see(each.images))
        except ValueError:  # a network that is no network any more once it is copied, or has weights of its own kind
            return unknown
        return scores

    def _scores(self, features: Tensor, again: Tensor) -> Scores:
        return {
            measure: _mean_or_nan(measure, features, again.chunk(self._asked.draws)) for measure in self._asked.measures
        }


def _mean_or_nan(measure: str | Measure, features: Tensor, again: Sequence[Tensor]) -> float:
    try:
        return sum(get_measure(measure)(features, draw) for draw in again) / len(again)
    except (
        Exception
    ):  # a baseline ends no score, and a function of the user's own may object to other features in any way
        return math.nan
