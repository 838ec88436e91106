"""Grids of parameters: values read from text, and their combinations."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import product
from typing import Any

from stir.book import parameters
from stir.book.parameters import Parameter

NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})(?:\.\.({NUMBER}))?")
MOST_VALUES = 100_000  # of a range, and combinations of a grid: beyond it is a slip of the pen


def parse_grid(texts: Iterable[str], declared: Mapping[str, Parameter]) -> dict[str, list[Any]]:
    """Read a grid: parameter -> its values, each once, in the order given.

    Args:
        texts: such as "seed=0..4" (both ends included), "x=0..1..0.25" (in steps of 0.25), "epsilon=0.25,0.5,1",
            "losses=[standard, trades],[standard, mart]", or of a parameter of type str "solver=tethered,nearest". In
            lists of numbers a range stands for its numbers: "seeds=[0..2],[3..5]".
        declared: the notebook's parameters.

    Raises:
        ValueError: a text of another form, a parameter that does not exist, or twice, or a value of another type.
    """
    grid: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, written = text.partition("=")
        if not equals:
            raise ValueError(f"grid={text!r} must have the form NAME=VALUES, such as epsilon=0.25,0.5,1 or seed=0..4")
        parameters.parse_value("", name, declared)  # says which names are near, if there is none such
        if name in grid:
            raise ValueError(f"grid={text!r}: {name!r} has its values already; name each parameter once")
        values = _read_values(written, declared[name])
        if not values:
            raise ValueError(f"grid={text!r} holds no value; give at least one")
        for value in values:
            if declared[name].type == "list" and not isinstance(value, list):
                raise ValueError(
                    f"grid={text!r}: each value of {name!r} is a list; put it in brackets, such as {name}=[0, 1],[2, 3]"
                )
            parameters.check_values({name: value}, declared)
        grid[name] = [value for number, value in enumerate(values) if value not in values[:number]]
    return grid


def _read_values(written: str, parameter: Parameter) -> list[Any]:
    """The values in a text, separated by commas."""
    if parameter.type == "str":
        (row,) = csv.reader([written.replace("\n", " ")], skipinitialspace=True)  # commas in double quotes do not count
        return [each.strip() for each in row]
    try:
        values = parameters.load_yaml(f"[{written}]")
    except ValueError as error:
        raise ValueError(f"grid={parameter.name}={written!r} is no list of values: {error}") from error
    return _with_ranges(values, parameter)


def _with_ranges(values: Sequence[Any], parameter: Parameter) -> list[Any]:
    """Put its numbers in the place of each range, in lists within lists too."""
    expanded: list[Any] = []
    for value in values:
        match = RANGE.fullmatch(value) if isinstance(value, str) else None
        if isinstance(value, list):
            expanded.append(_with_ranges(value, parameter))
        elif match:
            expanded += _numbers(match[1], match[2], match[3], parameter.name)
        else:
            expanded.append(value)
    return expanded


def _numbers(first: str, last: str, step: str | None, name: str) -> list[int] | list[float]:
    """The numbers of a range, both ends included; decimal, so that 0..1..0.1 holds 0.3."""
    start, end, whole = Decimal(first), Decimal(last), re.compile(r"[-+]?\d+").fullmatch
    text = f"{first}..{last}" + (f"..{step}" if step else "")
    if step is None and not (whole(first) and whole(last)):
        raise ValueError(f"grid={name}={text}: a range of fractions needs a step, such as {first}..{last}..0.25")
    width = Decimal(step or 1)
    if width <= 0 or end < start:
        raise ValueError(f"grid={name}={text}: a range goes up, from the smaller number, by a step above 0")
    count = int((end - start) / width) + 1 if (end - start) / width < MOST_VALUES else MOST_VALUES + 1
    if count > MOST_VALUES:
        raise ValueError(f"grid={name}={text} holds more than {MOST_VALUES:,} numbers; take a larger step")
    numbers = [start + width * number for number in range(count)]
    if all(map(whole, (first, last, step or "1"))):
        return [int(number) for number in numbers]
    return [float(number) for number in numbers]


def in_words(combination: Mapping[str, Any]) -> str:
    """A combination as one writes a grid: "x=3, kinds=[a, b]"."""
    return ", ".join(f"{name}={_text(value)}" for name, value in combination.items())


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the values of a grid, the last parameter fastest.

    Raises:
        ValueError: there are more than `MOST_VALUES`.
    """
    count = 1
    for values in grid.values():
        count *= len(values)
    if count > MOST_VALUES:
        raise ValueError(f"the grid has {count:,} combinations; at most {MOST_VALUES:,} are run")
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
