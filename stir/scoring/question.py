"""The question that a score answers: everything that it depends on but the two networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor, nn

from stir.inversion.options import InversionOptions
from stir.inversion.representation import Representation, check_layer_name
from stir.similarity.cka import MIN_IMAGES
from stir.similarity.measures import Measure, get_measure, name_of


@dataclass(frozen=True, eq=False)
class Question:
    """Images, layers, measures and options of a score, checked before any work.

    Attributes:
        images: [N, C, H, W] in [0, 1], X.
        layer, given_layer: the target's and the reference's; None for the penultimate one.
        measure: S.
        also: further measures of the same X'.
        draws: how many times X' is drawn.
        worst_case: take the X' of `stir.controversial`, one set for each target.
        options: of the inversion.

    Raises:
        ValueError: images, layers' names, measures, draws or options that no score can be had of.
    """

    images: Tensor
    layer: str | None = None
    given_layer: str | None = None
    measure: str | Measure = "linear-cka"
    also: tuple[str | Measure, ...] = ()
    draws: int = 1
    worst_case: bool = False
    options: InversionOptions = field(default_factory=InversionOptions)

    def __post_init__(self) -> None:
        check_layer_name(self.layer)
        check_layer_name(self.given_layer, "given_layer")
        for measure in self.measures:
            get_measure(measure)
        if len(set(self.measures)) <= len(self.also):
            raise ValueError(
                f"also={list(map(name_of, self.also))} must hold no measure twice, nor {name_of(self.measure)!r}, "
                "which is measured anyway"
            )
        # The jackknife leaves one image out.
        if len(self.images) <= MIN_IMAGES:
            raise ValueError(
                f"images holds {len(self.images)} image(s); a similarity with an interval needs at least "
                f"{MIN_IMAGES + 1}"
            )
        if self.draws < 1:
            raise ValueError(f"draws={self.draws} must be at least 1")
        if self.draws > 1 and self.seeds in ("given", "white", "black"):
            raise ValueError(f"draws={self.draws}: these seeds are the same at every draw; use draws=1")
        if self.worst_case and self.options.solver is not None:
            raise ValueError("worst_case=True has a solver of its own; leave `solver` out")

    @property
    def measures(self) -> tuple[str | Measure, ...]:
        """All measures, S first."""
        return (self.measure, *self.also)

    @property
    def seeds(self) -> str:
        """Name of the kind of seed images, "given" for a tensor."""
        return self.options.seeds if isinstance(self.options.seeds, str) else "given"

    @contextmanager
    def representation(self, network: nn.Module, layer: str | None) -> Iterator[Callable[[Tensor], Tensor]]:
        """A function from images to their features [N, D] at `layer`, set up once for many images."""
        options = self.options
        with Representation(network, self.images, layer, pool=options.pool, device=options.device) as represent:
            yield partial(represent.in_batches, batch_size=options.batch_size)

    def check_target(self, target: nn.Module) -> None:
        """Raise a ValueError where `target` has no such layer, or cannot take the images."""
        with self.representation(target, self.layer):
            pass
