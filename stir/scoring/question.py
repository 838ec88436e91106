"""What a score of shared invariances asks, and the X' that are made to answer it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from stir.computing.devices import resolve_device
from stir.computing.parallel import is_picklable, side_by_side
from stir.data.images import Images, gather_images
from stir.inversion.invert import Inversion, controversial, invert
from stir.inversion.representation import Representation, check_layer_name
from stir.similarity.cka import MIN_IMAGES
from stir.similarity.measures import Measure, get_measure, name_of


@dataclass(frozen=True)
class Question:
    """All that a score depends on but the two networks.

    Attributes:
        images: [N, C, H, W] in [0, 1], X.
        layer, given_layer: the target's and the reference's; None for the penultimate one.
        measure: S.
        draws: how many times X' is drawn.
        inversion: further arguments of `stir.invert`, or of `stir.controversial`.
        also: further measures of the same X'.

    Raises:
        ValueError: images, layers' names, measures or draws that no score can be had of. What is handed on to `invert` shows there.
    """

    images: Tensor
    layer: str | None
    given_layer: str | None
    measure: str | Measure
    draws: int
    inversion: dict
    also: tuple[str | Measure, ...] = ()

    def __post_init__(self) -> None:
        check_layer_name(self.layer)
        check_layer_name(self.given_layer, "given_layer")
        for measure in self.measures:
            get_measure(measure)
        if len(set(self.measures)) <= len(self.also):
            raise ValueError(
                f"also={list(map(name_of, self.also))} must hold no measure twice, nor {name_of(self.measure)!r}, which is measured anyway"
            )
        # The jackknife leaves one image out.
        if len(self.images) <= MIN_IMAGES:
            raise ValueError(
                f"images holds {len(self.images)} image(s); a similarity with an interval needs at least {MIN_IMAGES + 1}"
            )
        if self.draws < 1:
            raise ValueError(f"draws={self.draws} must be at least 1")
        if self.draws > 1 and self.seeds in ("given", "white", "black"):
            raise ValueError(f"draws={self.draws}: these seeds are the same at every draw; use draws=1")

    @property
    def measures(self) -> tuple[str | Measure, ...]:
        return (self.measure, *self.also)

    @property
    def seeds(self) -> str:
        seeds = self.inversion.get("seeds", "gaussian")
        return seeds if isinstance(seeds, str) else "given"

    @property
    def progress(self) -> bool:
        return self.inversion.get("progress", True)

    def _options(self, *names: str) -> dict:
        return {name: self.inversion[name] for name in names if name in self.inversion}

    @contextmanager
    def features_of(self, network: nn.Module, layer: str | None) -> Iterator[Callable[[Tensor], Tensor]]:
        """What makes features of images, set up once for many."""
        with Representation(network, self.images, layer, **self._options("pool", "device")) as represent:
            yield partial(represent.in_batches, batch_size=self.inversion.get("batch_size"))

    def check_layer(self, target: nn.Module) -> None:
        """Raise a ValueError where `target` has no such layer, ahead of the work."""
        with self.features_of(target, self.layer):
            pass

    def maker(self, reference: nn.Module, against: nn.Module | None = None) -> Callable[..., Inversion]:
        """What makes X' of the reference: for all targets, or for the one that it shall look most different to."""
        if against is None:
            return partial(invert, reference, layer=self.given_layer)
        if "solver" in self.inversion:
            raise ValueError("worst_case=True has a solver of its own; leave `solver` out")
        return partial(controversial, reference, against, layer=self.layer, given_layer=self.given_layer)

    def draw(self, make: Callable[..., Inversion]) -> list[Inversion]:
        """X', once for each draw."""
        first = self.inversion.get("seed", 0)
        return [make(images=self.images, **{**self.inversion, "seed": first + draw}) for draw in range(self.draws)]


def check(
    images: Images,
    *,
    measure: str | Measure = "linear-cka",
    also: Sequence[str | Measure] = (),
    draws: int = 1,
    **inversion,
) -> None:
    """Raise a ValueError for images, measures or draws that `stir.pairwise` would refuse; what it hands on to `invert` shows there."""
    Question(gather_images(images), None, None, measure, draws, inversion, tuple(also))


@dataclass(frozen=True)
class Made:
    """X' of a reference, once for each draw, and the targets that are to look at it."""

    reference: str
    targets: Sequence[str]
    draws: Sequence[Inversion]

    @property
    def images(self) -> Tensor:
        """Those of all draws, one after another."""
        first, *others = (draw.images for draw in self.draws)
        return torch.cat([first, *others]) if others else first


def make_all(questions: Sequence[Question], models: Mapping[str, nn.Module], worst_case: bool) -> list[list[Made]]:
    """The X' of each question, for each reference (or, if `worst_case`, each pair), several at a time on a CPU (see `side_by_side`).

    All questions are of the same measures, device and progress, as those of one table are.
    """
    tasks = []
    for asked, name in product(questions, models):
        alone = [[other] for other in models if other != name]
        tasks += [(asked, name, targets) for targets in (alone if worst_case else [[*models]])]
    making = [
        (asked, asked.maker(models[name], models[targets[0]] if worst_case else None)) for asked, name, targets in tasks
    ]
    first = questions[0]
    # Starting processes takes about as long as two inversions of a small network.
    at_least = 4 if is_picklable((models, first.measures)) else math.inf
    running = side_by_side(
        Question.draw, making, resolve_device(first.inversion.get("device", "auto")), at_least=at_least
    )
    bar = tqdm(
        running,
        total=len(tasks),
        desc="pairs" if worst_case else "references",
        unit="inversion",
        disable=not first.progress,
        leave=False,
    )
    # All before any is looked at: a network cannot be used here while it is being sent elsewhere.
    found = [(asked, Made(name, targets, draws)) for (asked, name, targets), draws in zip(tasks, bar, strict=True)]
    return [[made for asked, made in found if asked is question] for question in questions]
