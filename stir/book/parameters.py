"""Strict notebook parameters: names and types are checked before anything runs.

A parameters cell has one `name: type = default  # help` in a line, with a type of `TYPES`. Values are read as YAML 1.2,
in whose core schema `0200` is 200, `5e-4` a number, and `yes` and `1:30` are text.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml
from yaml.constructor import BaseConstructor

from stir.names import nearest, suggest

TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list}


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell; `default` is its source text."""

    name: str
    type: str
    default: str
    help: str

    @property
    def value(self) -> Any:
        """The default as a Python value; None if it is an expression that has to be computed."""
        try:
            return ast.literal_eval(self.default)
        except ValueError:
            return None


# The unquoted scalars of each kind but text, in the order in which they are tried.
CORE_SCHEMA = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}
MAX_DIGITS = 300  # of a whole number, so that it can be converted to a float, and printed


class _CoreLoader(yaml.SafeLoader):
    """Loader by the core schema of YAML 1.2.2, section 10.3; without aliases, which make gigabytes of a few lines."""

    yaml_implicit_resolvers: ClassVar[dict] = {}
    yaml_constructors: ClassVar[dict] = {None: yaml.SafeLoader.construct_undefined}  # of all other tags

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not supported")
        if getattr(self.peek_event(), "tag", None) == "!":  # PyYAML reads `! "5"` as 5, YAML as text
            raise yaml.YAMLError("the tag ! is not supported")
        return super().compose_node(parent, index)

    def flatten_mapping(self, node: Any) -> None:
        """Merge nothing: the core schema has no merge keys."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            raise yaml.YAMLError(f"a name stands twice among {', '.join(map(repr, mapping))}")
        return mapping

    def construct_core(self, node: Any) -> Any:
        """Construct a scalar of `CORE_SCHEMA`, which a tag such as `!!int` may have named."""
        text, kind = self.construct_text(node), node.tag.rpartition(":")[2]
        if not re.fullmatch(CORE_SCHEMA[kind], text):
            raise yaml.YAMLError(f"{text!r} is no {kind}")
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind == "int":
            if len(text) > MAX_DIGITS:
                raise yaml.YAMLError(f"a whole number of more than {MAX_DIGITS} digits")
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if text[-1] in "fFnN":  # .inf or .nan
            return float(text.replace(".", ""))
        if math.isinf(float(text)):
            raise yaml.YAMLError(f"{text} is beyond the range of floats")
        return float(text)

    def construct_text(self, node: Any) -> str:
        text = BaseConstructor.construct_scalar(self, node)
        try:  # JSON's escapes write a character beyond U+FFFF as two
            return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError as error:
            raise yaml.YAMLError(f"{text!r} is no Unicode text") from error


for _kind, _pattern in CORE_SCHEMA.items():
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_pattern})\Z"), None)
for _kind, _constructor in {
    **dict.fromkeys(CORE_SCHEMA, _CoreLoader.construct_core),
    "str": _CoreLoader.construct_text,
    "seq": _CoreLoader.construct_yaml_seq,
    "map": _CoreLoader.construct_yaml_map,
}.items():
    _CoreLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _constructor)


def load_yaml(text: str) -> Any:
    """Read YAML by the core schema of YAML 1.2.

    Raises:
        ValueError: it is no YAML; a name stands twice in a mapping; or it has aliases.
    """
    try:
        return yaml.load(text, Loader=_CoreLoader)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ValueError(f"{error.problem}{place}") from error
    except (yaml.YAMLError, ValueError) as error:  # the last, of the scanner
        raise ValueError(" ".join(str(error).split())) from error


def declared(notebook: Path) -> dict[str, Parameter]:
    """Return the parameters that a notebook declares, in their order.

    Raises:
        ValueError: it is no notebook, declares none, or one in another way than `name: type = default  # help`.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]  # nbformat takes a second to load
        sources = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"{notebook} cannot be read as a notebook: {' '.join(str(error).split())[:200]}") from error
    if not sources:
        raise ValueError(f"{notebook} declares no parameters; tag a cell `parameters`")
    try:
        statements = ast.parse(sources[0]).body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ValueError(f"{notebook}: the cell of parameters is no Python: {error}") from error
    parameters = {}
    for statement in statements:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            parameter = _parameter(statement, sources[0], notebook)
            parameters[parameter.name] = parameter
    if not parameters:
        raise ValueError(f"{notebook} declares no parameters; write `name: type = default  # help` in their cell")
    return parameters


