"""Values of parameters, on the command line and in scale files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner
from hypothesis import strategies as st
from papermill.translators import PythonTranslator

from helpers.fuzzing import Refused, refused
from helpers.fuzzing.yaml import ANY_TEXT, BOOLEANS, FLOATS, INTEGERS, QUOTED, known_texts, read, same, text_with_pairs
from stir.book import outcome, parameters, runner
from stir.book.freshness import absolute_paths
from stir.cli import main

# Name -> its type, and that of its elements; the cell's line declares it.
DECLARED = {
    "text": ("str", None, '"a"'),
    "count": ("int", None, "3"),
    "rate": ("float", None, "0.5"),
    "flag": ("bool", None, "False"),
    "names": ("list", "str", '["a"]'),
    "counts": ("list", "int", "[1, 2]"),
    "rates": ("list", "float", "[0, 0.5]"),
    "anything": ("list", None, "[]"),
}
ELSEWHERE = {"other": ("int", None, "1")}  # of another notebook of the project
NAMES = st.sampled_from([*DECLARED])
TYPES = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,), "list": (list,)}


def of_type(name: str) -> st.SearchStrategy[tuple[str, Any]]:
    """Texts of a parameter's type, most of them, and their values."""
    kind, element_kind, _ = DECLARED[name]
    scalars = {"str": QUOTED, "int": INTEGERS, "float": FLOATS | INTEGERS, "bool": BOOLEANS}
    if kind != "list":
        return scalars[kind]
    elements = scalars.get(element_kind or "", known_texts(depth=1))
    return st.lists(elements, max_size=4).map(lambda parts: (f"[{', '.join(text for text, _ in parts)}]", None))


def write_notebook(path: Path, declared: Mapping[str, tuple]) -> None:
    lines = [f"{name}: {kind} = {default}  # help" for name, (kind, _, default) in declared.items()]
    cell = nbformat.v4.new_code_cell("\n".join(lines), metadata={"tags": ["parameters"]})
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)


def judge(name: Any, value: Any, declared: Mapping[Any, tuple]) -> None:
    """Raise Refused unless the value is of the parameter's type."""
    if name not in declared:
        raise Refused("an unknown name")
    kind, element_kind, _ = declared[name]
    _judge_one(value, kind)
    if kind == "list":
        for element in value:
            if element_kind and not (element is None and element_kind == "str"):
                _judge_one(element, element_kind)
        _judge_inside(value)


def _judge_one(value: Any, kind: str) -> None:
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
        raise Refused("another type")
    _judge_inside(value)


def _judge_inside(value: Any) -> None:
    """What no notebook can take, wherever it stands."""
    if isinstance(value, list):
        for element in value:
            _judge_inside(element)
    elif isinstance(value, dict) or (isinstance(value, float) and math.isnan(value)):
        raise Refused("no value of a parameter")
    elif isinstance(value, str) and "\0" in value:
        raise Refused("no text that a system takes")


def judge_text(name: str, text: str) -> Any:
    """The value that a text on the command line means."""
    if name not in DECLARED:
        raise Refused("an unknown name")
    value = read(text) if DECLARED[name][0] != "str" else _unicode(text)
    judge(name, value, DECLARED)
    return value


def _unicode(text: str) -> str:
    if any(0xD800 <= ord(each) < 0xE000 for each in text):
        raise Refused("no Unicode")
    return text_with_pairs(text)


def in_a_notebook(values: dict[str, Any]) -> dict[str, Any]:
    """What the cell that papermill adds to a notebook makes of values."""
    namespace: dict[str, Any] = {}
    exec(PythonTranslator.codify(absolute_paths(values)), {}, namespace)
    return namespace


