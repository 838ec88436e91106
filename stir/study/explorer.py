"""The explorer of descents: measurements as data in the page, from which `explorer.mjs` builds its controls.

Without JavaScript, or outside the book, nothing of it shows; the page has a figure and tables that say the same.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from stir.study.naming import layer_name
from stir.study.pictures import LEVELS, Descent, sprite, uri

SCORES = ("stir", "stir_low", "stir_high", "cka", "cka_low", "cka_high", "pixels")
WIDE = 128  # pixels that a strip has at least, for viewers that smooth what they enlarge
WITHOUT = "<noscript>The controls need JavaScript. The picture and the tables below say the same without it.</noscript>"
PLACE = "../../_static/explorer.mjs"  # from a page of the book, `runs/<scale>/explorer.html`


def explorer(
    descents: Mapping[tuple[str, str], Descent],
    pairs: pd.DataFrame,
    *,
    networks: Mapping[str, tuple[str, str]],
    images: Tensor,
    seeds: Tensor,
    labels: Sequence[str],
    dataset: str,
) -> str:
    """HTML of the explorer.

    Args:
        descents: by reference and layer; the first is the one that a reader meets. All have the same steps, and are
            seen by all networks.
        pairs: rows as `stir.pairwise` makes them, by one measure, of all these pairs and layers.
        networks: name -> what tells it from the others in two parts, its training and its seed.
        images, seeds: [N, C, H, W], x and the seed images, which the descents share.
        labels: what each image shows.
        dataset: name of the data set.

    Raises:
        ValueError: a pair is missing in `pairs`, or there twice.
    """
    scores = pairs.set_index(["reference", "target", "reference_layer"])
    wanted = [(name, target, layer) for name, layer in descents for target in networks]
    if not scores.index.is_unique or not set(wanted) <= set(scores.index):
        raise ValueError("pairs must hold each pair of networks at each layer once, by one measure")
    first = next(iter(descents.values()))
    content = {
        "dataset": dataset,
        "measured": {"images": int(pairs.n_images.iloc[0]), "steps": int(pairs.steps.iloc[0])},
        "labels": list(labels),
        "size": list(images.shape[-2:]),
        "steps": list(first.steps),
        "networks": [dict(zip(("name", "training", "seed"), (name, *parts))) for name, parts in networks.items()],
        "layers": {layer: layer_name(layer) for _, layer in descents},
        "x": uri(sprite(images[None])),
        "seed": uri(sprite(seeds[None])),
        "descents": [{"reference": name, "layer": layer} | _shown(each) for (name, layer), each in descents.items()],
        "scores": [
            dict(zip(("reference", "target", "layer"), key)) | _known(scores.loc[key].to_dict()) for key in wanted
        ],
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    data = f'<script type="application/json">{text}</script>'
    return f'<div class="explorer">{WITHOUT}{data}</div>\n<script src="{PLACE}" async></script>'


def strips(rows: Mapping[str, Tensor], labels: Sequence[str]) -> str:
    """HTML of a grid of images, at home on a phone, in the dark, and where there is no JavaScript.

    Args:
        rows: what a row shows -> its images [N, C, H, W] in [0, 1].
        labels: what each column shows.
    """
    heads = "".join(f'<th scope="col">{html.escape(label)}</th>' for label in labels)
    lines = []
    for name, images in rows.items():
        times = math.ceil(WIDE / (len(images) * images.shape[-1]))
        large = images.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)
        alt = html.escape(f"{len(images)} pictures, {name}: {', '.join(labels)}")
        picture = (
            f'<img src="{uri(sprite(large[None], LEVELS))}" alt="{alt}" style="width:100%;image-rendering:pixelated">'
        )
        lines.append(f'<tr><th scope="row">{html.escape(name)}</th><td colspan="{len(labels)}">{picture}</td></tr>')
    return f'<table class="strips"><thead><tr><td></td>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _shown(descent: Descent) -> dict[str, Any]:
    distances = {
        name: [[float(f"{each:.4g}") for each in row] for row in seen.tolist()]
        for name, seen in descent.distances.items()
    }
    return {"sprite": uri(sprite(descent.images, LEVELS)), "distances": distances}


def _known(row: Mapping[str, Any]) -> dict[str, float]:
    """The scores of a pair; JSON has no NaN, and what was not measured is left out."""
    return {name: round(float(row[name]), 4) for name in SCORES if name in row and not math.isnan(row[name])}
