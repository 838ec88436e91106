"""Allowed values of the notebooks' parameters, alone and together.

They are checked by a notebook's first cell, and before its process starts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from stir.book import parameters
from stir.computing.devices import resolve_device
from stir.data.datasets import FOLDER_DATASETS, TORCHVISION_DATASETS, check_dataset, is_here, missing_download
from stir.data.folders import UNREADABLE
from stir.data.trees import download_folder
from stir.inversion.options import InversionOptions
from stir.inversion.representation import PENULTIMATE
from stir.inversion.seeds import SEEDS
from stir.inversion.solvers import SOLVERS
from stir.names import suggest
from stir.networks.architectures import ARCHITECTURES, TORCHVISION_PREFIX, build_model, check_architecture
from stir.scoring.question import Question
from stir.similarity.measures import MEASURES
from stir.study import findings
from stir.training.augmentation import AUGMENTATIONS
from stir.training.losses import LOSSES, norm
from stir.training.recipe import Recipe

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Choice:
    """Allowed names of a parameter, or of each entry of a list; also any name that begins with one of `prefixes`."""

    names: Sequence[str]
    prefixes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join([*self.names, *(f"{prefix}..." for prefix in self.prefixes)])

    def check(self, name: str, value: Any) -> None:
        if not (value in self.names or str(value).startswith(self.prefixes)):
            raise ValueError(f"{name}={value!r} is unknown; {suggest(value, str(self).split(', '))}")


@dataclass(frozen=True)
class Range:
    """Allowed finite numbers: from `least`, or above it if `above`, and below `below`."""

    least: int | float
    above: bool = False
    below: int | float = math.inf

    def __str__(self) -> str:
        first = f"above {self.least:g}" if self.above else f"{self.least:g} or more"
        return first + (f", below {self.below:g}" if math.isfinite(self.below) else "")

    def check(self, name: str, value: Any) -> None:
        if not self.least <= value < self.below or (self.above and value == self.least):
            raise ValueError(f"{name}={value} must be {self}" + (", and finite" if value == math.inf else ""))


_DATASETS = Choice(["digits", *TORCHVISION_DATASETS, *FOLDER_DATASETS], ("folder:",))
_ARCHITECTURES = Choice([*ARCHITECTURES], (TORCHVISION_PREFIX,))
_COUNTS = ("width", "epochs", "batch_size", "attack_steps", "steps", "worst_steps", "few_steps", "n_copies", "draws")
_COUNTS += ("full_width", "full_epochs", "full_train_images", "full_attack_steps", "full_n_images", "full_steps")
_COUNTS += ("shown_images", "at", "widths", "sizes", "step_counts", "paper_steps", "our_steps", "image_counts")
# Parameter -> what it, or each of its entries, may be.
ALLOWED: dict[str, Choice | Range] = {
    **dict.fromkeys(("dataset", "datasets"), _DATASETS),
    "unreadable": Choice(UNREADABLE),
    **dict.fromkeys(("architecture", "architectures"), _ARCHITECTURES),
    **dict.fromkeys(("loss", "losses", "known_loss"), Choice(LOSSES)),
    "augmentation": Choice([*AUGMENTATIONS]),
    "seed_images": Choice([*SEEDS]),
    **dict.fromkeys(("solver", "solvers"), Choice([*SOLVERS])),
    "measures": Choice([*MEASURES]),
    **dict.fromkeys(_COUNTS, Range(1)),
    **dict.fromkeys(("n_train", "image_size", "solver_steps", "seed", "seeds", "shown_seeds", "known_seeds"), Range(0)),
    **dict.fromkeys(("n_images", "solver_images"), Range(5)),
    **dict.fromkeys(("epsilon", "epsilon_linf", "learning_rate", "tolerance"), Range(0, above=True)),
    **dict.fromkeys(("training_rate", "inversion_rate"), Range(0, above=True)),
    **dict.fromkeys(("epsilons", "weight_decay"), Range(0)),
    "label_smoothing": Range(0, below=1),
    "augmentation_strength": Range(0, below=4),
}


class ParameterError(ValueError):
    """Parameters with which a notebook cannot run; the notebook shows the message without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """Hook of IPython's."""
        return [f"{type(self).__name__}: {self}"]


