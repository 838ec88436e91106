"""Relative distance between the representations of two images, |m(x') - m(x)| / |m(x)|."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from stir.computing.memory import in_batches
from stir.inversion.representation import Representation


def relative_residual(represent: Representation, images: Tensor, half: bool = False) -> Callable[[Tensor], Tensor]:
    """The function x' -> (m(x') - m(x)) / |m(x)| [n, d], whose length is the relative distance.

    Args:
        represent: m at a layer.
        images: [n, C, H, W], x.
        half: compute both representations in bfloat16, in which their errors partly cancel.
    """
    with torch.no_grad():
        reference = represent(images, half).float()
    length = reference.norm(dim=1, keepdim=True)

    def residual(candidates: Tensor) -> Tensor:
        return (represent(candidates, half).float() - reference) / length

    return residual


def relative_distance(
    represent: Representation, images: Tensor, candidates: Tensor, batch_size: int
) -> Float[Tensor, "n"]:
    """Relative distance of each candidate from its image, without a gradient."""

    def distance(batch: slice) -> Tensor:
        return relative_residual(represent, images[batch])(candidates[batch]).norm(dim=1)

    with torch.no_grad():
        return torch.cat([*in_batches(distance, len(images), batch_size)])


def check_representations(represent: Representation, images: Tensor, batch_size: int) -> None:
    """Raise a ValueError where a representation is all zeros or not finite: no distance is relative to it."""
    with torch.no_grad():
        parts = in_batches(lambda batch: represent(images[batch]).norm(dim=1), len(images), batch_size)
        lengths = torch.cat([*parts])
    for wrong, kind in ((lengths == 0, "an all-zero"), (~lengths.isfinite(), "a non-finite")):
        if wrong.any():
            raise ValueError(
                f"layer={represent.layer!r}: {int(wrong.sum())} image(s) have {kind} representation, to which no "
                "distance is relative; leave them out or choose another layer"
            )
