"""Draws of X': the inverted images of a reference, once for each draw of the seed images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from stir.inversion.controversial import controversial
from stir.inversion.invert import Inversion, invert
from stir.scoring.question import Question, naming


@dataclass(frozen=True, eq=False)  # compared by identity
class Draws:
    """X' of a reference.

    Attributes:
        reference: its name.
        targets: names of the networks to be scored on X'.
        inversions: one for each draw.
    """

    reference: str
    targets: Sequence[str]
    inversions: Sequence[Inversion]

    @property
    def images(self) -> Tensor:
        """X' of all draws, one after another [draws * N, C, H, W]."""
        first, *others = (inversion.images for inversion in self.inversions)
        return torch.cat([first, *others]) if others else first


def draw(
    question: Question,
    reference: nn.Module,
    target: nn.Module | None = None,
    names: tuple[str, str] = ("reference", "target"),
) -> list[Inversion]:
    """Invert the question's images once for each draw.

    Args:
        reference: the network that X' is made for.
        target: in the worst case, the network that X' shall look most different to.
        names: of the reference and a target.
    """
    given_layer, layer = question.layers_of(*names)
    inversions = []
    for number in range(question.draws):
        options = replace(question.options, seed=question.options.seed + number)
        with naming(*names[: 1 if target is None else 2]):
            if target is None:
                inversion = invert(reference, question.images, layer=given_layer, options=options)
            else:
                layers = dict(layer=layer, given_layer=given_layer)
                inversion = controversial(reference, target, question.images, **layers, options=options)
        inversions.append(inversion)
    return inversions