def _parameter(statement: ast.Assign | ast.AnnAssign, source: str, notebook: Path) -> Parameter:
    first = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
    name = ast.unparse(first)
    annotation = ast.unparse(statement.annotation) if isinstance(statement, ast.AnnAssign) else "none"
    default = ast.get_source_segment(source, statement.value) if statement.value else None
    if annotation not in TYPES or default is None or not isinstance(first, ast.Name):
        problem = f"has type {annotation}; use one of {', '.join(TYPES)}" if default else "has no default"
        raise ValueError(f"{notebook.name}: parameter {name!r} {problem}, as in `name: type = default  # help`")
    line = source.encode().splitlines()[(statement.end_lineno or 1) - 1]  # columns count bytes
    comment = line[statement.end_col_offset :].decode().partition("#")[2]
    return Parameter(name, annotation, default, comment.strip())


def complete(notebook: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every parameter that a notebook declares: of `values`, or else its default."""
    return {name: parameter.value for name, parameter in declared(notebook).items()} | {**values}


def parse_value(text: str, name: str, parameters: Mapping[str, Parameter]) -> object:
    """Parse the text of a command line option for the parameter `name`: as YAML, unless its type is str.

    Raises:
        ValueError: there is no such parameter, or the text is no YAML, or no Unicode.
    """
    if name not in parameters:
        raise _unknown(name, parameters)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"parameter {name}={text!r} is no Unicode text") from error
    if parameters[name].type == "str":
        return text
    try:
        return load_yaml(text)
    except ValueError as error:
        raise ValueError(f"parameter {name}={text!r} is no YAML: {error}") from error


def parse_given(given: Iterable[tuple[str, str]], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Parse the parameters of a command line, as `parse_value`; given are name and text of each.

    Raises:
        ValueError: as `parse_value`, or a name stands twice.
    """
    values: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for name, text in given:
        if name in texts:
            raise ValueError(
                f"parameter {name!r} is given twice, as {texts[name]} and as {text}; leave one of them out"
            )
        texts[name], values[name] = text, parse_value(text, name, parameters)
    return values


def check_values(values: Mapping[Any, object], parameters: Mapping[str, Parameter]) -> None:
    """Raise a ValueError for a name that is not declared, or a value, or an element of a list, of another type."""
    for name, value in values.items():
        if name not in parameters:
            raise _unknown(name, parameters)
        _check_content(name, value)
        _check_type(name, value, parameters[name].type)
        if isinstance(value, list):
            # The elements of the default tell their type. None may stand for a name, as of the default layer.
            types = {type(element).__name__ for element in parameters[name].value or []}
            element_type = "float" if types == {"int", "float"} else types.pop() if len(types) == 1 else ""
            if element_type in ("str", "int", "float"):
                for position, element in enumerate(value):
                    if element is not None or element_type != "str":
                        _check_type(f"{name}[{position}]", element, element_type)


def _unknown(name: object, parameters: Mapping[str, Parameter]) -> ValueError:
    return ValueError(f"parameter {name!r} does not exist; {suggest(name, parameters)}")


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
        if type_name not in TYPES:
            raise ValueError(f"parameter {name!r} has type {type_name}; use one of {', '.join(TYPES)}")
        _check_content(name, namespace[name])
        _check_type(name, namespace[name], type_name)
    for name, value in namespace.items():
        near = nearest(name, types, least=0.8)
        if near and name not in types and isinstance(value, tuple(TYPES.values())):
            raise ValueError(f"parameter {name!r} does not exist; did you mean {near[0]!r}?")


def _check_content(name: str, value: object) -> None:
    """Raise a ValueError for a value that no parameter may have: a mapping, NaN or a null character."""
    if isinstance(value, list):
        for position, element in enumerate(value):
            _check_content(f"{name}[{position}]", element)
    elif isinstance(value, dict):
        raise ValueError(f"parameter {name}={value!r} is a mapping; only {', '.join(TYPES)} are supported")
    elif isinstance(value, float) and math.isnan(value):
        raise ValueError(f"parameter {name} is not a number")
    elif isinstance(value, str) and "\0" in value:
        raise ValueError(f"parameter {name}={value!r} holds a null character; remove it")


def _check_type(name: str, value: object, type_name: str) -> None:
    allowed = (int, float) if type_name == "float" else TYPES[type_name]
    # In Python a bool is an int, but True for a number is a mistake.
    if not isinstance(value, allowed) or (isinstance(value, bool) and type_name != "bool"):
        remedy = "; put it in quotes" if type_name == "str" and not isinstance(value, (list, dict)) else ""
        raise ValueError(
            f"parameter {name}={value!r} is of type {type(value).__name__}; it must be of type {type_name}{remedy}"
        )
