"""Steps of all findings before the verdicts: check, rehearse and train, then describe networks and pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler
from torch import Tensor

from stir.data.deferred import DeferredImages
from stir.data.images import gather_images
from stir.inversion.invert import invert
from stir.inversion.options import InversionOptions
from stir.inversion.solvers import SOLVERS
from stir.scoring.question import Question
from stir.study import verdict
from stir.study.naming import HEADINGS, decimals
from stir.training.losses import LOSSES
from stir.training.recipe import Recipe
from stir.training.trained import ATTACKS, TrainedModels, networks_to_train, trained_models, untrained_models

# Parameters of a notebook that are arguments of training (but for a network's own loss and data set), and of inversion:
# parameter -> argument.
RECIPE = ("architecture", "width", "progress", *(field.name for field in fields(Recipe) if field.name != "loss"))
MEASURING = (
    "layers",
    "given_layer",
    "measure",
    "also",
    "draws",
)  # the others of `stir.pairwise` are options of the inversion
INVERSION = {"seed_images": "seeds"} | {name: name for name in ("solver", "steps", "tolerance", "device", "progress")}


def check_losses(losses: Sequence[str], robust: int | None = 1) -> None:
    """Raise a ValueError unless `losses` holds "standard", then other losses, none twice.

    Args:
        losses: names, in order.
        robust: number of the other losses; None for two or more.
    """
    unknown = [loss for loss in losses if loss not in LOSSES]
    if unknown:
        raise ValueError(f"losses={list(losses)}: {unknown[0]!r} is unknown; use some of {', '.join(LOSSES)}")
    wrong_number = len(losses) < 3 if robust is None else len(losses) != 1 + robust
    if wrong_number or losses[0] != "standard" or len(set(losses)) < len(losses):
        count = "two robust losses or more" if robust is None else f"{robust} robust loss"
        raise ValueError(
            f"losses={list(losses)} must be 'standard' and then {count}, such as 'adversarial-l2', none twice"
        )


def check_training_seeds(seeds: Sequence[int], at_least: int = 2, name: str = "seeds") -> None:
    """Raise a ValueError unless there are at least so many seeds, none twice; `name` is the parameter's."""
    if len(seeds) < at_least or len(set(seeds)) < len(seeds):
        raise ValueError(f"{name}={list(seeds)} must be at least {at_least} seeds, none twice")