def check_notebook(name: str, namespace: Values) -> None:
    """Check the parameters inside the running notebook called `name`; `namespace` is its `globals()`.

    Raises:
        ParameterError: with the message of `stir.book.parameters.check_notebook` or `check_together`.
    """
    try:
        parameters.check_notebook(namespace)
        check_together(name, {each: namespace[each] for each in namespace.get("__annotations__", {})})
    except ValueError as error:
        raise ParameterError(str(error)) from None


def check_values(notebook: Path, values: Values) -> None:
    """Check, before `notebook` runs, the parameters that it is given.

    Raises:
        ValueError: a name that it does not declare, a value of another type, or what `check_together` raises.
    """
    parameters.check_values(values, parameters.declared(notebook))
    known = parameters.complete(notebook, values)
    check_together(notebook.stem, {name: value for name, value in known.items() if value is not None})


def check_together(name: str, values: Values) -> None:
    """Check the values of all parameters of the notebook called `name`, whose types are right.

    Raises:
        ValueError: a value that is not allowed, alone or beside the others; data that are not there.
    """
    for parameter, value in values.items():
        allowed = ALLOWED.get(parameter)
        if isinstance(value, list):
            for position, entry in enumerate(value):
                if allowed:
                    allowed.check(f"{parameter}[{position}]", entry)
        elif allowed:
            allowed.check(parameter, value)
    for rule in RULES.get(name, ()):
        rule(values)
    _check_training(values)
    _check_inversion(values)
    _check_layers(values)
    _check_data(values)


def _losses(robust: int | None = 1) -> Callable[[Values], None]:
    return lambda values: findings.check_losses(values["losses"], robust)


def _seeds(at_least: int) -> Callable[[Values], None]:
    return lambda values: findings.check_training_seeds(values["seeds"], at_least)


def _known_seeds(values: Values) -> None:
    findings.check_training_seeds(values["known_seeds"], name="known_seeds")


def _skip_connections(values: Values) -> None:
    architectures = values["architectures"]
    if sum(f"{each}-noskip" in architectures for each in set(architectures)) < 2:
        raise ValueError(f"{architectures=} must hold two ResNets, each with and without '-noskip'")


def _two_data_sets(values: Values) -> None:
    for name in ("datasets", "classes", "labels"):
        if len(values[name]) != 2 and (name != "labels" or values[name]):
            raise ValueError(f"{name}={values[name]} must hold two entries")
    labels = values["labels"] or findings.labels(values["datasets"], values["classes"])
    if len(set(labels)) < 2:
        raise ValueError(f"{labels=} must be different names")


def _radii(values: Values) -> None:
    epsilons, loss = values["epsilons"], values["loss"]
    if len(epsilons) < 3 or epsilons != sorted(set(epsilons)) or epsilons[0] != 0:
        raise ValueError(f"{epsilons=} must be three radii or more that rise from 0")
    if norm(loss) is None:
        raise ValueError(f"{loss=} must be a robust loss, such as 'adversarial-l2'")


def _shown(values: Values) -> None:
    at = values["at"]
    if not at or at != sorted(set(at)):
        raise ValueError(f"{at=} must be whole numbers that rise")
    if not values["shown_seeds"] or not set(values["shown_seeds"]) <= set(values["seeds"]):
        raise ValueError(f"shown_seeds={values['shown_seeds']} must be some of seeds={values['seeds']}")


def _rising_sizes(values: Values) -> None:
    sizes = values["sizes"]
    if len(sizes) < 3 or sizes != sorted(set(sizes)):
        raise ValueError(f"{sizes=} must be three numbers or more, rising")


# Notebook -> what its parameters have to be together, beyond what all notebooks have in common.
RULES: dict[str, tuple[Callable[[Values], None], ...]] = {
    "measure": (_known_seeds,),
    "initialization": (_losses(), _seeds(2)),
    "explorer": (_losses(), _seeds(2), _shown),
    "architecture": (_skip_connections, _losses(), _seeds(2)),
    "loss": (_losses(robust=None), _seeds(2)),
    "dataset": (_two_data_sets, _losses(), _seeds(2)),
    "robustness": (_radii, _seeds(2)),
    "updates": (_rising_sizes, _losses(), _seeds(3)),
    "controversial": (_losses(), _seeds(3)),
}


