"""Selection of classes by text, such as "0-4" or "cat, dog"."""

from __future__ import annotations

import csv
from collections.abc import Sequence


def split_classes(text: str, classes: Sequence[str]) -> list[str]:
    """Split a list of classes at its commas, except within double quotes; the name of a class is one part."""
    if text in classes:
        return [text]
    try:
        return [part.strip() for parts in csv.reader([text], skipinitialspace=True, strict=True) for part in parts]
    except csv.Error as error:
        raise ValueError(f"classes: {text!r} cannot be split at its commas ({error})") from error


def quoted(name: str) -> str:
    """A class's name as `split_classes` reads it: in double quotes if it holds a comma."""
    return f'"{name}"' if "," in name else name


def class_numbers(part: str, classes: Sequence[str]) -> list[int]:
    """Class numbers that a name, a number or a range such as "0-4" selects.

    Numbers are positions in `classes`; if the names of all classes are numbers, they are these names.
    """
    if part in classes:
        return [classes.index(part)]
    numbers = [int(name) for name in classes] if all(name.isdecimal() for name in classes) else range(len(classes))
    first, dash, last = (text.strip() for text in part.partition("-"))
    if first.isdecimal() and (last.isdecimal() or not dash):
        low, high = int(first), int(last or first)
        if low <= high and low in numbers and high in numbers:
            return [index for index, number in enumerate(numbers) if low <= number <= high]
    choices = f"numbers from {min(numbers)} to {max(numbers)}" if isinstance(numbers, range) else "their numbers"
    choices += f", a range such as '{min(numbers)}-{max(numbers)}', or names: {', '.join(map(quoted, classes[:10]))}"
    raise ValueError(f"classes: {part!r} is no class; use {choices}")