def labels(datasets: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Names of data sets by what tells them apart: "digits 0-4", a folder's own name, with the classes if not all."""
    names = [name.rstrip("/").rpartition("/")[2] if name.startswith("folder:") else name for name in datasets]
    return [f"{name.removeprefix('folder:')} {subset}".strip() for name, subset in zip(names, classes, strict=True)]


def settings(namespace: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Sort a notebook's parameters into the arguments of training, of inversion, and of measuring.

    Args:
        namespace: the notebook's `globals()`.

    Returns:
        Arguments of `stir.trained_models`, of `stir.invert`, and of `stir.pairwise`, which include those of inversion.

    Raises:
        ValueError: no measure is given, or no layer; or a parameter for other solvers is out of its range.
    """
    parameters = {name: namespace[name] for name in namespace.get("__annotations__", {})}
    _check_solvers(parameters)
    recipe = {name: parameters[name] for name in RECIPE if name in parameters}
    inversion = {argument: parameters[name] for name, argument in INVERSION.items() if name in parameters}
    layers = parameters.get("layers", [parameters.get("layer")])
    for name, values in {"measures": parameters["measures"], "layers": layers}.items():
        if not values:
            raise ValueError(f"{name}={values} must hold at least one")
    first, *others = parameters["measures"]
    measurement = {"layers": layers, "measure": first, "also": others, "draws": parameters.get("draws", 1)}
    if parameters.get("given_layer"):
        measurement["given_layer"] = parameters["given_layer"]
    return recipe, inversion, inversion | measurement


def _check_solvers(parameters: Mapping[str, Any]) -> None:
    """Raise a ValueError where parameters for other solvers would fail, which otherwise shows at the end of a page."""
    unknown = [solver for solver in parameters.get("solvers", []) if solver not in SOLVERS]
    if unknown:
        raise ValueError(
            f"solvers={parameters['solvers']}: {unknown[0]!r} is unknown; use some of {', '.join(SOLVERS)}"
        )
    images, steps = parameters.get("solver_images", 5), parameters.get("solver_steps", 0)
    if images < 5:
        raise ValueError(f"solver_images={images} must be at least 5; of more than n_images there are n_images")
    if steps < 0:
        raise ValueError(f"solver_steps={steps} must be at least 1, or 0 for each solver's own number")


def rehearse_and_train(
    networks: Mapping[str, Mapping],
    recipe: Mapping[str, Any],
    images: Tensor | DeferredImages,
    measurement: Mapping[str, Any],
) -> TrainedModels:
    """Train networks, by `stir.trained_models`, after a rehearsal of all measurements on untrained ones.

    One step of each inversion, on two images, shows a mistake before hours of training. Where nothing has to be
    trained there is none.

    Args:
        networks: name -> the arguments in which this network differs from the others.
        recipe: the arguments that all have in common.
        images: [N, C, H, W] in [0, 1], to measure on; or those of a deferred data set.
        measurement: arguments of `stir.pairwise`, as `settings` returns them.

    Raises:
        ValueError: as `stir.trained_models` and `stir.pairwise`.
    """
    if networks_to_train(networks, **recipe):
        _rehearse(networks, recipe, gather_images(images), measurement)
    return trained_models(networks, device=measurement["device"], **recipe)


def _rehearse(
    networks: Mapping[str, Mapping], recipe: Mapping[str, Any], images: Tensor, measurement: Mapping[str, Any]
) -> None:
    inversion = {name: value for name, value in measurement.items() if name not in MEASURING}
    measuring = {name: measurement[name] for name in ("measure", "draws") if name in measurement}
    options = InversionOptions(**inversion)
    Question(images, also=tuple(measurement.get("also", ())), options=options, **measuring)
    layers = [*measurement["layers"], *([measurement["given_layer"]] if "given_layer" in measurement else [])]
    for model in untrained_models(networks, **recipe).values():
        for layer in layers:
            invert(model, images[:2], layer=layer, options=options, steps=1)


def accuracies(cards: Mapping[str, Mapping], about: Mapping[str, Mapping]) -> pd.DataFrame:
    """Accuracies of the networks of each kind, averaged over the kind's networks.

    Args:
        cards: name -> card, those of what `stir.trained_models` returns.
        about: name -> attributes, among them `kind`.

    Returns:
        One row for each kind: the number of `networks`, their `accuracy` on the test images and under the usual attacks
        (`stir.training.trained.ATTACKS`), in [0, 1].
    """
    rows = []
    for name, card in cards.items():
        rows.append(
            {
                "kind": about[name]["kind"],
                "networks": 1,
                "accuracy": card["accuracy"],
                "under L2 attack": card["robust_accuracy"]["l2"],
                "under L∞ attack": card["robust_accuracy"]["linf"],
            }
        )
    kinds = pd.DataFrame(rows).groupby("kind", sort=False)
    return kinds.agg("mean").assign(networks=kinds.networks.sum())


def format_accuracies(table: pd.DataFrame) -> Styler:
    """Format the table that `accuracies` returns as the book shows it."""
    style = table.rename_axis(None).style
    style.format("{:.1%}").format("{:.0f}", subset=["networks"])
    style.format_index(escape="html")
    return style


def pair_table(
    parts: Sequence[pd.DataFrame], about: Mapping[str, Mapping], cards: Mapping[str, Mapping]
) -> pd.DataFrame:
    """Concatenate tables of pairs, and add the attributes and accuracies of both networks.

    Args:
        parts: tables as `stir.pairwise` makes them.
        about: name -> attributes, as in `stir.study.verdict.described`.
        cards: name -> card, those of what `stir.trained_models` returns.

    Returns:
        The table with the columns of `stir.study.verdict.described` and accuracies in [0, 1]: `reference_accuracy`,
        `reference_robust_l2`, `reference_robust_linf`, and the target's; and `recipe`, of all networks, as JSON.
    """
    table = verdict.described(pd.concat(parts, ignore_index=True), about)
    for side in ("reference", "target"):
        of_side = [cards[name] for name in table[side]]
        table[f"{side}_accuracy"] = [card["accuracy"] for card in of_side]
        for ball in ATTACKS:
            table[f"{side}_robust_{ball}"] = [card["robust_accuracy"][ball] for card in of_side]
    return table.assign(recipe=_recipe(cards))


def _recipe(cards: Mapping[str, Mapping]) -> str:
    """JSON of how networks were trained: setting -> its value, or the list of several; without seeds and images."""
    values: dict[str, set] = {}
    for card in cards.values():
        for name, value in card.get("made_by", {}).items():
            if name not in ("seed", "data") and value is not None:
                values.setdefault(name, set()).add(value)
    return json.dumps({name: sorted(each) if len(each) > 1 else min(each) for name, each in sorted(values.items())})


# Columns of a table of pairs, in the order of the page.
DIAGNOSTICS = ["distance_median", "distance_p90", "converged", "ceiling", "moved", "towards", "pixels", "untrained"]
DIAGNOSTICS_SAID = (
    "A score says nothing if the images are not represented alike. Distance: relative, of x′ from x in the "
    "reference’s representation, median and 90th percentile. Converged: the share of the images within the tolerance. "
    "Ceiling: STIR of a network with itself; no score above it means anything. Moved: how far X′ lies from the "
    "seeds. Towards: its distance from X as a share of the seeds’. Pixels: the similarity of X and X′ themselves. "
    "Untrained: the score of a fresh network. Neither has learnt to ignore anything; STIR says something about the "
    "target only to the extent that it is above them. Means over the networks of each kind."
)


def format_diagnostics(table: pd.DataFrame, by: Sequence[str] = ("reference_kind",)) -> Styler:
    """Format the quality of the inversion for each kind of reference, averaged over its networks, as the book shows it.

    Args:
        table: rows as `stir.pairwise` makes them, by one measure, `stir.study.verdict.described`.
        by: the columns that make a kind.
    """
    own = table.loc[table.reference == table.target]
    rows = own.groupby([*by], sort=False)[DIAGNOSTICS].mean().rename(columns=HEADINGS)
    rows.index.names = [name.removeprefix("reference_").replace("kind", "reference") for name in by]
    style = rows.style.set_table_attributes('class="wide"').set_caption(DIAGNOSTICS_SAID)
    style.format(decimals()).format("{:.0%}", subset=["converged"])
    style.format_index(escape="html")
    return style
