"""The question that a score answers: everything that it depends on but the two networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral

from torch import Tensor, nn

from stir.inversion.layers import check_layer_name
from stir.inversion.options import InversionOptions
from stir.inversion.representation import Representation
from stir.similarity.cka import MIN_IMAGES
from stir.similarity.intervals import check_measure
from stir.similarity.measures import Measure, get_measure, name_of

Layer = str | None | Mapping[str, str | None]  # of every network, or by their names


@dataclass(frozen=True, eq=False)
class Question:
    """Images, layers, measures and options of a score, checked before any work.

    Attributes:
        images: [N, C, H, W] in [0, 1], X.
        layer, given_layer: the target's and the reference's, or each network's by its name; None for the penultimate.
        measure: S.
        also: further measures of the same X'.
        draws: how many times X' is drawn.
        worst_case: take the X' of `stir.controversial`, one set for each target.
        options: of the inversion.

    Raises:
        ValueError: images, layers' names, measures, draws or options that no score can be had of.
    """

    images: Tensor
    layer: Layer = None
    given_layer: Layer = None
    measure: str | Measure = "linear-cka"
    also: tuple[str | Measure, ...] = ()
    draws: int = 1
    worst_case: bool = False
    options: InversionOptions = field(default_factory=InversionOptions)

    def __post_init__(self) -> None:
        for argument, layer in (("layer", self.layer), ("given_layer", self.given_layer)):
            for each in layer.values() if isinstance(layer, Mapping) else [layer]:
                check_layer_name(each, argument)
        for measure in self.measures:
            get_measure(measure)
        # Rows are told apart by the measure's name alone.
        if len(set(map(name_of, self.measures))) <= len(self.also):
            hint = "; give each function a `__name__` of its own" if any(map(callable, self.measures)) else ""
            raise ValueError(
                f"also={list(map(name_of, self.also))} must hold no measure twice, nor {name_of(self.measure)!r}, "
                f"which is measured anyway{hint}"
            )
        # The jackknife leaves one image out.
        if len(self.images) <= MIN_IMAGES:
            raise ValueError(
                f"images holds {len(self.images)} image(s); a similarity with an interval needs at least "
                f"{MIN_IMAGES + 1}"
            )
        if not (isinstance(self.draws, Integral) and self.draws >= 1):
            raise ValueError(f"draws={self.draws} must be a whole number, at least 1")
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

    def layers_of(self, reference: str, target: str) -> tuple[str | None, str | None]:
        """The layers of two networks, the reference's first."""
        return layer_of(self.given_layer, reference), layer_of(self.layer, target)

    def as_reference(self, name: str, network: nn.Module) -> Representation:
        """The representation by a network that is a reference, called `name`."""
        return self._representation(name, network, self.given_layer)

    def as_target(self, name: str, network: nn.Module) -> Representation:
        """The representation by a network that is a target, called `name`."""
        return self._representation(name, network, self.layer)

    def _representation(self, name: str, network: nn.Module, layer: Layer) -> Representation:
        options = self.options
        return Representation(
            network, self.images, layer_of(layer, name), pool=options.pool, device=options.device, name=name
        )

    def check_reference(self, name: str, network: nn.Module) -> None:
        """Raise a ValueError where `network` has no such layer, cannot take the images or passes them no gradient, or
        where S, a measure with a name, refuses its features of them.
        """
        with naming(name), self.as_reference(name, network) as represent:
            represent.check_gradient()
            self._check_measure(represent)

    def check_target(self, name: str, network: nn.Module) -> None:
        """Raise a ValueError where `network` has no such layer, cannot take the images, or has no worst case, or where
        S, a measure with a name, refuses its features of them.
        """
        with naming(name), self.as_target(name, network) as represent:
            if self.worst_case:
                represent.check_gradient()
            self._check_measure(represent)

    def _check_measure(self, represent: Representation) -> None:
        if callable(self.measure):  # it may take its arguments' order for something, and need not be fast
            return
        features = represent.in_batches(self.images, self.options.batch_size)
        try:
            check_measure(get_measure(self.measure), features)
        except ValueError as error:
            raise ValueError(f"layer={represent.layer!r}: {error}") from error


@contextmanager
def naming(*networks: str) -> Iterator[None]:
    """Put the networks' names before the message of an error that a user can mend."""
    try:
        yield
    except (ValueError, FloatingPointError, MemoryError) as error:
        names = " and ".join(map(repr, networks))
        raise type(error)(f"network{'s' if len(networks) > 1 else ''} {names}: {error}") from error


def layer_of(layer: Layer, name: str) -> str | None:
    """The layer of the network called `name`."""
    return layer[name] if isinstance(layer, Mapping) else layer
