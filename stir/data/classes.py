"""Selection of classes by text, such as "0-4" or "cat, dog"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set

# A part of a list, and what ends it: in double quotes, within which two stand for one, or up to the next comma.
PART = re.compile(r'\s*+(?:"((?:[^"]|"")*+)"\s*+|(?!")([^,]*+))(,|\Z)')
# Python reads no numbers of more than some thousand digits.
NUMBER = re.compile("[0-9]{1,300}")


def selected_numbers(selection: str | Sequence[str], classes: Sequence[str]) -> tuple[list[str], list[int]]:
    """Parts of a selection, and the positions in `classes` that they select, in their order.

    Raises:
        ValueError: it is neither text nor a list, or selects what is no class, fewer than two, or one twice.
    """
    if isinstance(selection, (bytes, Set, Mapping)) or not isinstance(selection, Iterable):
        raise ValueError(f"classes={selection!r} must be text such as '0-4', or a list of such, in order")
    texts = [selection] if isinstance(selection, str) else selection
    parts = [part for text in texts for part in split_classes(str(text), classes)]
    numbers = [number for part in parts for number in class_numbers(part, classes)]
    if len(set(numbers)) < len(numbers) or len(numbers) < 2:
        raise ValueError(f"classes={selection!r} must name at least two different classes, each once")
    return parts, numbers


def split_classes(text: str, classes: Sequence[str]) -> list[str]:
    """Split a list of classes at its commas, except within double quotes; the name of a class is one part."""
    if text in classes:
        return [text]
    parts, place, comma = [], 0, ","
    while comma:
        match = PART.match(text, place)
        if match is None:
            raise ValueError(
                f"classes: {text!r} cannot be split at its commas; a double quote must begin and end a name"
            )
        literal, plain, comma = match.groups()
        parts.append(plain.strip() if literal is None else literal.replace('""', '"'))
        place = match.end()
    return parts


def quoted(name: str) -> str:
    """A class's name as `split_classes` reads it: in double quotes where it would be read otherwise without."""
    if "," in name or name.startswith('"') or name != name.strip():
        return '"' + name.replace('"', '""') + '"'
    return name


def class_numbers(part: str, classes: Sequence[str]) -> list[int]:
    """Class numbers that a name, a number or a range such as "0-4" selects.

    Numbers are positions in `classes`; if the names of all classes are numbers, they are these names.
    """
    if part in classes:
        return [classes.index(part)]
    are_names = all(map(NUMBER.fullmatch, classes))
    numbers = [int(name) for name in classes] if are_names else range(len(classes))
    first, dash, last = (text.strip() for text in part.partition("-"))
    if NUMBER.fullmatch(first) and (NUMBER.fullmatch(last) or not dash):
        low, high = int(first), int(last or first)
        selected = [index for index, number in enumerate(numbers) if low <= number <= high]
        # A single number may be that of several classes, as 001 is of the classes 1 and 01.
        if low <= high and low in numbers and high in numbers and (dash or len(selected) == 1):
            return selected
    choices = f"numbers from {min(numbers)} to {max(numbers)}" if isinstance(numbers, range) else "their numbers"
    names = ", ".join(quoted(name) if name.isprintable() else repr(name) for name in classes[:10])
    raise ValueError(
        f"classes: {part!r} is no class; use {choices}, a range such as '{min(numbers)}-{max(numbers)}', or names: "
        f"{names}"
    )