def command_line(folder: Path) -> tuple[st.SearchStrategy, Callable]:
    """`-p NAME VALUE`: a name and a text; and of some texts the value, known from how they were written."""
    path = folder / "own.ipynb"
    write_notebook(path, DECLARED)
    declared = parameters.declared(path)
    anything = st.tuples(NAMES | st.text(max_size=6), ANY_TEXT, st.none())
    known = st.tuples(NAMES, known_texts()).map(lambda drawn: (drawn[0], *drawn[1]))
    typed = NAMES.flatmap(lambda name: of_type(name).map(lambda drawn: (name, *drawn)))
    one_line = st.tuples(st.just("text"), st.text(max_size=12), st.none())

    def check(drawn: tuple[str, str, Any]) -> str:
        name, text, known_value = drawn
        expected: Any = None
        try:
            expected = judge_text(name, text)
        except Refused as verdict:
            expected = verdict
        if known_value is not None and DECLARED[name][0] != "str" and not isinstance(expected, Refused):
            assert same(expected, known_value), f"the reference reads {expected!r}"
        try:
            value = parameters.parse_value(text, name, declared)
            parameters.check_values({name: value}, declared)
        except ValueError as error:
            return refused(error, expected, repr(name), f"parameter {name}")
        assert not isinstance(expected, Refused), f"taken as {value!r}, though it is wrong: {expected}"
        assert same(value, expected), f"taken as {value!r}, though it means {expected!r}"
        notebook_value = in_a_notebook({name: value})[name]
        assert same(notebook_value, absolute_paths({name: value})[name]), f"{notebook_value!r} in the notebook"
        return "accepted"

    return st.one_of(typed, known, anything, one_line), check


NO_LIST = st.sampled_from(
    ["", "- a\n", "text: [", "{", "a\n", "# only\n", "\ufeffcount: 3\n", "count: 1\r\nrate: 2\r\n"]
)


def scale_files(folder: Path) -> tuple[st.SearchStrategy, Callable]:
    """`stir run own --scale fuzz`, with `-p` or without, up to the notebook's execution."""
    write_notebook(folder / "notebooks" / "own.ipynb", DECLARED)
    write_notebook(folder / "notebooks" / "others.ipynb", ELSEWHERE)
    scale = folder / "notebooks" / "scales" / "fuzz.yml"
    scale.parent.mkdir()
    names = NAMES | st.sampled_from(["other", "coutn", "1", "~", "[a]"]) | st.text("abc", min_size=1, max_size=3)
    any_line = st.builds("{}: {}\n".format, names, known_texts().map(lambda drawn: drawn[0]) | ANY_TEXT)
    typed_line = NAMES.flatmap(lambda name: of_type(name).map(lambda drawn: f"{name}: {drawn[0]}\n"))
    typed_lines = st.lists(typed_line, max_size=6, unique_by=lambda line: line.partition(":")[0])
    lines = st.lists(typed_line | any_line, max_size=4)
    contents = st.one_of(
        typed_lines.map(lambda parts: "".join(parts).encode(errors="surrogatepass")),
        lines.map("".join).map(lambda text: text.encode(errors="surrogatepass")),
        st.tuples(lines.map("".join), NO_LIST).map(lambda parts: "".join(parts).encode(errors="surrogatepass")),
        st.binary(max_size=20),
    )
    typed = NAMES.flatmap(lambda name: of_type(name).map(lambda drawn: (name, drawn[0])))
    given = st.lists(typed | st.tuples(NAMES, ANY_TEXT), max_size=1)

    def check(drawn: tuple[bytes, list[tuple[str, str]]]) -> str:
        content, options = drawn
        scale.write_bytes(content)
        try:
            expected: Any = judge_scale(content) | {name: judge_text(name, text) for name, text in options}
        except Refused as verdict:
            expected = verdict
        runs: list[dict] = []
        arguments = ["run", "own", "--scale", "fuzz", *(part for name, text in options for part in ("-p", name, text))]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(runner, "execute", lambda notebook, values, *_, **__: runs.append(values))
            patch.setattr(outcome, "summary", lambda _: "")  # nothing ran
            result = CliRunner().invoke(main, arguments)
        if result.exit_code == 0:
            (values,) = runs
            assert not isinstance(expected, Refused), f"taken as {values!r}, though it is wrong: {expected}"
            assert same(sorted(values.items()), sorted(expected.items())), f"{values!r} instead of {expected!r}"
            return "accepted"
        if not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.output.startswith("Error: ") and result.output.endswith("\n")
        return refused(ValueError(result.output[:-1]), expected, str(scale), "parameter ")

    return st.tuples(contents, given), check


def judge_scale(content: bytes) -> dict[str, Any]:
    """The values that a scale file gives to the notebook."""
    try:
        values = read(content.decode())
    except UnicodeDecodeError as error:
        raise Refused("no UTF-8") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise Refused("no lines of `name: value`")
    for name, value in values.items():
        judge(name, value, ELSEWHERE | DECLARED)
    return {name: value for name, value in values.items() if name in DECLARED}
