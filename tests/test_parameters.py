"""Names and types of notebook parameters."""

import pytest
from helpers.project import notebook

from stir.book.parameters import check_notebook, check_values, declared, parse_value


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
