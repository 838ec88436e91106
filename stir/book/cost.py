"""Cost of the findings: the time of each stage, from the cards of the networks and measurements that pages used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from stir import kept
from stir.book.evidence import USED
from stir.networks.architectures import build_model
from stir.scoring.kept_pairs import rows_of
from stir.study.conclusions import ORDER
from stir.training.losses import norm
from stir.training.store import read_card as read_network_card

STAGES = ("training", "inversion", "scores")


def spent(folder: Path) -> pd.DataFrame:
    """Time spent on the networks and measurements that the pages in `folder` have used.

    Args:
        folder: of executed pages; each has `<page>-used.json` beside it.

    Returns:
        One row for each page and each network or measurement that it has used, findings in the order of the book and
        then other pages, with the columns page; file; again, True where an earlier page has used it too; seconds of
        training, inversion and scores, NaN where it is not known; hardware; architecture, width and loss of the
        network, or of the reference; image_steps, descents' images times steps, 0 of a network; and n_images of a
        measurement.

    Raises:
        ValueError: no page has used anything that is known here.
    """
    names = [path.name.removesuffix(USED) for path in sorted(folder.glob(f"*{USED}"))]
    rows: list[dict[str, Any]] = []
    for page in sorted(names, key=[*ORDER, *names].index):
        used = json.loads((folder / f"{page}{USED}").read_text(encoding="utf-8"))
        networks = {Path(file).stem: card for file in used if (card := _network(file))}
        rows += [{"page": page, "file": f"models/{key}.json", **_of_network(card)} for key, card in networks.items()]
        for file in used:
            card = _measurement(file)
            if card:
                rows.append({"page": page, "file": file, **_of_measurement(card, networks)})
    if not rows:
        raise ValueError(f"pages={str(folder)!r} holds no page that has used a network; run the findings first")
    table = pd.DataFrame(rows)
    table.insert(2, "again", table.file.duplicated())
    return table


def _network(file: str) -> dict[str, Any] | None:
    if file.startswith("models/"):
        for folder in kept.folders():
            with suppress(*kept.DAMAGE):
                return read_network_card(folder / file)
    return None


def _measurement(file: str) -> dict[str, Any] | None:
    if file.startswith(f"{kept.FOLDER}/"):
        for folder in kept.folders():
            with suppress(*kept.DAMAGE):
                card = kept.read_card(folder / file)
                return card if card["made_of"].get("kind") in ("pairs", "pictures") else None
    return None


def _of_network(card: Mapping[str, Any]) -> dict[str, Any]:
    return {"training": card["seconds"], "hardware": card["hardware"], "image_steps": 0, **_kind(card)}


def _of_measurement(card: Mapping[str, Any], networks: Mapping[str, Mapping]) -> dict[str, Any]:
    made_of, content = card["made_of"], card["content"]
    entries = [*content.values()] if made_of["kind"] == "pairs" else [card]
    seconds = pd.DataFrame([entry["how"].get("seconds") or {} for entry in entries], columns=[*STAGES[1:]])
    reference = networks.get(made_of["reference"].partition(" ")[0])
    row = {stage: seconds[stage].sum(min_count=1) for stage in seconds}
    row |= {"hardware": entries[0]["how"]["hardware"], **(_kind(reference) if reference else {})}
    if made_of["kind"] == "pairs":
        first = rows_of(entries[0])[0]
        descents = len(content) if made_of["worst_case"] else 1
        image_steps = descents * first["n_draws"] * first["n_images"] * first["steps"]
        row |= {"n_images": first["n_images"], "image_steps": image_steps}
    return row


def _kind(card: Mapping[str, Any]) -> dict[str, Any]:
    return {name: card["made_by"].get(name) for name in ("architecture", "width", "loss")}


@cache
def operations(architecture: str, width: int, size: int = 32) -> int:
    """Floating-point operations of a network's forward pass on one colour image of `size` pixels square."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        build_model(architecture, 10, width=width).eval()(torch.empty(1, 3, size, size))
    return counter.get_total_flops()


def at_full_scale(
    table: pd.DataFrame,
    *,
    width: int,
    epochs: int,
    train_images: int,
    attack_steps: int,
    n_images: int,
    steps: int,
    training_rate: float,
    inversion_rate: float,
) -> pd.DataFrame:
    """Hours that the same networks and inversions would take at another scale on other hardware.

    A network's time goes with its operations on an image, and with those of its attack, of which each step costs as
    much as one of training. The measurements with other solvers, on fewer images, are left out.

    Args:
        table: rows that `spent` returns.
        width: channels of the first stage.
        epochs, train_images: of a training.
        attack_steps: of adversarial training.
        n_images, steps: of an inversion.
        training_rate: images a second of the standard training of a ResNet18 of this width.
        inversion_rate: image-steps a second of its inversion.

    Returns:
        One row for each page, with the hours of training and of inversion of what no earlier page has used.
    """
    table = table.loc[~table.again & table.architecture.notna()]
    reference = operations("resnet18", width)
    relative = pd.Series(
        [operations(each, width) / reference for each in table.architecture], index=table.index, dtype=float
    )
    passes = pd.Series([1 + attack_steps * (norm(loss) is not None) for loss in table.loss], index=table.index)
    training = relative * passes * epochs * train_images / training_rate / 3600
    pages = table.loc[:, "page"]
    most = table.n_images.groupby(pages).transform("max")
    inversion = relative * n_images * steps / inversion_rate / 3600
    stages = {
        "training": training.where(table.training.notna(), 0),
        "inversion": inversion.where(table.n_images == most, 0),
    }
    return pd.DataFrame({stage: hours.groupby(pages, sort=False).sum() for stage, hours in stages.items()})
