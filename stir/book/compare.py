"""Comparison of a user's own networks: built by their functions, measured layer by layer, with a word on the trust."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from stir.data.datasets import load_dataset
from stir.data.images import gather_images
from stir.inversion.layers import PENULTIMATE
from stir.inversion.options import InversionOptions
from stir.inversion.representation import Representation
from stir.networks.architectures import TORCHVISION_PREFIX, pretrained_model
from stir.scoring.cautions import BASELINES, LOW_CEILING, LOW_CONVERGED
from stir.scoring.question import Question, naming
from stir.scoring.score import pairwise

NOTEBOOK = Path(__file__).with_name("compare.ipynb")
MOST_LAYERS = 6  # that are chosen where none are named


def build_networks(names: Sequence[str], path: str | Path = ".") -> dict[str, nn.Module]:
    """Build networks by their names, "MODULE:FUNCTION", or "torchvision:NAME" for one with published weights.

    Args:
        names: at least two, none twice.
        path: folder that modules are looked for in first.

    Raises:
        ValueError: a name of another form, a module or a function that is not there, or that returns no network.
        ConnectionError: torchvision's weights are not on this machine and cannot be downloaded.
    """
    if len(names) < 2 or len(set(map(str, names))) < len(names):
        raise ValueError(f"networks={list(names)} must be two or more, none twice")
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))
    return {str(name): _build(str(name)) for name in names}


def _build(name: str) -> nn.Module:
    module, colon, function = name.partition(":")
    if not colon or not function or not module:
        raise ValueError(f"network={name!r} must be MODULE:FUNCTION, such as mine:first, or torchvision:resnet50")
    if name.startswith(TORCHVISION_PREFIX):
        return pretrained_model(name)
    try:
        importlib.invalidate_caches()
        build = getattr(importlib.import_module(module), function)
    except AttributeError as error:
        raise ValueError(f"network={name!r}: the module {module} has no {function!r}") from error
    except Exception as error:  # of the user's code
        raise ValueError(f"network={name!r}: {module} cannot be imported ({_in_words(error)})") from error
    try:
        network = build()
    except Exception as error:  # of the user's code
        raise ValueError(f"network={name!r}: {function}() raised {_in_words(error)}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"network={name!r}: {function}() returned a {type(network).__name__}, no torch.nn.Module")
    return network


def _in_words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def stages(network: nn.Module) -> list[str]:
    """Layers of a network to look at: its outermost parts that have weights, except the last."""
    prefix, parts = "", _parts(network)
    while len(parts) == 1 and _parts(parts[0][1]):
        prefix, parts = f"{prefix}{parts[0][0]}.", _parts(parts[0][1])
    return [f"{prefix}{name}" for name, _ in parts[:-1]]


def _parts(network: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, part) for name, part in network.named_children() if [*part.parameters()]]


def choose_layers(
    networks: Mapping[str, nn.Module], images: Tensor, names: Sequence[Any] = (), device: str = "auto"
) -> list[dict[str, str]]:
    """The layers of each network that are compared, one after another.

    Args:
        names: of layers of all networks; or a list of names for each; empty for some from the first of `stages` to the
            penultimate layer.

    Raises:
        ValueError: lists of different lengths, or not one for each network; or a layer twice.
    """
    lists = [each for each in names if isinstance(each, list)]
    if lists and (len(lists) != len(networks) or len(lists) < len(names) or len(set(map(len, lists))) > 1):
        raise ValueError(
            f"layers={list(names)} must be names, for all networks, or a list of as many names for each of the "
            f"{len(networks)} networks"
        )
    columns = lists or [list(names)] * len(networks)
    if not names:
        usable = [_usable(name, network, images, device) for name, network in networks.items()]
        count = min(MOST_LAYERS, *map(len, usable))
        columns = [_spread(each, count) for each in usable]
    rows = [*zip(*columns, strict=True)]
    if len(set(rows)) < len(rows):
        raise ValueError(f"layers={list(names)} must hold none twice")
    return [dict(zip(networks, row, strict=True)) for row in rows]


def _spread(layers: Sequence[str], count: int) -> list[str]:
    """Pick `count` evenly spaced layers, the last among them."""
    step = (len(layers) - 1) / max(count - 1, 1)
    return [layers[-1 - round(number * step)] for number in reversed(range(count))]


def _usable(name: str, network: nn.Module, images: Tensor, device: str) -> list[str]:
    """The stages at which features can be taken, then the penultimate layer in place of stages equal to it."""
    features: dict[str, Tensor] = {}
    for layer in [*stages(network), PENULTIMATE]:
        # A part may never run, or more than once, or return no features; the penultimate layer has to be there.
        with (
            naming(name) if layer == PENULTIMATE else suppress(ValueError),
            Representation(network, images[:2], layer, device=device) as represent,
            torch.no_grad(),
        ):
            features[layer] = represent(images[:2])
    last = features.pop(PENULTIMATE)
    same = [layer for layer, each in features.items() if each.shape == last.shape and each.allclose(last, rtol=1e-3)]
    return [layer for layer in features if layer not in same] + [PENULTIMATE]


def check(values: Mapping[str, Any]) -> None:
    """Check the networks and images that the notebook's parameters name, by passing a few images through each network.

    Args:
        values: the parameters, whose types and ranges are right.

    Raises:
        ValueError, ConnectionError: as `build_networks`, `stir.load_dataset` and `choose_layers`; or a network has no
            such layer, cannot take the images or passes them no gradient.
    """
    networks = build_networks(values["networks"], values["path"])
    options = {"image_size": values["image_size"] or None, "unreadable": values["unreadable"]}
    images = gather_images(load_dataset(values["dataset"], progress=False, **options).test.take(values["n_images"])[:8])
    for layer in choose_layers(networks, images, values["layer_names"], values["device"]):
        question = Question(images, layer, layer, options=InversionOptions(device=values["device"]))
        for name, network in networks.items():
            question.check_reference(name, network)


def measure(
    networks: Mapping[str, nn.Module], images: Tensor, layers: Sequence[Mapping[str, str]], **options: Any
) -> tuple[pd.DataFrame, list[str]]:
    """Measure every pair at every layer.

    Args:
        layers: as `choose_layers` returns them.
        options: further arguments of `stir.pairwise`.

    Returns:
        Its table, with the columns `depth`, the number of the layer from 0, and `doubts`, as `doubts` returns them;
        and what it warned of.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = pairwise(networks, images, layers=[dict(layer) for layer in layers], **options)
    places = {
        (reference, layer[reference], target, layer[target]): depth
        for depth, layer in enumerate(layers)
        for reference in layer
        for target in layer
    }
    columns = ["reference", "reference_layer", "target", "target_layer"]
    table["depth"] = [places[place] for place in table[columns].itertuples(index=False, name=None)]
    table["doubts"] = ["; ".join(doubts(row)) for row in table.to_dict("records")]
    return table, list(dict.fromkeys(str(each.message) for each in caught if each.category is UserWarning))


