"""Names and types of notebook parameters, and the values that YAML 1.2 makes of text."""

import json
import math

import nbformat
import pytest
from helpers.project import notebook

from stir.book.parameters import Parameter, check_notebook, check_values, declared, load_yaml, parse_value


@pytest.fixture(scope="module")
def known():
    return declared(notebook("initialization"))


def test_every_parameter_has_a_known_type_and_help(known):
    assert "n_images" in known
    for parameter in known.values():
        assert parameter.type in {"str", "int", "float", "bool", "list"}, parameter
        assert parameter.help, parameter


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_image": 3}, "parameter 'n_image' does not exist; did you mean 'n_images'"),
        ({"zebra": 3}, "parameter 'zebra' does not exist; use one of dataset"),
        ({"n_images": "many"}, "parameter n_images='many' is of type str; it must be of type int"),
        ({"n_images": 3.5}, "must be of type int"),
        ({"n_images": True}, "must be of type int"),
        ({"seeds": 1}, "must be of type list"),
        ({"seeds": [0, "1"]}, r"parameter seeds\[1\]='1' is of type str; it must be of type int"),
        ({"layers": [1]}, r"layers\[0\]=1 is of type int; it must be of type str; put it in quotes"),
        ({"epsilon": math.nan}, "parameter epsilon is not a number"),
        ({"layers": [["a", math.nan]]}, r"parameter layers\[0\]\[1\] is not a number"),
        ({"seeds": [{"a": 1}]}, r"parameter seeds\[0\]={'a': 1} is a mapping; only str, int"),
        ({"dataset": "folder:a\0b"}, r"parameter dataset='folder:a\\x00b' holds a null character; remove it"),
        ({5: 3}, "parameter 5 does not exist; use one of"),
    ],
)
def test_errors(known, values, message):
    with pytest.raises(ValueError, match=message):
        check_values(values, known)


def test_an_int_serves_as_float_and_text_is_read_by_type(known):
    values = {"n_images": parse_value("100", "n_images", known), "seeds": parse_value("[0, 1]", "seeds", known)}
    check_values({"epsilon": 1, **values}, known)
    assert parse_value("1", "architecture", known) == "1"


def test_inside_a_notebook():
    cell = {"__annotations__": {"n_images": int, "epsilon": float}, "n_images": 5, "epsilon": 1}
    check_notebook(cell)
    with pytest.raises(ValueError, match="n_images='5' is of type str"):
        check_notebook({**cell, "n_images": "5"})
    with pytest.raises(ValueError, match="'n_image' does not exist; did you mean 'n_images'"):
        check_notebook({**cell, "n_image": 5})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # Section 10.3.2 of YAML 1.2.2.
        ("[null, Null, NULL, ~]", [None] * 4),
        ("[true, True, TRUE, false, False, FALSE]", [True] * 3 + [False] * 3),
        ("[0, 0o7, 0x3A, -19, 0200, +12]", [0, 7, 58, -19, 200, 12]),
        ("[0., -0.0, .5, +12e03, -2E+05, 5e-4, 1e-2]", [0.0, -0.0, 0.5, 12000.0, -200000.0, 0.0005, 0.01]),
        ("[.inf, -.Inf, +.INF]", [math.inf, -math.inf, math.inf]),
        # YAML 1.1 makes a bool, 90, 1000 and a date of these.
        ("[yes, No, on, y, 1:30, 1_000, 2001-01-01, 0b11, =]",
         ["yes", "No", "on", "y", "1:30", "1_000", "2001-01-01", "0b11", "="]),
        ("{a: '1', b: \"no\"}", {"a": "1", "b": "no"}),
        ("", None),
        # A character beyond U+FFFF, as JSON escapes it; tags; what YAML 1.1 merges.
        (r'"\ud83d\ude00"', "😀"),
        ("[!!float 1, !!str 5, !!int 0x1F]", [1.0, "5", 31]),
        ("{<<: {a: 1}}", {"<<": {"a": 1}}),
    ],
)  # fmt: skip
def test_the_core_schema_of_yaml(text, value):
    loaded = load_yaml(text)
    assert loaded == value and repr(loaded) == repr(value)  # True is not 1


