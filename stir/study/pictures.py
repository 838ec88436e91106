"""The few inverted images that a page shows, kept in the store as the rows of pairs are."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from stir.computing.devices import hardware, resolve_device
from stir.data.deferred import fingerprint
from stir.inversion.controversial import Controversy, controversial
from stir.inversion.distance import relative_distance
from stir.inversion.invert import Inversion, invert
from stir.inversion.options import InversionOptions
from stir.inversion.representation import PENULTIMATE, Representation
from stir.inversion.trajectory import trajectory
from stir.kept import Record, Stored, circumstances
from stir.scoring.kept_pairs import options_in_key
from stir.training.trained import TrainedModels

LEVELS = 32  # of a channel of x' on a page: in noise more cannot be seen, and would take half as much room again


def inverted(models: TrainedModels, name: str, images: Tensor, *, layer: str | None = None, **options) -> Inversion:
    """`stir.invert` of a network of the store, called `name`; found, or made now and kept.

    Args:
        images, layer: as in `stir.invert`; **options: fields of `stir.InversionOptions`.

    Raises:
        ValueError, TypeError: as `stir.invert`.
    """
    record = _record(models, images, layer, InversionOptions(**options), reference=name)
    with _stored_once(record) as stored:
        if stored is None:
            start = time.perf_counter()
            inversion = invert(models[name], images, layer=layer, **options)
            record = _record(models, images, layer, InversionOptions(**options), reference=name)  # trained now, perhaps
            _keep(record, inversion, options, {}, time.perf_counter() - start)
            return inversion
    return Inversion(**_fields(stored.content, stored.tensors, images, options))


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
    with nullcontext() if options.get("solver") else _stored_once(record) as stored:  # a solver is refused
        if stored is None:
            start = time.perf_counter()
            layers = {"layer": layer, "given_layer": given_layer}
            images_found = controversial(models[given], models[target], images, **layers, **options)
            record = _record(models, images, layer, InversionOptions(**options), given_layer, **names)
            more = {"target_distance": images_found.target_distance}
            _keep(record, images_found, options, more, time.perf_counter() - start)
            return images_found
    return Controversy(
        **_fields(stored.content, stored.tensors, images, options), target_distance=stored.tensors["target_distance"]
    )


@dataclass(frozen=True)
class Descent:
    """The images and numbers that a page shows of a trajectory (`stir.trajectory`).

    Attributes:
        steps: numbers of steps, from 0.
        sprite: a PNG of the images after each of `steps` but 0, 8 bits a channel: a row for each step, a column for
            each image.
        distances: name of a network -> [S, N], its relative distance of the image after each step from x.
    """

    steps: tuple[int, ...]
    sprite: bytes
    distances: dict[str, Float[Tensor, "s n"]]

    @property
    def images(self) -> Float[Tensor, "t n c h w"]:
        """The images of the sprite, in [0, 1], without those after 0 steps."""
        pixels = np.asarray(Image.open(io.BytesIO(self.sprite)), dtype=np.float32) / 255
        rows, columns = len(self.steps) - 1, next(iter(self.distances.values())).shape[1]
        height, width = pixels.shape[0] // rows, pixels.shape[1] // columns
        grid = torch.from_numpy(pixels).reshape(rows, height, columns, width, -1)
        return grid.permute(0, 2, 4, 1, 3)


def descent(
    models: TrainedModels,
    name: str,
    images: Tensor,
    at: Sequence[int],
    *,
    seen_by: Iterable[str],
    layer: str | None = None,
    **options,
) -> Descent:
    """Trajectory of an inversion with each network's distances at the same layer; found, or made now and kept.

    Args:
        images, layer: as in `stir.invert`; **options: fields of `stir.InversionOptions`.
        at: numbers of steps, as in `stir.trajectory`, from 1.
        seen_by: names of the networks whose distances are wanted.

    Raises:
        ValueError, TypeError: as `stir.trajectory`.
    """
    names, steps = list(seen_by), (0, *at)

    def record_now() -> Record:
        made_of = _record(models, images, layer, InversionOptions(**options), reference=name).made_of
        seen = [models.key(each) for each in names]
        return Record(made_of | {"kind": "descent", "at": [*map(int, steps)], "seen_by": seen})

    with _stored_once(record_now()) as stored:
        if stored is not None:
            distances = dict(zip(names, stored.tensors["distances"], strict=True))
            return Descent(steps, stored.tensors["sprite"].numpy().tobytes(), distances)
        start = time.perf_counter()
        way = trajectory(models[name], images, steps, layer=layer, **options)
        inverted_in = time.perf_counter() - start
        seen = {each: way.distances(models[each], layer=layer, **options) for each in names}
        result = Descent(steps, sprite(way.images[1:]), seen)
        tensors = {
            "distances": torch.stack([*seen.values()]),
            "sprite": torch.frombuffer(bytearray(result.sprite), dtype=torch.uint8),
        }
        how = circumstances(hardware(resolve_device(options.get("device", "auto"))), inversion=inverted_in)
        record_now().keep({}, tensors, how=how)  # the networks were trained now, perhaps
        return result


def sprite(rows: Float[Tensor, "s n c h w"], levels: int = 256) -> bytes:
    """A PNG of images in [0, 1], 1 or 3 channels each, in rows and columns.

    Args:
        levels: values that a channel may have, evenly spaced; noise of fewer takes less room.
    """
    coarse = (rows.detach().cpu().clamp(0, 1) * (levels - 1)).round() / (levels - 1)
    pixels = (coarse * 255).round().to(torch.uint8).permute(0, 3, 1, 4, 2)
    height, width = pixels.shape[0] * pixels.shape[1], pixels.shape[2] * pixels.shape[3]
    file = io.BytesIO()
    Image.fromarray(pixels.reshape(height, width, -1).squeeze(-1).numpy()).save(file, "PNG", optimize=True)
    return file.getvalue()


def uri(png: bytes) -> str:
    """The address of a picture that holds the picture itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


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

    with _stored_once(record()) as stored:
        if stored is not None:
            return stored.tensors["distance"]
        with Representation(models[name], images, layer, device=device) as represent:
            on_device = images.to(represent.device), changed.to(represent.device)
            distance = relative_distance(represent, *on_device, batch_size=len(images)).cpu()
        how = circumstances(hardware(resolve_device(device)))
        record().keep({}, {"distance": distance}, how=how)  # the network was trained now, perhaps
        return distance


@contextmanager
def _stored_once(record: Record) -> Iterator[Stored | None]:
    """Yield the kept measurement, or None if it is to be made within the `with` block, for which others wait."""
    stored = record.find()
    with nullcontext() if stored else record.claimed():
        yield stored or record.find()


def _record(
    models: TrainedModels,
    images: Tensor,
    layer: str | None,
    options: InversionOptions,
    given_layer: str | None = None,
    **names: str,
) -> Record:
    about = options_in_key(options, worst_case="target" in names)
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
    measured = {name: tensors[name] for name in ("images", "distance", "converged")}
    return content | measured | {"seeds": InversionOptions(**options).seed_images(images), "originals": images}