def doubts(row: Mapping[Any, Any]) -> list[str]:
    """Reasons to distrust a score, or to doubt that it shows learnt invariances; empty if there are none.

    Args:
        row: with the columns of `stir.pairwise`. Those of a measure without intervals are judged by their value.
    """
    reasons = []
    if not row["ceiling"] >= LOW_CEILING:
        reasons.append(f"ceiling {row['ceiling']:.2f}: take more steps")
    if not row["converged"] >= LOW_CONVERGED:
        reasons.append(f"{row['converged']:.0%} converged: take more steps")
    if row["reference"] != row["target"]:
        low = row["stir_low"] if pd.notna(row["stir_low"]) else row["stir"]
        below = [f"{name} {row[name]:.2f}" for name in BASELINES if low <= row[name]]
        reasons += [f"not above {', '.join(below)}"] if below else []
    return reasons


def summary(table: Any) -> str:
    """A few lines on the pairs of different networks, by the first measure: the scores, and how many have no doubts."""
    pairs = table[(table.reference != table.target) & (table.measure == table.measure.iloc[0])]
    columns = ["target", "reference", "target_layer", "stir", "cka", "pixels", "ceiling", "doubts"]
    shown: Any = pairs[columns]
    shown = shown.rename(columns={"reference": "given", "target_layer": "layer"}).replace({"doubts": {"": "none"}})
    count = int((shown.doubts == "none").sum())
    text = shown.to_string(index=False, float_format="{:.2f}".format)
    return f"{text}\n\n{count} of {len(pairs)} scores can be trusted as they are."