@pytest.mark.parametrize(
    "text",
    ["[0, 1", "a: 1\na: 2", "&a [*a]", "a: &a [1]\nb: *a", "!!bool maybe", "!!int x", "!!python/name:os.system",
     "[" * 5000, "1" * 5000, "\x00", "1\n---\n2", "{[1]: 2}", "!!timestamp 2001-99-99",
     # Numbers of YAML 1.1 by their tags; what becomes infinite or cannot be printed; half a pair.
     "!!float 1_000", "!!float 1:30", "!!int 1_000", "!!null word", "{!!merge a: {b: 1}}", "!!str {!!value b: c}",
     '! "5"', "1e400", "0x" + "f" * 4000, r'"\ud83d"', "? |\n  two\n  lines\n: 1\n? |\n  two\n  lines\n: 1"],
)  # fmt: skip
def test_what_is_no_yaml_is_told_in_one_line(text, known):
    with pytest.raises(ValueError, match="parameter seeds=.* is no YAML: ") as error:
        parse_value(text, "seeds", known)
    assert "\n" not in str(error.value)


def test_text_that_is_no_unicode(known):
    with pytest.raises(ValueError, match="parameter dataset='folder:.*' is no Unicode text"):
        parse_value("folder:caf\udce9", "dataset", known)


def test_the_name_is_checked_before_the_value(known):
    with pytest.raises(ValueError, match=r"^parameter 'epsi\\nlon' does not exist; did you mean 'epsilon'"):
        parse_value("[", "epsi\nlon", known)


def test_json_is_read_as_json():
    value = [None, True, 5, -0.25, 1e-7, 'a"b\\c', "é😀", [[], "\t"]]
    for ascii_only in (True, False):
        assert load_yaml(json.dumps(value, ensure_ascii=ascii_only)) == value


def own(tmp_path, source, tag="parameters"):
    path = tmp_path / "own.ipynb"
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": [tag]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


def test_lines_of_a_parameters_cell(tmp_path):
    source = 'import os\nname: str = "ä#b"  # text, # and more\nsizes: list = [\n    1,\n    2,\n]  # several\n'
    source += "n: int = 2 * 3"
    parameters = declared(own(tmp_path, source))
    assert parameters == {
        "name": Parameter("name", "str", '"ä#b"', "text, # and more"),
        "sizes": Parameter("sizes", "list", "[\n    1,\n    2,\n]", "several"),
        "n": Parameter("n", "int", "2 * 3", ""),
    }
    assert [parameter.value for parameter in parameters.values()] == ["ä#b", [1, 2], None]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("n: int | None = None", r"parameter 'n' has type int \| None; use one of str, int, float, bool, list"),
        ("from typing import Optional\nn: Optional[int] = None", r"parameter 'n' has type Optional\[int\]; use one of"),
        ("n: dict = {}", "parameter 'n' has type dict; use one of"),
        ("n = 3", "parameter 'n' has type none; use one of"),
        ("n: int", "parameter 'n' has no default"),
        ("n: int = ", "the cell of parameters is no Python"),
        ("", "declares no parameters; write `name: type = default  # help`"),
    ],
)
def test_a_parameter_that_is_not_supported(tmp_path, source, message):
    with pytest.raises(ValueError, match=message):
        declared(own(tmp_path, source))


def test_what_is_no_notebook_of_parameters(tmp_path):
    with pytest.raises(ValueError, match="declares no parameters; tag a cell"):
        declared(own(tmp_path, "n: int = 1", tag="other"))
    for text in ("", "no JSON", "[]", '{"cells": 1}', "{}"):
        (tmp_path / "own.ipynb").write_text(text)
        with pytest.raises(ValueError, match="own.ipynb"):
            declared(tmp_path / "own.ipynb")


def test_inside_a_notebook_a_type_that_is_not_supported():
    with pytest.raises(ValueError, match="parameter 'n' has type dict; use one of str, int"):
        check_notebook({"__annotations__": {"n": dict}, "n": {}})
