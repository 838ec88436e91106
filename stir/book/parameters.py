"""Strict notebook parameters: names and types are checked before anything runs.

A parameters cell has one `name: type = default  # help` in a line, with a type of `TYPES`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list}


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell; `default` is its source text."""

    name: str
    type: str
    default: str
    help: str


def declared(notebook: Path) -> dict[str, Parameter]:
    """Return the parameters that a notebook declares, in their order."""
    import papermill  # slow to import, and not needed in a running notebook

    entries = papermill.inspect_notebook(str(notebook))
    if not entries:
        raise ValueError(f"{notebook} declares no parameters; tag a cell `parameters`")
    return {
        name: Parameter(name, entry["inferred_type_name"], entry["default"], entry["help"])
        for name, entry in entries.items()
    }


def parse_value(text: str, name: str, parameters: Mapping[str, Parameter]) -> object:
    """Parse the text of a command line option for the parameter `name`: as YAML, unless its type is str."""
    if name in parameters and parameters[name].type == "str":
        return text
    return yaml.safe_load(text)


def check_values(values: Mapping[str, object], parameters: Mapping[str, Parameter]) -> None:
    """Raise a ValueError for a name that is not declared, or a value of another type."""
    for name, value in values.items():
        if name not in parameters:
            near = difflib.get_close_matches(name, parameters, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(parameters)}"
            raise ValueError(f"parameter {name!r} does not exist; {hint}")
        _check_type(name, value, parameters[name].type)


def check_notebook(namespace: Mapping[str, Any]) -> None:
    """Check the parameters inside a running notebook, for users who call papermill directly.

    Args:
        namespace: the notebook's `globals()`. Its annotated names are the parameters; another plain value whose
            name is close to that of a parameter counts as a misspelt one.

    Raises:
        ValueError: a value of another type, or a misspelt name.
    """
    annotations = namespace.get("__annotations__", {})
    types = {name: getattr(annotation, "__name__", str(annotation)) for name, annotation in annotations.items()}
    for name, type_name in types.items():
        _check_type(name, namespace[name], type_name)
    for name, value in namespace.items():
        near = difflib.get_close_matches(name, types, n=1, cutoff=0.8)
        if near and name not in types and isinstance(value, tuple(TYPES.values())):
            raise ValueError(f"parameter {name!r} does not exist; did you mean {near[0]!r}?")


def _check_type(name: str, value: object, type_name: str) -> None:
    allowed = (int, float) if type_name == "float" else TYPES[type_name]
    # In Python a bool is an int, but True for a number is a mistake.
    if not isinstance(value, allowed) or (isinstance(value, bool) and type_name != "bool"):
        raise ValueError(
            f"parameter {name}={value!r} is of type {type(value).__name__}; it must be of type {type_name}"
        )
