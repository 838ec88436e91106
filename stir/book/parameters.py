"""Notebook parameters, strictly: their names and types are checked before anything runs.

A parameters cell has one `name: type = default  # help` a line, with a type of `TYPES`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    """The parameters that a notebook declares, in their order."""
    import papermill  # which takes a second, and a running notebook does not need it

    found = papermill.inspect_notebook(str(notebook))
    if not found:
        raise ValueError(f"{notebook} declares no parameters; tag a cell `parameters`")
    return {
        name: Parameter(name, entry["inferred_type_name"], entry["default"], entry["help"])
        for name, entry in found.items()
    }


def read(text: str, name: str, parameters: Mapping[str, Parameter]) -> object:
    """What was typed on the command line for `name`, as YAML; a string is taken as it stands."""
    if name in parameters and parameters[name].type == "str":
        return text
    return yaml.safe_load(text)


def check(values: Mapping[str, object], parameters: Mapping[str, Parameter]) -> None:
    """Raise a ValueError for a name that is not declared, or a value of another type."""
    for name, value in values.items():
        if name not in parameters:
            near = difflib.get_close_matches(name, parameters, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(parameters)}"
            raise ValueError(f"parameter {name!r} does not exist; {hint}")
        _check_type(name, value, parameters[name].type)


def check_notebook(namespace: Mapping[str, object]) -> None:
    """The same inside a running notebook, for whoever calls papermill directly.

    Args:
        namespace: the notebook's `globals()`. Its annotated names are the parameters; a plain
            value under a name that nearly is one's was meant to be it.
    """
    annotations = namespace.get("__annotations__", {})
    types = {name: getattr(kind, "__name__", str(kind)) for name, kind in annotations.items()}
    for name, kind in types.items():
        _check_type(name, namespace[name], kind)
    for name, value in namespace.items():
        near = difflib.get_close_matches(name, types, n=1, cutoff=0.8)
        if near and name not in types and isinstance(value, tuple(TYPES.values())):
            raise ValueError(f"parameter {name!r} does not exist; did you mean {near[0]!r}?")


def _check_type(name: str, value: object, kind: str) -> None:
    allowed = (int, float) if kind == "float" else TYPES[kind]
    # Python counts True as an int; a reader who passes it for a number made a mistake.
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind != "bool"):
        raise ValueError(f"parameter {name}={value!r} is of type {type(value).__name__}; it must be of type {kind}")
