"""Descents with a slider, as part of a text: x, x' as it changes, and its distance from x to reference and target.

Without JavaScript, and on paper, the end of each descent shows; `slider.mjs` adds the slider.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from stir.study.naming import decimal
from stir.study.pictures import LEVELS, Descent, sprite, uri

PLACE = "_static/slider.mjs"  # from a page at the top of the book, into which the figure is glued
SIDES = ("reference", "target")


class Pair(NamedTuple):
    """A descent for a reference, and the names of this reference and of a target that looks at it.

    Attributes:
        descent: seen by both networks.
    """

    descent: Descent
    reference: str
    target: str


def slider(pairs: Mapping[str, Pair], image: Tensor, seed: Tensor, *, number: int, shows: str, caption: str) -> str:
    """HTML of a figure with a row for each pair of networks.

    Args:
        pairs: label -> descents from the same seed image with the same steps.
        image, seed: [C, H, W], x and its seed image.
        number: of this image among those of the descents.
        shows: the image in words, such as "cat".
        caption: HTML.

    Raises:
        ValueError: the descents have different steps.
    """
    (steps, *others) = {pair.descent.steps for pair in pairs.values()}
    if others:
        raise ValueError(f"pairs must have descents of the same steps, not {sorted({steps, *others})}")
    seen = {
        (label, side): [row[number].item() for row in pair.descent.distances[name]]
        for label, pair in pairs.items()
        for side, name in zip(SIDES, pair[1:], strict=True)
    }
    most = max(max(distances) for distances in seen.values())
    rows = []
    for label, pair in pairs.items():
        way = torch.stack([seed.clamp(0, 1), *pair.descent.images[:, number]])
        bars = "".join(_bar(side, seen[label, side], most) for side in SIDES)
        rows.append(
            f'<tr><th scope="row">{html.escape(label)}</th>'
            f"<td>{_picture(image[None], f'the test image x, which shows: {shows}')}</td>"
            f"<td>{_picture(way, f'x′ of {label} training, for the same image')}</td><td>{bars}</td></tr>"
        )
    return (
        f'<figure class="descent" data-steps="{json.dumps(steps)}" data-most="{most:.4g}"><table><thead><tr><td></td>'
        '<th scope="col"><i>x</i></th><th scope="col"><i>x</i>′</th><th scope="col">distance from <i>x</i></th></tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table><figcaption>{caption}</figcaption></figure>\n"
        f'<script src="{PLACE}" async></script>'
    )


def _picture(frames: Tensor, alt: str) -> str:
    """HTML of images [S, C, H, W], one below another, of which the style sheet shows the last."""
    picture = uri(sprite(frames[:, None], LEVELS if len(frames) > 1 else 256))
    return f'<img src="{picture}" alt="{html.escape(alt)}">'


def _bar(side: str, distances: list[float], most: float) -> str:
    values = [float(f"{each:.4g}") for each in distances]
    width = f"width:{100 * values[-1] / most:.1f}%"
    return (
        f'<div class="distance" data-values="{json.dumps(values)}"><span>{side}</span> <b>{decimal(values[-1])}</b>'
        f'<span class="track" aria-hidden="true"><i class="{side}" style="{width}"></i></span></div>'
    )
