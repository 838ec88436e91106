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
from stir.data.datasets import Dataset, Split, _with_classes

NAMES = st.one_of(
    st.sampled_from(["cat", "dog", "Bonn, Germany", "0", "1", "2", "10", "01", "0-1", "1-2", "-1", "²", "٣", '"', '""',
                     'a"b', 'a"b, c', '"cat"', " cat", "cat ", ",", ", ", "x\ny", "\r", "'", "\\", "é", "None", "[", ""]),
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
        for part, is_literal in [(text, True)] if text in names else _parts(text):
            selected += [part] if part in names else [] if is_literal else _numbers(part, names)
            if part not in names and is_literal:
                selected += _numbers(part, names)  # quotes around a number change nothing
    if len(selected) < 2 or len({*selected}) < len(selected):
        raise Refused("fewer than two classes, or one twice")
    return selected


def _parts(text: str) -> list[tuple[str, bool]]:
    """The parts between commas: with no spaces around them, or as they stand within quotes."""
    parts, rest = [], text
    while True:
        rest = rest.lstrip(" ")
        if rest.startswith('"'):
            match = re.match(r'"((?:[^"]|"")*)"', rest)
            if match is None or rest[match.end() : match.end() + 1] not in ("", ","):
                raise Refused("a quote that does not end, or ends within a part")
            parts.append((match[1].replace('""', '"'), True))
            rest = rest[match.end() :]
        else:
            part = rest.partition(",")[0]
            parts.append((part.strip(), False))
            rest = rest[len(part) :]
        if not rest:
            return parts
        rest = rest[1:]


def _numbers(part: str, names: Sequence[str]) -> list[str]:
    """The names that a number or a range selects."""
    match = re.fullmatch(r"\s*([0-9]+)\s*(?:-\s*([0-9]+)\s*)?", part)
    if match is None:
        raise Refused("no class")
    low, high = (match[1].lstrip("0") or "0"), ((match[2] or match[1]).lstrip("0") or "0")
    if len(low) > 9 or len(high) > 9:
        raise Refused("no such number")
    by_number: dict[int, list[str]] = {}
    numbered = all(re.fullmatch("[0-9]+", name) for name in names)
    for index, name in enumerate(names):
        number = int(name) if numbered else index
        by_number.setdefault(number, []).append(name)
    if int(low) > int(high) or int(low) not in by_number or int(high) not in by_number:
        raise Refused("no such range")
    if match[2] is None and len(by_number[int(low)]) > 1:
        raise Refused("a number of several classes")
    return [name for index, name in enumerate(names) if int(low) <= (int(name) if numbered else index) <= int(high)]


@st.composite
def selections(draw: st.DrawFn) -> tuple[list[str], Any]:
    """Names of classes, and a selection that has to do with them."""
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
        st.lists(part, max_size=4).flatmap(lambda parts: st.sampled_from([",", ", ", " , "]).map(lambda c: c.join(parts))),
        st.text('0123456789-, "catdog\n', max_size=12),
        st.text(max_size=8),
        st.just("9" * 5_000),
    )  # fmt: skip
    items = st.one_of(text, st.integers(-2, 7), st.none(), st.booleans(), st.floats(), st.just(b"0"))
    others = st.one_of(
        st.binary(max_size=3), st.integers(), st.just({"cat", "dog"}), st.just({"0": 1, "1": 2}), st.just(range(2))
    )
    return names, draw(st.one_of(text, text, st.lists(items, max_size=3), others))


def selected_classes(folder: Path) -> tuple[st.SearchStrategy, Callable]:
    """`load_dataset(..., classes=...)`, of a data set with two images of each class."""

    def check(drawn: tuple[list[str], Any]) -> str:
        names, selection = drawn
        labels = torch.arange(len(names)).repeat(2)
        split = Split(labels.float().reshape(-1, 1, 1, 1), labels)
        try:
            expected: Any = judge(selection, names)
        except Refused as verdict:
            expected = verdict
        try:
            part = _with_classes(Dataset("fuzz", split, split, tuple(names)), selection)
        except (ValueError, TypeError) as error:
            return refused(error, expected, "classes")
        assert not isinstance(expected, Refused), f"selects {part.classes}, though it is wrong: {expected}"
        assert [*part.classes] == expected, f"selects {part.classes} instead of {expected}"
        for each in (part.train, part.test):
            assert [names[int(number)] for number in each.images.flatten()] == [expected[k] for k in each.labels.tolist()]
            assert len(each) == 2 * len(expected)
        return "accepted"

    def check_quotes(names: list[str]) -> str:
        return check((names, ", ".join(map(quoted, names))))

    several = st.lists(NAMES, min_size=2, max_size=4, unique=True)
    return st.one_of(selections(), several.map(lambda names: (names, ", ".join(map(quoted, names))))), check
