"""Rows of pairs of networks in the store: a record for each reference at one layer, which holds its targets."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from torch import Tensor

from stir.computing.devices import hardware, resolve_device
from stir.data.deferred import DeferredImages, fingerprint
from stir.inversion.options import InversionOptions
from stir.inversion.representation import PENULTIMATE
from stir.inversion.solvers import DEFAULT_SOLVER, SOLVERS, AdamLogit
from stir.kept import Record
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
        "within": repr(options.within),
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
        self._models = models
        self._made_of = {"kind": "pairs", "images": fingerprint(images), **asked}
        self._made_of |= determining(options, asked["worst_case"])
        self._hardware = hardware(resolve_device(options.device))
        self._known: dict[str, dict[str, Rows]] = {}  # content by the key of its record

    def find(self, layer: Layer, reference: str) -> dict[str, Rows]:
        """Rows by target that were kept for a reference."""
        record = self._record(layer, reference)
        found = record.find()
        self._known[record.key] = {} if found is None else found.content
        rows = {target: self._known[record.key].get(self._place(layer, target)) for target in self._models}
        names = {"reference": reference}
        return {
            target: [names | {"target": target} | _with_nan(row) for row in each]
            for target, each in rows.items()
            if each is not None
        }

    def keep(self, layer: Layer, reference: str, rows: Mapping[str, Rows]) -> None:
        """Keep rows by target, beside those that were found."""
        record = self._record(layer, reference)
        known = self._known.setdefault(record.key, {})
        for target, each in rows.items():
            known[self._place(layer, target)] = [_without_names(row) for row in each]
        record.keep(known, hardware=self._hardware)

    def _record(self, layer: Layer, reference: str) -> Record:
        at = layer_of(layer, reference) or PENULTIMATE
        return Record({**self._made_of, "reference": self._models.key(reference), "layer": at})

    def _place(self, layer: Layer, target: str) -> str:
        return json.dumps([self._models.key(target), layer_of(layer, target) or PENULTIMATE])


def _without_names(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON, which has no NaN, without the names that this table has for its networks."""
    names = ("reference", "target")
    values = {name: value for name, value in row.items() if name not in names}
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}


def _with_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in row.items()}
