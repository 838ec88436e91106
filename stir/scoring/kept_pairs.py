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
NAMES = ("reference", "target")  # a table's own for its networks


def options_in_key(options: InversionOptions, worst_case: bool = False) -> dict[str, Any]:
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


def can_be_kept(models: Mapping, *measures: str | Measure) -> TypeGuard[TrainedModels]:
    """True if keys identify everything that rows depend on: networks of the store, and measures with names."""
    return isinstance(models, TrainedModels) and not any(callable(measure) for measure in measures)


class KeptPairs:
    """Rows of `stir.pairwise` for networks of the store, found and kept.

    Args:
        models: the networks; their keys identify them.
        images: X, loaded or not.
        settings: further arguments of `stir.pairwise` that rows depend on: measure, also, draws, worst_case.
        options: of the inversion.
    """

    def __init__(
        self,
        models: TrainedModels,
        images: Tensor | DeferredImages,
        settings: Mapping[str, Any],
        options: InversionOptions,
    ) -> None:
        self.models = models
        self._keys = self._current_keys()
        self._made_of = {"kind": "pairs", "images": fingerprint(images), **settings}
        self._made_of |= options_in_key(options, settings["worst_case"])
        if self._made_of["seeds"] == "gaussian-shared" and settings["draws"] > 1:
            self._made_of["freedom"] = "satterthwaite"  # rows from before it have intervals that are too narrow
        self._hardware = hardware(resolve_device(options.device))

    def _current_keys(self) -> dict[str, str]:
        return {name: self.models.key(name) for name in self.models}

    @property
    def has_retrained(self) -> bool:
        """True if a network has other weights than before, since it had to be trained again."""
        return self._keys != self._current_keys()

    def find(self, layer: Layer, given_layer: Layer, reference: str) -> dict[str, Rows]:
        """Rows by target that were kept for a reference."""
        entries: dict[str, Any] = {}
        for stored in reversed(self._record(given_layer, reference).find_all()):
            entries |= stored.content
        known = {target: entries.get(self._place(layer, target)) for target in self.models}
        return {
            target: [{"reference": reference, "target": target} | row for row in rows_of(entry)]
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
            {self._place(layer, target): {"rows": _packed(each), "how": how} for target, each in rows.items()}
        )

    def _record(self, given_layer: Layer, reference: str) -> Record:
        at = layer_of(given_layer, reference) or PENULTIMATE
        return Record({**self._made_of, "reference": self._keys[reference], "layer": at})

    def _place(self, layer: Layer, target: str) -> str:
        return json.dumps([self._keys[target], layer_of(layer, target) or PENULTIMATE])


def rows_of(entry: Mapping[str, Any]) -> Rows:
    """Return the rows of one target that a record's content holds, without the names of the networks."""
    packed = entry["rows"]
    if isinstance(packed, list):
        return [{name: _with_nan(value) for name, value in row.items()} for row in packed]
    length = max((len(value) for value in packed.values() if isinstance(value, list)), default=1)
    columns = [value if isinstance(value, list) else [value] * length for value in packed.values()]
    return [
        {name: _with_nan(value) for name, value in zip(packed, row, strict=True)} for row in zip(*columns, strict=True)
    ]


def _packed(rows: Rows) -> dict[str, Any] | Rows:
    """Rows as JSON, which has no NaN, without the names that this table has for its networks.

    A list for each column, or its value alone where it never changes: half the bytes of JSON by rows, of which evidence
    has thousands. Row by row where one has other columns, as that of a measure that is left out.
    """
    plain = [{name: _without_nan(value) for name, value in row.items() if name not in NAMES} for row in rows]
    if any(row.keys() != plain[0].keys() for row in plain):
        return plain
    columns = {name: [row[name] for row in plain] for name in plain[0]}
    return {name: values[0] if len({*map(repr, values)}) == 1 else values for name, values in columns.items()}


def _without_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _with_nan(value: Any) -> Any:
    return math.nan if value is None else value