def check_image_counts(image_counts: Sequence[int], n_test: int) -> None:
    """Raise a ValueError if one of `image_counts` is larger than the number of test images, `n_test`."""
    if max(image_counts, default=0) > n_test:
        raise ValueError(f"{image_counts=} must be at most {n_test}, all test images")


def _check_training(values: Values) -> None:
    """Check the parameters of training together."""
    for architecture in _architectures(values):
        check_architecture(architecture)
    settings = {field.name: values[field.name] for field in fields(Recipe) if field.name in values}
    losses = [*values.get("losses", ()), *(values[name] for name in ("loss", "known_loss") if name in values)]
    for loss in losses:
        Recipe(**{**settings, "loss": loss})
    if "device" in values:
        resolve_device(values["device"])


def _check_inversion(values: Values) -> None:
    """Check the parameters of the measurement together."""
    if "measures" not in values:
        return
    _, inversion, measurement = findings.settings({"__annotations__": dict.fromkeys(values), **values})
    unseen = torch.empty(values.get("n_images", 5), 0)
    settings = {"measure": measurement["measure"], "also": tuple(measurement["also"]), "draws": measurement["draws"]}
    for layer in measurement["layers"]:
        Question(
            unseen, layer, measurement.get("given_layer", layer), options=InversionOptions(**inversion), **settings
        )


def _data(values: Values) -> Iterator[tuple[str, dict[str, Any]]]:
    """The data sets that a notebook loads: name, and further arguments of `stir.load_dataset`."""
    shared = {"image_size": values.get("image_size") or None, "unreadable": values.get("unreadable", "refuse")}
    for name, classes in zip(
        values.get("datasets", [values.get("dataset")]), values["classes"] if "datasets" in values else [None]
    ):
        for n_train in values.get("sizes", [values.get("n_train")]):
            if name is not None:
                chosen = classes or (values.get("classes") if "datasets" not in values else None)
                yield name, {"classes": chosen or None, "n_train": n_train or None, **shared}


def _check_data(values: Values) -> None:
    """Check that the data are there, and, where that is known without reading them, that they are enough."""
    for name, options in _data(values):
        n_test = check_dataset(name, **options)
        if n_test is not None and "n_images" in values and values["n_images"] > n_test:
            raise ValueError(f"n_images={values['n_images']} must lie between 5 and {n_test}, all test images")
        if n_test is not None:
            check_image_counts(values.get("image_counts", []), n_test)


def _names_of_data(notebook: Path, values: Values) -> list[str]:
    return list(dict.fromkeys(name for name, _ in _data(parameters.complete(notebook, values))))


def has_images(notebook: Path, values: Values) -> bool:
    """True if all images that `notebook` may need are on this machine, for parameters that `check_values` allows."""
    return all(map(is_here, _names_of_data(notebook, values)))


def check_images(notebook: Path, values: Values) -> list[str]:
    """Check that the images are here, or can be downloaded, with parameters that `check_values` allows.

    Returns:
        Sentences on what will be downloaded.

    Raises:
        ValueError: they are neither; a `stir.data.trees.MissingImagesError` of those that nobody can download.
    """
    names = _names_of_data(notebook, values)
    for name in names:
        if name in FOLDER_DATASETS:
            download_folder(name)
    needed = [missing_download(name) for name in names if name in TORCHVISION_DATASETS]
    return [sentence for sentence in needed if sentence]


def _architectures(values: Values) -> list[str]:
    one = [values["architecture"]] if "architecture" in values else []
    return list(dict.fromkeys([*one, *values.get("architectures", [])]))


def _check_layers(values: Values) -> None:
    """Check that every architecture has the layers, by their names."""
    names = {f"layers[{position}]": layer for position, layer in enumerate(values.get("layers", []))}
    names |= {name: values[name] for name in ("layer", "given_layer") if values.get(name)}
    names = {name: layer for name, layer in names.items() if layer not in (None, PENULTIMATE)}
    for architecture in _architectures(values) if names else []:
        with torch.device("meta"):  # names alone, no weights
            modules = [name for name, _ in build_model(architecture, 10, width=values.get("width", 64)).named_modules()]
        for name, layer in names.items():
            if layer.partition("#")[0] not in modules[1:]:
                outer = [module for module in modules[1:] if "." not in module]
                raise ValueError(
                    f"{name}={layer!r} does not exist in {architecture}; "
                    f"{suggest(layer, modules[1:], [PENULTIMATE, *outer])}"
                )
