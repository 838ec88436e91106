"""Rows of pairs of networks in the store: a record for each reference at one layer, which holds its targets."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeGuard

from torch import Tensor

from stir.computing.devices import hardware, resolve_device
from stir.data.deferred import DeferredImages, fingerprint
from stir.inversion.options import InversionOptions
from stir.inversion.representation import PENULTIMATE
from stir.inversion.solvers import DEFAULT_SOLVER, SOLVERS, AdamLogit
from stir.kept import Record, circumstances
from stir.scoring.question import Layer, layer_of
from stir.similarity.measures import Measure
from stir.training.trained import TrainedModels

Rows = list[dict[str, Any]]


def determining(options: InversionOptions, worst_case: bool = False) -> dict[str, Any]:
    """JSON of the options that results depend on; device, size of batches and progress are none of them.

    Args:
        worst_case: whether they are those of `stir.controversial`.
    """
    solver = AdamLogit if worst_case else SOLVERS[options.solver or DEFAULT_SOLVER]
    seeds = options.seeds if isinstance(options.seeds, str) else fingerprint(options.seeds)
    return {
        "solver": solver.name,
        "steps": int(options.steps_of(solver)),
        "pool": options.pool,
        "seeds": seeds,
        "seed": int(options.seed),
        "within": None if options.within is None else [options.within.norm, float(options.within.radius)],
        "tolerance": float(options.tolerance),
        "precision": options.precision,
    }


def keepable(models: Mapping, *measures: str | Measure) -> TypeGuard[TrainedModels]:
    """Whether keys identify all that rows depend on: networks of the store, and measures that have names."""
    return isinstance(models, TrainedModels) and not any(callable(measure) for measure in measures)


class KeptPairs:
    """Rows of `stir.pairwise` for networks of the store, found and kept.

    Args:
        models: the networks; their keys identify them.
        images: X, loaded or not.
        asked: further arguments of `stir.pairwise` that rows depend on: measure, also, draws, worst_case.
        options: of the inversion.
    """

    def __init__(
        self,
        models: TrainedModels,
        images: Tensor | DeferredImages,
        asked: Mapping[str, Any],
        options: InversionOptions,
    ) -> None:
        self.models = models
        self._keys = self._current_keys()
        self._made_of = {"kind": "pairs", "images": fingerprint(images), **asked}
        self._made_of |= determining(options, asked["worst_case"])
        self._hardware = hardware(resolve_device(options.device))

    def _current_keys(self) -> dict[str, str]:
        return {name: self.models.key(name) for name in self.models}

    @property
    def is_of_others(self) -> bool:
        """True if a network is not the one that it was, since it had to be trained again."""
        return self._keys != self._current_keys()

    def find(self, layer: Layer, given_layer: Layer, reference: str) -> dict[str, Rows]:
        """Rows by target that were kept for a reference."""
        entries: dict[str, Any] = {}
        for found in reversed(self._record(given_layer, reference).find_all()):
            entries |= found.content
        known = {target: entries.get(self._place(layer, target)) for target in self.models}
        return {
            target: [{"reference": reference, "target": target} | _with_nan(row) for row in entry["rows"]]
            for target, entry in known.items()
            if entry is not None
        }

    @contextmanager
    def claimed(self, places: Iterable[tuple[Layer, str]], wait: bool) -> Iterator[bool]:
        """Keep other processes from measuring with these references meanwhile; see `stir.kept.Record.claimed`.

        Args:
            places: layers and references.
        """
        records = {record.key: record for record in (self._record(*place) for place in places)}
        with ExitStack() as stack:  # in one order for all processes, so that none waits for another in a circle
            yield all(stack.enter_context(records[key].claimed(wait)) for key in sorted(records))

    def keep(
        self, layer: Layer, given_layer: Layer, reference: str, rows: Mapping[str, Rows], **seconds: float
    ) -> None:
        """Keep rows by target, each with what it was made by, beside those that the stores have.

        Args:
            seconds: that each target took, by stage.
        """
        how = circumstances(self._hardware, **seconds)
        self._record(given_layer, reference).merge(
            {
                self._place(layer, target): {"rows": [_without_names(row) for row in each], "how": how}
                for target, each in rows.items()
            }
        )

    def _record(self, given_layer: Layer, reference: str) -> Record:
        at = layer_of(given_layer, reference) or PENULTIMATE
        return Record({**self._made_of, "reference": self._keys[reference], "layer": at})

    def _place(self, layer: Layer, target: str) -> str:
        return json.dumps([self._keys[target], layer_of(layer, target) or PENULTIMATE])


def _without_names(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON, which has no NaN, without the names that this table has for its networks."""
    names = ("reference", "target")
    values = {name: value for name, value in row.items() if name not in names}
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}


def _with_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in row.items()}
