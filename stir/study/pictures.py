"""The few inverted images that a page shows, kept in the store as the rows of pairs are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor

from stir.computing.devices import hardware, resolve_device
from stir.data.deferred import fingerprint
from stir.inversion.controversial import Controversy, controversial
from stir.inversion.distance import relative_distance
from stir.inversion.invert import Inversion, invert
from stir.inversion.options import InversionOptions
from stir.inversion.representation import PENULTIMATE, Representation
from stir.kept import Found, Record, circumstances
from stir.scoring.kept_pairs import determining
from stir.training.trained import TrainedModels


def inverted(models: TrainedModels, name: str, images: Tensor, *, layer: str | None = None, **options) -> Inversion:
    """`stir.invert` of a network of the store, called `name`; found, or made now and kept.

    Args:
        images, layer: as in `stir.invert`; **options: fields of `stir.InversionOptions`.

    Raises:
        ValueError, TypeError: as `stir.invert`.
    """
    record = _record(models, images, layer, InversionOptions(**options), reference=name)
    with _found_once(record) as found:
        if found is None:
            start = time.perf_counter()
            inversion = invert(models[name], images, layer=layer, **options)
            record = _record(models, images, layer, InversionOptions(**options), reference=name)  # trained now, perhaps
            _keep(record, inversion, options, {}, time.perf_counter() - start)
            return inversion
    return Inversion(**_fields(found.content, found.tensors, images, options))


def disagreeing(
    models: TrainedModels,
    given: str,
    target: str,
    images: Tensor,
    *,
    layer: str | None = None,
    given_layer: str | None = None,
    **options,
) -> Controversy:
    """`stir.controversial` of two networks of the store; found, or made now and kept.

    Args:
        images, layer, given_layer: as in `stir.controversial`; **options: fields of `stir.InversionOptions`.

    Raises:
        ValueError, TypeError: as `stir.controversial`.
    """
    names = {"reference": given, "target": target}
    record = _record(models, images, layer, InversionOptions(**options), given_layer, **names)
    with nullcontext() if options.get("solver") else _found_once(record) as found:  # a solver is refused
        if found is None:
            start = time.perf_counter()
            layers = {"layer": layer, "given_layer": given_layer}
            images_found = controversial(models[given], models[target], images, **layers, **options)
            record = _record(models, images, layer, InversionOptions(**options), given_layer, **names)
            more = {"target_distance": images_found.target_distance}
            _keep(record, images_found, options, more, time.perf_counter() - start)
            return images_found
    return Controversy(
        **_fields(found.content, found.tensors, images, options), target_distance=found.tensors["target_distance"]
    )


def seen(
    models: TrainedModels, name: str, inversion: Inversion, *, layer: str | None = None, device: str = "auto"
) -> Tensor:
    """Relative distance [N] of X' from X to a network of the store, called `name`; found, or measured now and kept.

    Args:
        inversion: made for another network, as `inverted` returns it.
        layer, device: as in `stir.invert`.

    Raises:
        ValueError: as `stir.inversion.representation.Representation`.
    """
    images, changed = inversion.originals, inversion.images
    about = {"kind": "seen", "images": fingerprint(images), "inverted": fingerprint(changed)}

    def record() -> Record:
        return Record(about | {"layer": layer or PENULTIMATE, "target": models.key(name)})

    with _found_once(record()) as found:
        if found is not None:
            return found.tensors["distance"]
        with Representation(models[name], images, layer, device=device) as represent:
            on_device = images.to(represent.device), changed.to(represent.device)
            distance = relative_distance(represent, *on_device, batch_size=len(images)).cpu()
        how = circumstances(hardware(resolve_device(device)))
        record().keep({}, {"distance": distance}, how=how)  # the network was trained now, perhaps
        return distance


@contextmanager
def _found_once(record: Record) -> Iterator[Found | None]:
    """Yield what was kept, also by another process meanwhile, or None where it is to be made now, while others wait."""
    found = record.find()
    with nullcontext() if found else record.claimed():
        yield found or record.find()


def _record(
    models: TrainedModels,
    images: Tensor,
    layer: str | None,
    options: InversionOptions,
    given_layer: str | None = None,
    **names: str,
) -> Record:
    about = determining(options, worst_case="target" in names)
    keys = {side: models.key(name) for side, name in names.items()}
    if given_layer not in (None, layer):
        keys["given_layer"] = given_layer
    return Record({"kind": "pictures", "images": fingerprint(images), "layer": layer or PENULTIMATE, **about, **keys})


def _keep(
    record: Record, inversion: Inversion, options: dict[str, Any], more: dict[str, Tensor], seconds: float
) -> None:
    tensors = {name: getattr(inversion, name) for name in ("images", "distance", "converged")}
    content = {name: getattr(inversion, name) for name in ("solver", "steps", "tolerance")}
    device = resolve_device(options.get("device", "auto"))
    record.keep(content, tensors | more, how=circumstances(hardware(device), inversion=seconds))


def _fields(
    content: dict[str, Any], tensors: dict[str, Tensor], images: Tensor, options: dict[str, Any]
) -> dict[str, Any]:
    """The fields of an `Inversion`; its seed images are drawn again."""
    kept = {name: tensors[name] for name in ("images", "distance", "converged")}
    return content | kept | {"seeds": InversionOptions(**options).seed_images(images), "originals": images}
