"""Selections of classes, by text or lists, from classes of any names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from helpers.fuzzing import Refused, refused
from stir.data.classes import quoted
from stir.data.splits import Dataset, Split, with_classes

NAMES = st.one_of(
    st.sampled_from(["cat", "dog", "Bonn, Germany", "0", "1", "2", "10", "01", "0-1", "1-2", "-1", "²", "٣", '"', '""',
                     'a"b', 'a"b, c', '"cat"', " cat", "cat ", ",", ", ", "x\ny", "\r", "'", "\\", "é", "None", ""]),
    st.text(max_size=4),
    st.integers(0, 12).map(str),
)  # fmt: skip


def judge(selection: Any, names: Sequence[str]) -> list[str]:
    """The names of the selected classes, in their order."""
    if isinstance(selection, str):
        selection = [selection]
    if not isinstance(selection, (list, tuple, range)):
        raise Refused("neither text nor a list")
    selected = []
    for text in map(str, selection):
        for part in [text] if text in names else _parts(text):
            selected += [part] if part in names else _numbers(part, names)
    if len(selected) < 2 or len({*selected}) < len(selected):
        raise Refused("fewer than two classes, or one twice")
    return selected


def _parts(text: str) -> list[str]:
    """The parts between commas: with no spaces around them, or as they stand within quotes."""
    parts, rest = [], text
    while True:
        rest = rest.lstrip()
        if rest.startswith('"'):
            part, end = "", 1
            while rest[end : end + 1] != '"' or rest[end : end + 2] == '""':
                if end >= len(rest):
                    raise Refused("a quote that does not end")
                part += rest[end]
                end += 2 if rest[end] == '"' else 1
            rest = rest[end + 1 :].lstrip()
            if rest and rest[0] != ",":
                raise Refused("a quote that ends within a part")
        else:
            part, _, _ = rest.partition(",")
            rest = rest[len(part) :]
            part = part.strip()
        parts.append(part)
        if not rest:
            return parts
        rest = rest[1:]


def _numbers(part: str, names: Sequence[str]) -> list[str]:
    """The names that a number or a range selects."""
    match = re.fullmatch(r"\s*([0-9]+)\s*(?:-\s*([0-9]+)\s*)?", part)
    if match is None:
        raise Refused("no class")
    if max(map(len, map(str, match.groups()))) > 300:
        raise Refused("no such number")
    numbered = all(re.fullmatch("[0-9]+", name) for name in names)
    of_number: dict[int, list[str]] = {}
    for index, name in enumerate(names):
        of_number.setdefault(int(name) if numbered else index, []).append(name)
    low, high = int(match[1]), int(match[2] or match[1])
    if low > high or low not in of_number or high not in of_number:
        raise Refused("no such range")
    if match[2] is None and len(of_number[low]) > 1:
        raise Refused("a number of several classes")
    return [name for name in names if any(low <= number <= high for number in of_number if name in of_number[number])]


@st.composite
def selections(draw: st.DrawFn) -> tuple[list[str], Any, bool]:
    """Names of classes, a selection that has to do with them, and False: it may select anything."""
    numbered = draw(st.booleans())
    names = draw(st.lists(st.integers(0, 120).map(str) if numbered else NAMES, min_size=2, max_size=6, unique=True))
    number = st.integers(0, len(names)).map(str) | st.sampled_from(names)
    part = st.one_of(
        st.sampled_from(names),
        st.sampled_from(names).map(quoted),
        st.sampled_from(names).map(lambda name: f'"{name}"'),
        number,
        st.builds("{}-{}".format, number, number),
        st.builds(" {} - {} ".format, number, number),
        NAMES,
    )
    text = st.one_of(
        st.builds(str.join, st.sampled_from([",", ", ", " , "]), st.lists(part, max_size=4)),
        st.text('0123456789-, "catdog\n', max_size=12),
        st.text(max_size=8),
        st.just("9" * 5_000),
    )  # fmt: skip
    items = st.one_of(text, st.integers(-2, 7), st.none(), st.booleans(), st.floats(), st.just(b"0"))
    others = st.one_of(
        st.binary(max_size=3), st.integers(), st.just({"cat", "dog"}), st.just({"0": 1, "1": 2}), st.just(range(2))
    )
    return names, draw(st.one_of(text, text, st.lists(items, max_size=3), others)), False


def selected_classes(folder: Path) -> tuple[st.SearchStrategy, Callable]:
    """`load_dataset(..., classes=...)`, of a data set with two images of each class."""

    def check(drawn: tuple[list[str], Any, bool]) -> str:
        names, selection, selects_all = drawn
        labels = torch.arange(len(names)).repeat(2)
        split = Split(labels.float().reshape(-1, 1, 1, 1), labels)
        try:
            expected: Any = judge(selection, names)
        except Refused as verdict:
            expected = verdict
        assert not selects_all or selection in names or expected == names, f"{selection!r} reads as {expected}"
        try:
            part = with_classes(Dataset("fuzz", split, split, tuple(names)), selection)
        except (ValueError, TypeError) as error:
            return refused(error, expected, "classes")
        assert not isinstance(expected, Refused), f"selects {part.classes}, though it is wrong: {expected}"
        assert [*part.classes] == expected, f"selects {part.classes} instead of {expected}"
        for each in (part.train, part.test):
            assert [names[int(number)] for number in each.images.flatten()] == [
                expected[k] for k in each.labels.tolist()
            ]
            assert len(each) == 2 * len(expected)
        return "accepted"

    several = st.lists(NAMES, min_size=2, max_size=4, unique=True)
    return st.one_of(selections(), several.map(lambda names: (names, ", ".join(map(quoted, names)), True))), check
