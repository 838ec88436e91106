"""What the notebooks of all findings do alike before they conclude: find mistakes first, train, list the networks, describe the pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

import pandas as pd
from pandas.io.formats.style import Styler
from torch import Tensor, nn

from stir.data.images import gather_images
from stir.inversion.invert import invert
from stir.inversion.options import InversionOptions
from stir.inversion.solvers import SOLVERS
from stir.scoring.question import Question
from stir.study import verdict
from stir.training.losses import LOSSES
from stir.training.recipe import Recipe
from stir.training.trained import ATTACKS, trained_models, untrained_models

# What the parameters of a notebook are called where they are used. A network's own loss and data set are not among them.
RECIPE = ("architecture", "width", "progress", *(field.name for field in fields(Recipe) if field.name != "loss"))
MEASURING = ("layers", "measure", "also", "draws")  # the others of `stir.pairwise` are options of the inversion
INVERSION = {"seed_images": "seeds"} | {name: name for name in ("solver", "steps", "tolerance", "device", "progress")}


def check_losses(losses: Sequence[str], robust: int | None = 1) -> None:
    """Raise a ValueError unless `losses` is "standard", then so many robust losses, or two and more where `robust` is None; none twice."""
    unknown = [loss for loss in losses if loss not in LOSSES]
    if unknown:
        raise ValueError(f"losses={list(losses)}: {unknown[0]!r} is unknown; use some of {', '.join(LOSSES)}")
    few = len(losses) < 3 if robust is None else len(losses) != 1 + robust
    if few or losses[0] != "standard" or len(set(losses)) < len(losses):
        count = "two robust losses or more" if robust is None else f"{robust} robust loss"
        raise ValueError(
            f"losses={list(losses)} must be 'standard' and then {count}, such as 'adversarial-l2', none twice"
        )


def check_seeds(seeds: Sequence[int], at_least: int = 2) -> None:
    """Raise a ValueError where there are fewer seeds than the page needs, or one is there twice."""
    if len(seeds) < at_least or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={list(seeds)} must be at least {at_least} seeds, none twice")


def settings(namespace: Mapping[str, object]) -> tuple[dict, dict, dict]:
    """What a notebook's parameters say of training, of inversion, and of measuring.

    Args:
        namespace: the notebook's `globals()`.

    Returns:
        Arguments of `stir.trained_models`, of `stir.invert`, and of `stir.pairwise`, those of inversion among them.

    Raises:
        ValueError: no measure is given, or no layer; or what other solvers are asked for is out of its range.
    """
    given = {name: namespace[name] for name in namespace.get("__annotations__", {})}
    _check_solvers(given)
    recipe = {name: given[name] for name in RECIPE if name in given}
    inversion = {argument: given[name] for name, argument in INVERSION.items() if name in given}
    layers = given.get("layers", [given.get("layer")])
    for name, values in {"measures": given["measures"], "layers": layers}.items():
        if not values:
            raise ValueError(f"{name}={values} must hold at least one")
    first, *others = given["measures"]
    return (
        recipe,
        inversion,
        inversion | {"layers": layers, "measure": first, "also": others, "draws": given.get("draws", 1)},
    )


def _check_solvers(given: Mapping[str, object]) -> None:
    """Raise a ValueError unless what other solvers are asked for can be had, which otherwise would show only at the end of a page."""
    unknown = [solver for solver in given.get("solvers", []) if solver not in SOLVERS]
    if unknown:
        raise ValueError(f"solvers={given['solvers']}: {unknown[0]!r} is unknown; use some of {', '.join(SOLVERS)}")
    if given.get("solver_images", 5) < 5:
        raise ValueError(
            f"solver_images={given['solver_images']} must be at least 5; of more than n_images there are n_images"
        )
    if given.get("solver_steps", 0) < 0:
        raise ValueError(f"solver_steps={given['solver_steps']} must be at least 1, or 0 for each solver's own number")


def train(
    networks: Mapping[str, Mapping], recipe: Mapping[str, object], images: Tensor, measurement: Mapping[str, object]
) -> dict[str, nn.Sequential]:
    """Trained networks, by `stir.trained_models`, once all that is to be done with them has been rehearsed on untrained ones.

    One step of each inversion, on two images, shows a mistake before hours of training.

    Args:
        networks: name -> in what this network differs from the others.
        recipe: what they have in common.
        images: [N, C, H, W] in [0, 1], that will be measured on.
        measurement: what `stir.pairwise` will be asked for, as `settings` returns it.

    Raises:
        ValueError: as `stir.trained_models` and `stir.pairwise` do.
    """
    inversion = {name: value for name, value in measurement.items() if name not in MEASURING}
    measuring = {name: measurement[name] for name in ("measure", "draws") if name in measurement}
    options = InversionOptions(**inversion)
    Question(gather_images(images), also=tuple(measurement.get("also", ())), options=options, **measuring)
    for model in untrained_models(networks, **recipe).values():
        for layer in measurement["layers"]:
            invert(model, images[:2], layer=layer, options=options, steps=1)
    return trained_models(networks, device=measurement["device"], **recipe)


def accuracies(models: Mapping[str, nn.Module], about: Mapping[str, Mapping]) -> pd.DataFrame:
    """How accurate the networks of each kind are, in means over the kind's networks.

    Args:
        models: name -> network, as `stir.trained_models` returns them.
        about: name -> attributes, of which `kind` tells what is averaged.

    Returns:
        One row a kind: how many `networks`, their `accuracy` on the test images and what is left of it under the usual
        attacks (`stir.training.trained.ATTACKS`), in [0, 1], and the `seconds to train` one.
    """
    rows = []
    for name, model in models.items():
        robust = model.card["robust_accuracy"]
        shares = {
            "accuracy": model.card["accuracy"],
            "under L2 attack": robust["l2"],
            "under L∞ attack": robust["linf"],
        }
        rows.append({"kind": about[name]["kind"], "networks": 1} | shares | {"seconds to train": model.card["seconds"]})
    made = pd.DataFrame(rows).groupby("kind", sort=False)
    return made.mean().assign(networks=made.networks.sum())


def shown(found: pd.DataFrame) -> Styler:
    """What `accuracies` found, as the book shows it."""
    counts = {"networks": "{:.0f}", "seconds to train": "{:.0f}"}
    return found.style.format("{:.1%}").format(counts, subset=[*counts])


def described(
    parts: Sequence[pd.DataFrame], about: Mapping[str, Mapping], models: Mapping[str, nn.Module]
) -> pd.DataFrame:
    """One table of all that was measured, with what is known of either network of each pair.

    Args:
        parts: rows as `stir.pairwise` makes them.
        about: name -> attributes, as in `stir.study.verdict.described`.
        models: name -> network, as `stir.trained_models` returns them.

    Returns:
        As `stir.study.verdict.described`, and accuracies in [0, 1]: `reference_accuracy`, `reference_robust_l2`,
        `reference_robust_linf`, and the target's.
    """
    table = verdict.described(pd.concat(parts, ignore_index=True), about)
    for side in ("reference", "target"):
        cards = table[side].map(lambda name: models[name].card)
        table[f"{side}_accuracy"] = [card["accuracy"] for card in cards]
        for ball in ATTACKS:
            table[f"{side}_robust_{ball}"] = [card["robust_accuracy"][ball] for card in cards]
    return table


def diagnostics(table: pd.DataFrame, by: Sequence[str] = ("reference_kind",)) -> pd.DataFrame:
    """How well the inversion worked for each kind of reference, in means over its networks.

    Args:
        table: rows as `stir.pairwise` makes them, by one measure, `stir.study.verdict.described`.
        by: the columns that tell what is averaged.

    Returns:
        The columns distance_median, distance_p90, converged and ceiling; then moved, towards, pixels and untrained: how far X' lies from
        the seeds, and what it has of X already in its pixels.
    """
    own = table[table.reference == table.target]
    columns = ["distance_median", "distance_p90", "converged", "ceiling", "moved", "towards", "pixels", "untrained"]
    return own.groupby([*by], sort=False)[columns].mean()
